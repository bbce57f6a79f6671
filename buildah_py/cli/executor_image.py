"""`pybuild executor-image`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-t", "--tag", metavar="NAME[:TAG]", default="pybuild-executor", help="name of the image; default: %(default)s")
    add("-o", "--output", metavar="SPEC", action="append", default=[], help="write it, as `pybuild build` does")
    add("--push", action="store_true", help="send it to its registry")
    add("--shell", action="store_true", help="add this machine's static busybox, for scripts of a CI")
    add("-q", "--quiet", action="store_true", help="print nothing but the image's id")


def run(args: argparse.Namespace) -> int:
    """Build the image of the files of this program, in this machine's store."""
    import tempfile

    from buildah_py.cli import build
    from buildah_py.cli.arguments import fill, make_parser
    from buildah_py.commands.executor_context import write_context

    with tempfile.TemporaryDirectory(prefix="pybuild-executor-") as place:
        file = write_context(place, shell=args.shell)
        with open(f"{place}/Dockerfile", "w", encoding="utf-8") as out:
            out.write(file)
        words = ["-t", args.tag, *(f"--output={spec}" for spec in args.output)]
        words += ["--push"] * args.push + ["-q"] * args.quiet
        parser = make_parser("build", "build the image")
        build.configure(parser)
        asked = parser.parse_args([*words, place])
        fill(asked, parser.given, "build", os.environ)
        asked.asked = None
        return build.run(asked)
