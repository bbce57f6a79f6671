"""`pybuild import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from buildah_py.cli.sources import add_max_layer_size

    parser.add_argument(
        "rootfs", metavar="ROOTFS", help="a tar archive, compressed or not, or a directory; - for stdin"
    )
    parser.add_argument("name", metavar="NAME[:TAG]", nargs="?", help="name of the image")
    parser.add_argument("-t", "--tag", metavar="NAME[:TAG]", default="", help="the same")
    add_max_layer_size(parser)
    parser.add_argument("--platform", metavar="OS/ARCH", default="", help="default: this machine's")


def run(args: argparse.Namespace) -> int:
    """Import; print the image's id."""
    from buildah_py.cli.sources import read_max_layer_size
    from buildah_py.cli.stores import open_store
    from buildah_py.contexts.named import ContextOptions
    from buildah_py.transfer.bootstrap import import_rootfs

    name = args.name or args.tag
    if not name or (args.tag and args.name):
        raise UsageError("import: which name is the image to have?", hint=f"pybuild import {args.rootfs} NAME")
    limits = ContextOptions(most=read_max_layer_size(args)).limits()
    with open_store() as store:
        say(import_rootfs(store, args.rootfs, name, platform=args.platform, limits=limits))
    return 0
