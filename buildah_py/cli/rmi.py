"""`pybuild rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", nargs="+", help="name or id")
    parser.add_argument("-f", "--force", action="store_true", help="remove an id that has several names")


def run(args: argparse.Namespace) -> int:
    """Remove names and images; layers stay as cache until `pybuild prune`."""
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.images import remove_image

    with open_store() as store:
        for name in args.name:
            for line in remove_image(store, name, force=args.force):
                say(line)
    return 0
