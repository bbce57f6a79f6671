"""`pybuild rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say
from buildah_py.errors import NotFound, UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-f", "--force", action="store_true", help="end those that run; one that is not there is as good as removed")
    add("-v", "--volumes", action="store_true", help="accepted and without effect: containers have no volumes")
    add("containers", metavar="CONTAINER", nargs="+", help="name, id, or how that begins")


def run(args: argparse.Namespace) -> int:
    """Remove what containers have left: how they ended, and their logs."""
    from buildah_py.api.state import own_root
    from buildah_py.running.stopping import stop
    from buildah_py.store.containers import find_container

    for word in args.containers:
        try:
            found = find_container(own_root(), word)
        except NotFound:
            if not args.force:
                raise
            continue
        if found.alive and not args.force:
            raise UsageError(f"the container `{word}` runs", hint=f"`pybuild stop {word}`, or rm -f")
        stop(found, "KILL", -1)
        found.remove()
        say(word)
    return 0
