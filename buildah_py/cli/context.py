"""`pybuild context ls`: what a build sees of its context, and which line of which ignore file decided."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildah_py.cli.printing import complain, say, say_data
from buildah_py.cli.sources import CONTEXT
from buildah_py.cli.tables import human, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from buildah_py.layers.entry import Entry
    from buildah_py.sources.directory import DirectoryContext


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("ls", help="list what the build sees, with sizes")
    listing.add_argument("context", metavar="CONTEXT", nargs="?", default=".", help=CONTEXT)
    listing.add_argument("-f", "--file", metavar="FILE", help="the build file, beside which an ignore file may lie")
    listing.add_argument("--ignorefile", metavar="FILE", help="use this ignore file")
    listing.add_argument(
        "--why",
        metavar="PATH",
        action="append",
        help="say which line decides about PATH (inside the context); status 1 if the build does not see it",
    )
    listing.add_argument("--ignored", action="store_true", help="list what is ignored, with the line that decides")
    listing.add_argument("--depth", metavar="N", type=int, help="list N levels; directories with all that is in them")
    listing.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    listing.add_argument("--json", action="store_const", const="json", dest="format", help="the same as --format=json")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    from buildah_py.api.state import opened
    from buildah_py.sources.directory import DirectoryContext
    from buildah_py.sources.reach import Reach

    with opened(args.context, args.file, os.environ, reach=Reach(tell=complain), needs_file=False) as main:
        ignore = main.ignore(args.ignorefile or "")
        with DirectoryContext(main.directory, ignore) as context:
            if args.why:
                return _why(context, args.why, as_json=args.format == "json")
            if args.ignored:
                return _list_ignored(context, as_json=args.format == "json")
            return _list(context, args.depth, as_json=args.format == "json")


def _why(context: DirectoryContext, paths: list[str], *, as_json: bool) -> int:
    from buildah_py.buildfile.ignore import clean

    rows: list[dict[str, Any]] = []
    for given in paths:
        path = clean("/" + given).removeprefix("/")
        entry = context.entry(path)
        exists = os.path.lexists(os.path.join(context.path, path))
        decision = context.ignore.decision(path) if context.ignore is not None and path else None
        rows.append(
            {
                "path": path or ".",
                "seen": entry is not None,
                "exists": exists,
                "ignore_file": context.ignore.name if context.ignore is not None else None,
                "line": decision.line if decision is not None else None,
                "pattern": decision.pattern if decision is not None else None,
            }
        )
    if as_json:
        say_data(rows)
    else:
        for row in rows:
            say(_sentence(row))
    return 0 if all(row["seen"] for row in rows) else 1


def _sentence(row: dict[str, Any]) -> str:
    decided = f"{row['ignore_file']} line {row['line']}: {row['pattern']}" if row["line"] is not None else ""
    path = one_line(row["path"])
    if row["seen"]:
        if decided and row["pattern"].startswith("!"):
            return f"{path}: seen, brought back by {decided}"
        if decided:
            return f"{path}: seen, because something in it is; {decided} ignores the rest"
        return f"{path}: seen, " + (
            f"no line of {row['ignore_file']} matches it" if row["ignore_file"] else "there is no ignore file"
        )
    if decided and not row["pattern"].startswith("!"):
        return f"{path}: ignored by {decided}" + ("" if row["exists"] else " (and it does not exist)")
    if row["exists"]:
        return f"{path}: not seen: sockets are not part of a context, nor is what lies behind a symbolic link"
    return f"{path}: does not exist"


def _walk(context: DirectoryContext) -> Iterator[Entry]:
    stack = list(reversed(context.children("")))
    while stack:
        entry = stack.pop()
        yield entry
        if entry.kind == "dir":
            stack += reversed(context.children(entry.path))


def _list(context: DirectoryContext, depth: int | None, *, as_json: bool) -> int:
    from buildah_py.sources.context_lint import inspect

    entries = list(_walk(context))
    sizes = {entry.path: entry.size for entry in entries}
    for entry in reversed(entries):
        above = entry.path.rpartition("/")[0]
        if above:
            sizes[above] += sizes[entry.path]
    shown = [entry for entry in entries if depth is None or entry.path.count("/") < depth]
    findings = inspect(context, entries)
    files = sum(entry.kind != "dir" for entry in entries)
    total = sum(entry.size for entry in entries)
    if as_json:
        rows = [
            {"path": entry.path, "kind": entry.kind, "mode": f"{entry.mode:04o}", "size": sizes[entry.path]}
            for entry in shown
        ]
        warnings = [finding._asdict() for finding in findings]
        say_data({"entries": rows, "files": files, "size": total, "warnings": warnings})
        return 0
    for entry in shown:
        slash = "/" if entry.kind == "dir" else ""
        link = f" -> {entry.link}" if entry.kind == "symlink" else ""
        say(f"{human(sizes[entry.path]):>8}  {one_line(entry.path)}{slash}{one_line(link)}")
    ignore = f", after {context.ignore.name}" if context.ignore is not None else ", without an ignore file"
    say(f"{human(total):>8}  in {files} files{ignore}")
    for finding in findings:
        name = context.ignore.name if context.ignore is not None else ".dockerignore"
        complain(f"warning: {finding.message()}: add the line {finding.ignore_line} to {name}")
    return 0


def _list_ignored(context: DirectoryContext, *, as_json: bool) -> int:
    rows = []
    for path in ["", *(entry.path for entry in _walk(context) if entry.kind == "dir")]:
        for name in context.hidden_names(path):
            inner = f"{path}/{name}" if path else name
            decision = context.decision(inner)
            assert decision is not None
            rows.append({"path": inner, "line": decision.line, "pattern": decision.pattern})
    if as_json:
        say_data(rows)
        return 0
    name = context.ignore.name if context.ignore is not None else ""
    for row in rows:
        say(f"{one_line(str(row['path']))}  ({name} line {row['line']}: {row['pattern']})")
    return 0
