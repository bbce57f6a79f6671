"""`pybuild bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what",
        metavar="busybox|debian[:SUITE]",
        help="busybox from this machine's static busybox, or Debian with mmdebstrap",
    )
    parser.add_argument(
        "-t", "--tag", metavar="NAME[:TAG]", default="", help="name of the image; default: what was asked for"
    )
    parser.add_argument(
        "--own-sources",
        action="store_true",
        help="leave Debian with the archives that this machine has it from, instead of those that everybody reaches",
    )


def run(args: argparse.Namespace) -> int:
    """Make the image; print its id."""
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.bootstrap import bootstrap

    with open_store() as store:
        say(bootstrap(store, args.what, args.tag, own_sources=args.own_sources))
    return 0
