"""`pybuild history`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_json
from buildah_py.cli.tables import FORMATS, ago, human, one_line, short, table

if TYPE_CHECKING:
    import argparse

_WIDTH = 70


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", help="name or id")
    parser.add_argument("--no-trunc", action="store_true", help="cut nothing short")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print how an image came about, the newest first."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.image import history, open_image

    with open_store() as store:
        lines = history(store, open_image(store, args.name).config)[::-1]
    if args.format == "json":
        say_json([line._asdict() for line in lines])
        return 0
    rows = [("LAYER", "CREATED", "SIZE", "CREATED BY")]
    rows += [
        (
            (line.diff_id if args.no_trunc else short(line.diff_id)) or "-",
            line.created if args.no_trunc else ago(line.created, time.time()),
            human(line.size) if line.diff_id else "-",
            one_line(line.created_by, 0 if args.no_trunc else _WIDTH),
        )
        for line in lines
    ]
    say(table(rows))
    return 0
