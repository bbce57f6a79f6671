"""`pybuild umount`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("directory", metavar="DIR", nargs="+", help="where an image is mounted")


def run(args: argparse.Namespace) -> int:
    """Take mounted images away."""
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.mount import umount_image

    with open_store() as store:
        for directory in args.directory:
            umount_image(store, directory)
    return 0
