"""`pybuild bootstrap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import complain, say

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


def run(args: argparse.Namespace) -> int:
    """Make the image; print its id."""
    from buildah_py.cli.stores import open_store
    from buildah_py.transfer.bootstrap import bootstrap

    with open_store() as store:
        if args.what.startswith("debian"):
            complain("pybuild: mmdebstrap fetches and unpacks Debian: that takes a minute or two")
        say(bootstrap(store, args.what, args.tag))
    return 0
