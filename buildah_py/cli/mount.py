"""`pybuild mount`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", help="name or id")
    parser.add_argument("directory", metavar="DIR", help="where it is to be seen")


def run(args: argparse.Namespace) -> int:
    """Mount an image read-only; print where."""
    from buildah_py.cli.stores import open_store
    from buildah_py.commands.mount import mount_image

    with open_store() as store:
        say(mount_image(store, args.name, args.directory))
    return 0
