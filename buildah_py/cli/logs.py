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
    add("-f", "--follow", action="store_true", help="of a container: go on until it ends")
    add("-n", "--tail", metavar="N", default="all", help="of a container: only the last N lines")
    add("-t", "--timestamps", action="store_true", help="of a container: put the time in front of each line")
    add("--since", metavar="WHEN", default="", help="of a container: from then on, such as 10m or 2026-01-31T12:00:00Z")
    add("--until", metavar="WHEN", default="", help="of a container: what was printed before that")
    add("words", metavar="[CONTAINER|BUILD] [STEP]", nargs="*", default=[], help="a container's name or id; or a build "
        "as `pybuild builds` lists it, ^N for the one N before the last, or an image's name; default: the last. And a "
        "step: its number in the build, or STAGE/NUMBER; default: all that printed something")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print what a container, or the steps of a build, have printed."""
    from buildah_py.api.state import own_root
    from buildah_py.errors import UsageError
    from buildah_py.history.builds import find_build, find_step, is_step

    words = list(args.words)
    if len(words) > 2:
        raise UsageError(f"logs: `{words[2]}` is too much", hint="pybuild logs [CONTAINER], or [BUILD] [STEP]")
    if len(words) == 1 and _is_container(own_root(), words[0]):
        from buildah_py.cli.container_logs import LogPart, print_log

        shown = LogPart(tail=args.tail, stamped=args.timestamps, **_moments(args))
        return print_log(own_root(), words[0], shown, follow=args.follow)
    if args.follow or args.timestamps or args.tail != "all" or args.since or args.until:
        from buildah_py.store.containers import find_container

        if not words:
            raise UsageError(
                "logs: -f, -t, --tail, --since and --until are for containers",
                hint="name one; `pybuild ps -a` lists them",
            )
        find_container(own_root(), words[0])
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
        why = f", and failed:\n{build.error}" if build.error and not wanted else ""
        complain(f"pybuild: {what} printed nothing{why}")
    return 0


def _moments(args: argparse.Namespace) -> dict[str, int]:
    """Return the moments that options name, by their names. Raises UsageError."""
    import time

    from buildah_py.buildfile.durations import parse_moment

    given = {name: getattr(args, name) for name in ("since", "until") if getattr(args, name)}
    return {name: parse_moment(text, time.time_ns(), f"--{name} {text}") for name, text in given.items()}


def _is_container(root: str, word: str) -> bool:
    """Tell whether a word is a container's; said is what else it may be. Raises UsageError for one of several."""
    from buildah_py.errors import NotFound
    from buildah_py.history.builds import find_build
    from buildah_py.store.containers import find_container

    try:
        found = find_container(root, word)
    except NotFound:
        return False
    try:
        build = find_build(root, word)
    except NotFound:
        return True
    complain(f"pybuild: {word} is the container {found.short}, and the build {build.id} too: `pybuild logs {build.id}`")
    return True


def _print(path: str) -> None:
    """Print a file as it is, but for a terminal and for who obeys what he reads line by line."""
    with open(path, "rb") as file:
        if sys.stdout.isatty() or is_read_for_commands(os.environ):
            for line in file:
                say(line.decode("utf-8", "backslashreplace").removesuffix("\n"))
        else:
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
