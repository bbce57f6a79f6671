"""`pybuild fmt`: print a build file in canonical form."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say_exactly
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse

EXIT_DIFFERS = 1
STDIN = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("context", metavar="CONTEXT", nargs="?", default=".", help="directory whose build file to format")
    add(
        "-f",
        "--file",
        metavar="FILE",
        help="build file; default: Buildfile, Dockerfile or Containerfile in CONTEXT; - for stdin",
    )
    add("--check", action="store_true", help="print nothing, fail if the file is not in canonical form")
    add("-w", "--write", action="store_true", help="write the result back to the file")
    add("--extensions", action="store_true", help="allow pybuild's extensions of the language")


def run(args: argparse.Namespace) -> int:
    """Format; 0, or 1 if `--check` finds the file not to be in canonical form."""
    from buildah_py.buildfile import parse
    from buildah_py.buildfile.printer import render

    if args.check and args.write:
        raise UsageError("--check and --write exclude each other")
    if args.file == STDIN:
        if args.write:
            raise UsageError("--write needs a file", hint="name one with -f FILE")
        name, path, data = "<stdin>", "", sys.stdin.buffer.read()
    else:
        from buildah_py.sources.find import find_build_file

        name, path, data = find_build_file(args.context, args.file)
    text = render(parse(data, name, extensions=args.extensions))
    same = text.encode() == data
    if args.check:
        if not same:
            complain(f"{name}: not in canonical form; `pybuild fmt -w -f {name}` changes it")
        return 0 if same else EXIT_DIFFERS
    if args.write:
        if not same:
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        return 0
    say_exactly(text, end="")
    return 0
