"""`pybuild images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.tables import FORMATS, human, print_json, short, table

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only images of that name")
    parser.add_argument("-q", "--quiet", action="store_true", help="print ids only")
    parser.add_argument("--no-trunc", action="store_true", help="print whole ids")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print the images."""
    from buildah_py.api.images import list_images
    from buildah_py.api.state import open_store

    with open_store() as store:
        found = list_images(store, args.name)
    if args.format == "json":
        print_json([image._asdict() for image in found])
        return 0
    if args.quiet:
        for digest in dict.fromkeys(image.id for image in found):
            print(digest if args.no_trunc else short(digest))
        return 0
    rows = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")]
    rows += [
        (image.repository, image.tag, image.id if args.no_trunc else short(image.id), image.created, human(image.size))
        for image in found
    ]
    print(table(rows))
    return 0
