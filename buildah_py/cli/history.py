"""`pybuild history`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data, say_exactly
from buildah_py.cli.tables import WIDTH, ago, check_format, human, is_template, one_line, room, short, table

if TYPE_CHECKING:
    import argparse

    from buildah_py.query.image import HistoryLine


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", help="name or id")
    parser.add_argument("--no-trunc", action="store_true", help="cut nothing short")
    parser.add_argument(
        "--format", metavar="FORMAT", default="table", help="table (default), json, or a template: '{{.CreatedBy}}'"
    )


def run(args: argparse.Namespace) -> int:
    """Print how an image came about, the newest first."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.image import history, open_image

    with open_store() as store:
        lines = history(store, open_image(store, args.name).config)[::-1]
    check_format(args.format)
    if is_template(args.format):
        from buildah_py.cli.template_rows import render_rows

        say_exactly(render_rows(args.format, [_row(line, whole=args.no_trunc) for line in lines]))
        return 0
    if args.format == "json":
        say_data([line._asdict() for line in lines])
        return 0
    rows = [("LAYER", "CREATED", "SIZE", "CREATED BY")]
    rows += [
        (
            (line.diff_id if args.no_trunc else short(line.diff_id)) or "-",
            line.created if args.no_trunc else ago(line.created, time.time()),
            human(line.size) if line.diff_id else "-",
            one_line(line.created_by),
        )
        for line in lines
    ]
    say(table(rows, cut=3, width=0 if args.no_trunc else room(WIDTH)))
    return 0


def _row(line: HistoryLine, *, whole: bool) -> dict[str, str]:
    """Give a line the names that templates of docker's users have."""
    return {
        "ID": (line.diff_id if whole else short(line.diff_id)) or "<missing>",
        "CreatedAt": line.created,
        "CreatedSince": ago(line.created, time.time()),
        "CreatedBy": one_line(line.created_by),
        "Size": human(line.size),
        "Comment": line.comment,
    }
