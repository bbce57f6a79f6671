"""`pybuild cat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("place", metavar="IMAGE:/PATH", nargs="+", help="a file of an image")


def run(args: argparse.Namespace) -> int:
    """Write files of images to the standard output, byte by byte as they are."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.extract import write_file
    from buildah_py.query.image import open_image, split_place

    places = [split_place(text) for text in args.place]
    with open_store() as store:
        for name, path in places:
            write_file(open_image(store, name).view, path, 1)
    return 0
