"""`pybuild stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-t", "--time", "--timeout", metavar="SECONDS", type=float, default=None,
        help="how long it has before it is ended by force; default: as it was started with; -1 for ever")  # fmt: skip
    add(
        "-s", "--signal", metavar="SIGNAL", default="", help="what it is sent; default: as it was started with, or TERM"
    )
    add("containers", metavar="CONTAINER", nargs="+", help="name, id, or how that begins")


def run(args: argparse.Namespace) -> int:
    """Ask containers to end, and end those by force that do not."""
    from buildah_py.api.state import own_root
    from buildah_py.running.stopping import stop
    from buildah_py.store.containers import find_container

    for word in args.containers:
        found = find_container(own_root(), word)
        if stop(found, args.signal, args.time, lambda text: complain(f"pybuild: {text}")):
            complain(f"pybuild: {word} did not end when it was asked to, and was ended by force")
        say(word)
    return 0
