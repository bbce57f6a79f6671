"""`pybuild logs`."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say
from buildah_py.cli.tables import one_line
from buildah_py.progress.text import is_read_for_commands

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("words", metavar="[BUILD] [STEP]", nargs="*", default=[], help="a build as `pybuild builds` lists it, "
        "^N for the one N before the last, or an image's name; default: the last. And a step: its number in the build, "
        "or STAGE/NUMBER; default: all that printed something")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print what the steps of a build have printed."""
    from buildah_py.api.state import own_root
    from buildah_py.errors import UsageError
    from buildah_py.history.builds import find_build, find_step, is_step

    words = list(args.words)
    if len(words) > 2:
        raise UsageError(f"logs: `{words[2]}` is too much", hint="pybuild logs [BUILD] [STEP]")
    wanted = words.pop() if len(words) == 2 or (words and is_step(words[0])) else ""
    build = find_build(own_root(), words[0] if words else "")
    steps = [find_step(build, wanted)] if wanted else list(build.steps)
    found = [(step, path) for step in steps if (path := build.log(step.id))]
    for place, (step, path) in enumerate(found):
        if not wanted:
            where = f"{step.stage} {step.number}/{step.total}".strip()
            say(("\n" if place else "") + f"#{step.id} [{where}] {one_line(' '.join(step.text.split()))}")
        _print(path)
    if not found:
        what = f"step {wanted} of the build {build.id}" if wanted else f"the build {build.id}"
        complain(f"pybuild: {what} printed nothing")
    return 0


def _print(path: str) -> None:
    """Print a file as it is, but for a terminal and for who obeys what he reads line by line."""
    with open(path, "rb") as file:
        if sys.stdout.isatty() or is_read_for_commands(os.environ):
            for line in file:
                say(line.decode("utf-8", "backslashreplace").removesuffix("\n"))
        else:
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
