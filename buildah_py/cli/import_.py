"""`pybuild import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from buildah_py.cli.sources import add_max_layer_size

    parser.add_argument(
        "rootfs", metavar="ROOTFS", help="a tar archive, compressed or not, or a directory; - for stdin"
    )
    parser.add_argument("-t", "--tag", metavar="NAME[:TAG]", required=True, help="name of the image")
    add_max_layer_size(parser)
    parser.add_argument("--platform", metavar="OS/ARCH", default="", help="default: this machine's")


def run(args: argparse.Namespace) -> int:
    """Import; print the image's id."""
    from buildah_py.cli.sources import read_max_layer_size
    from buildah_py.cli.stores import open_store
    from buildah_py.contexts.named import ContextOptions
    from buildah_py.transfer.bootstrap import import_rootfs

    limits = ContextOptions(most=read_max_layer_size(args)).limits()
    with open_store() as store:
        say(import_rootfs(store, args.rootfs, args.tag, platform=args.platform, limits=limits))
    return 0
