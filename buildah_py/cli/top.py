"""`pybuild top`."""

from __future__ import annotations

import argparse
import subprocess

from buildah_py.cli.printing import say_exactly
from buildah_py.errors import NotFound, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("container", metavar="CONTAINER", help="name, id, or how that begins")
    parser.add_argument("options", metavar="PS-OPTION", nargs=argparse.REMAINDER, help="of ps(1); default: -ef")


def run(args: argparse.Namespace) -> int:
    """List the processes of a container, as this machine's ps(1) does."""
    from buildah_py.api.state import own_root
    from buildah_py.running.control import ContainerLine
    from buildah_py.store.containers import find_container

    found = find_container(own_root(), args.container)
    with ContainerLine(found) as line:
        line.send("processes")
        answer, _ = line.receive()
    ids = answer[1] if answer is not None else ()
    if not ids:
        raise NotFound(f"the container `{args.container}` has ended")
    try:
        shown = subprocess.run(
            ["ps", *(args.options or ["-ef"])], stdout=subprocess.PIPE, check=False, encoding="utf-8", errors="replace"
        )
    except FileNotFoundError:
        raise NotFound("this machine has no ps", hint="Debian's package procps has one") from None
    head, *lines = shown.stdout.splitlines() or [""]
    if shown.returncode:
        return shown.returncode
    if "PID" not in head.split():
        raise UsageError("top: ps shows no PIDs with these options", hint="add the column: -o pid,…")
    place = head.split().index("PID")
    say_exactly("\n".join([head, *(line for line in lines if _is_of(line.split(), place, ids))]))
    return 0


def _is_of(words: list[str], place: int, ids: tuple[int, ...]) -> bool:
    return len(words) > place and words[place].isdecimal() and int(words[place]) in ids
