"""`pybuild import`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "rootfs", metavar="ROOTFS", help="a tar archive, compressed or not, or a directory; - for stdin"
    )
    parser.add_argument("-t", "--tag", metavar="NAME[:TAG]", required=True, help="name of the image")
    parser.add_argument("--platform", metavar="OS/ARCH", default="", help="default: this machine's")


def run(args: argparse.Namespace) -> int:
    """Import; print the image's id."""
    from buildah_py.api.bootstrap import import_rootfs
    from buildah_py.api.state import open_store

    with open_store() as store:
        print(import_rootfs(store, args.rootfs, args.tag, platform=args.platform))
    return 0
