"""`pybuild cp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import warn

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-L", "--follow-link", action="store_true", help="copy what a link leads to, not the link")
    parser.add_argument(
        "place", metavar="IMAGE:/PATH", help="a file or directory of an image; /PATH/. for what is in a directory"
    )
    parser.add_argument("dest", metavar="DEST", help="a directory to copy into, or a new name; - for a tar on stdout")


def run(args: argparse.Namespace) -> int:
    """Copy a file or directory out of an image."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.extract import copy_out
    from buildah_py.query.image import open_image, split_place

    name, path = split_place(args.place)
    with open_store() as store:
        copy_out(open_image(store, name).view, path, args.dest, follow=args.follow_link, warn=warn)
    return 0
