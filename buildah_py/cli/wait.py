"""`pybuild wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name, id, or how that begins")


def run(args: argparse.Namespace) -> int:
    """Wait until containers have ended, and print the status of each."""
    from buildah_py.api.state import own_root
    from buildah_py.running.stopping import wait
    from buildah_py.store.containers import find_container

    for found in [find_container(own_root(), word) for word in args.containers]:
        say(str(wait(found)))
    return 0
