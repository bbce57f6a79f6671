"""`pybuild images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only images of that name")
    parser.add_argument("-q", "--quiet", action="store_true", help="print ids only")
    parser.add_argument("--no-trunc", action="store_true", help="print whole ids")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print the images."""
    from buildah_py.api.images import list_images
    from buildah_py.api.state import open_store

    with open_store() as store:
        found = list_images(store, args.name)
    if args.format == "json":
        import json

        print(json.dumps([image._asdict() for image in found], indent=2))
        return 0
    if args.quiet:
        for digest in dict.fromkeys(image.id for image in found):
            print(digest if args.no_trunc else _short(digest))
        return 0
    rows = [("REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE")]
    rows += [
        (image.repository, image.tag, image.id if args.no_trunc else _short(image.id), image.created, human(image.size))
        for image in found
    ]
    print(table(rows))
    return 0


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns wide enough for all that stands in them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def human(size: float) -> str:
    """Bytes in decimal units, as docker shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
