"""`pybuild inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Print what is known of the images as a JSON array."""
    from buildah_py.api.images import inspect_image
    from buildah_py.api.state import open_store

    with open_store() as store:
        print(json.dumps([inspect_image(store, name) for name in args.name], indent=2, ensure_ascii=False))
    return 0
