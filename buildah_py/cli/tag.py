"""`pybuild tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("image", metavar="IMAGE", help="name or id")
    parser.add_argument("names", metavar="NAME[:TAG]", nargs="+", help="what it is called too from now on")


def run(args: argparse.Namespace) -> int:
    """Give an image further names."""
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.images import tag_image

    with open_store() as store:
        tag_image(store, args.image, args.names)
    return 0
