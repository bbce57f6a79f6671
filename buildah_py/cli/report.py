"""`pybuild report`, and what `pybuild build --report` writes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say
from buildah_py.errors import NotFound, UsageError

if TYPE_CHECKING:
    import argparse

KINDS = (".html", ".htm", ".md")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add(
        "build",
        metavar="BUILD",
        nargs="?",
        default="",
        help="a build as `pybuild builds` lists it, ^N, or a name of its image; default: the last",
    )
    add("-o", "--output", metavar="FILE", default="report.html", help="FILE.html or FILE.md, or - for a page on the "
        "standard output; default: %(default)s")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the report of a build."""
    from buildah_py.api.state import own_root
    from buildah_py.history.builds import find_build

    if args.output != "-":
        check(args.output, "-o")
    build = find_build(own_root(), args.build)
    from buildah_py.cli.stores import open_store
    from buildah_py.pages.build_report import build_report

    with open_store() as store:
        text = build_report(build, store, markdown=args.output.endswith(".md"))
    if args.output == "-":
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())
        return 0
    from buildah_py.pages.page import write_page

    write_page(args.output, text)
    say(f"wrote the report of the build {build.id} to {args.output}")
    return 0


def check(path: str, option: str) -> None:
    """Raise UsageError for a file of a kind that no report has."""
    if not path.endswith(KINDS):
        raise UsageError(f"{option} {path}: a report is a page or Markdown", hint="name FILE.html or FILE.md")


def write(path: str, record: str) -> None:
    """Write the report of the build whose record is that file. Raises OutputError."""
    from buildah_py.cli.stores import open_store
    from buildah_py.history.builds import read_build
    from buildah_py.pages.build_report import build_report
    from buildah_py.pages.page import write_page

    if not record:
        raise NotFound("its record could not be written: --debug tells why")
    build = read_build(record)
    with open_store() as store:
        text = build_report(build, store, markdown=path.endswith(".md"))
    write_page(path, text)
