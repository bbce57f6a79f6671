"""`pybuild images`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data, say_exactly, warn
from buildah_py.cli.tables import ago, check_format, human, is_template, room, short, table

if TYPE_CHECKING:
    import argparse

    from buildah_py.query.images import ListedImage


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="only images of that name")
    parser.add_argument("-a", "--all", action="store_true", help="accepted and without effect: all are shown")
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
    parser.add_argument(
        "--format", metavar="FORMAT", default="table", help="table (default), json, or a template: '{{.Repository}}'"
    )


def run(args: argparse.Namespace) -> int:
    """Print the images."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.images import list_images

    with open_store() as store:
        found = list_images(store, args.name, args.filter, warn=warn)
    check_format(args.format)
    if is_template(args.format):
        from buildah_py.cli.template_rows import render_rows

        say_exactly(render_rows(args.format, [_row(image) for image in found]))
        return 0
    if args.format == "json":
        say_data([image._asdict() for image in found])
        return 0
    if args.quiet:
        for digest in dict.fromkeys(image.id for image in found):
            say(digest if args.no_trunc else short(digest))
        return 0
    several = len({image.platform for image in found}) > 1
    rows = [
        (
            *("REPOSITORY", "TAG"),
            *(("DIGEST",) if args.digests else ()),
            "IMAGE ID",
            *(("PLATFORM",) if several else ()),
            *("CREATED", "SIZE"),
        )
    ]
    for image in found:
        own = (image.platform,) if several else ()
        known = (image.digest or "<none>",) if args.digests else ()
        name = image.id if args.no_trunc else short(image.id)
        created = image.created if args.no_trunc else ago(image.created, time.time())
        rows.append((image.repository, image.tag, *known, name, *own, created, human(image.size)))
    say(table(rows, cut=0, width=0 if args.no_trunc else room(), tail=True))
    return 0


def _row(image: ListedImage) -> dict[str, str]:
    """Give an image the names that templates of docker's users have."""
    return {
        "ID": short(image.id),
        "Repository": image.repository,
        "Tag": image.tag,
        "Digest": image.digest or "<none>",
        "CreatedSince": ago(image.created, time.time()),
        "CreatedAt": image.created,
        "Size": human(image.size),
    }
