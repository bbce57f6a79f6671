"""`pybuild prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.images import human

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("-a", "--all", action="store_true", help="also images that have a name")


def run(args: argparse.Namespace) -> int:
    """Remove unnamed images, the cache, and layers that no image needs."""
    from buildah_py.api.images import prune
    from buildah_py.api.state import open_store

    with open_store() as store:
        images, freed = prune(store, everything=args.all)
    print(f"removed {images} image{'' if images == 1 else 's'}, freed {human(freed)}")
    return 0
