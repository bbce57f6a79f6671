"""`pybuild why`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cli import build as building
from buildah_py.cli.printing import say, say_data
from buildah_py.errors import UsageError
from buildah_py.sources.urls import context_url, redact

if TYPE_CHECKING:
    import argparse

    from buildah_py.cache.differences import Difference
    from buildah_py.cli.arguments import Parser
    from buildah_py.explain.report import Report


def configure(parser: Parser) -> None:
    """Declare the options: those of a build, for they decide about keys, and how to tell."""
    parser.add_argument(
        "words",
        metavar="[STEP] [CONTEXT]",
        nargs="*",
        default=[],
        help="a step by its number, its stage, STAGE/NUMBER, or all (default); and the build's context (default: .)",
    )
    add = parser.add_argument_group("telling").add_argument
    add("--against", metavar="FILE", help="compare with the build that `build --record FILE` has described")
    add("--html", metavar="FILE", help="write a page to FILE")
    add("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    add("--fetch", action="store_true", help="fetch what ADD names on the network, for the keys of these steps")
    building.configure_options(parser)


def run(args: argparse.Namespace) -> int:
    """Tell; 0, whatever would hit or miss."""
    from buildah_py.commands.why import select, why

    step, args.context = _words(args.words)
    report = select(why(building.read_request(args), against=args.against or "", fetch=args.fetch), step)
    if args.html:
        from buildah_py.pages.page import write_page
        from buildah_py.pages.why import why_page

        write_page(args.html, why_page(report, _about(args)))
    if args.format == "json":
        say_data(as_data(report))
    elif not args.html:
        from buildah_py.cli.why_text import lines

        say("\n".join(lines(report)))
    return 0


def _words(words: list[str]) -> tuple[str, str]:
    """Tell the step from the context: what is a directory, or an address, is a context."""
    if len(words) > 2:
        raise UsageError(f"why: `{words[2]}` is too much", hint="pybuild why [STEP|all] -f FILE CONTEXT")
    if len(words) == 2:
        return words[0], words[1]
    if not words:
        return "all", "."
    (word,) = words
    if os.path.isdir(word) or word == "-" or context_url(word):
        return "all", word
    return word, "."


def _about(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Say what build it is that was looked at."""
    return [
        ("build file", redact(args.file or "")),
        ("context", redact(args.context if context_url(args.context) else os.path.abspath(args.context))),
        ("image", " ".join(args.tag)),
        ("target", args.target),
        ("build arguments", " ".join(one.partition("=")[0] for one in args.build_arg)),
    ]


def as_data(report: Report) -> dict[str, object]:
    """Return the report as plain data."""
    return {
        "format": "pybuild why",
        "version": 1,
        "against": report.against or None,
        "facts": [_data_of(one) for one in report.facts],
        "steps": [
            {
                **step._asdict(),
                "nearest": step.nearest._asdict() if step.nearest else None,
                "differences": [_data_of(one) for one in step.differences],
            }
            for step in report.steps
        ],
        "note": report.note or None,
    }


def _data_of(one: Difference) -> dict[str, object]:
    return {**one._asdict(), "files": [file._asdict() for file in one.files]}
