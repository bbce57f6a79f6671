"""`pybuild kill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("-s", "--signal", metavar="SIGNAL", default="KILL", help="default: %(default)s, which ends it at once")
    add("containers", metavar="CONTAINER", nargs="+", help="name, id, or how that begins")


def run(args: argparse.Namespace) -> int:
    """Send the commands of containers a signal."""
    from buildah_py.api.state import own_root
    from buildah_py.running.stopping import send_signal, signal_number
    from buildah_py.store.containers import find_container

    number = signal_number(args.signal)
    for word in args.containers:
        send_signal(find_container(own_root(), word), number)
        say(word)
    return 0
