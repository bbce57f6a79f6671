"""`pybuild images`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_json, warn
from buildah_py.cli.tables import FORMATS, ago, human, short, table

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only images of that name")
    parser.add_argument("-q", "--quiet", action="store_true", help="print ids only")
    parser.add_argument("--digests", action="store_true", help="show what registries call them")
    parser.add_argument(
        "-f",
        "--filter",
        metavar="FILTER",
        action="append",
        default=[],
        help="dangling=true|false, label=KEY[=VALUE], reference=PATTERN; may be repeated",
    )
    parser.add_argument("--no-trunc", action="store_true", help="print whole ids and times")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print the images."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.images import list_images

    with open_store() as store:
        found = list_images(store, args.name, args.filter, warn=warn)
    if args.format == "json":
        say_json([image._asdict() for image in found])
        return 0
    if args.quiet:
        for digest in dict.fromkeys(image.id for image in found):
            say(digest if args.no_trunc else short(digest))
        return 0
    rows = [("REPOSITORY", "TAG", *(("DIGEST",) if args.digests else ()), "IMAGE ID", "CREATED", "SIZE")]
    for image in found:
        known = (image.digest or "<none>",) if args.digests else ()
        name = image.id if args.no_trunc else short(image.id)
        created = image.created if args.no_trunc else ago(image.created, time.time())
        rows.append((image.repository, image.tag, *known, name, created, human(image.size)))
    say(table(rows))
    return 0
