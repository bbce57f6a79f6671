"""`pybuild layers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import FORMATS, WIDTH, human, one_line, room, short, table

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="IMAGE", help="name or id")
    parser.add_argument(
        "--most", metavar="N", type=int, default=10, help="how many files to list; default: %(default)s"
    )
    parser.add_argument("--no-trunc", action="store_true", help="cut nothing short")
    parser.add_argument(
        "--html", metavar="FILE", help="write a page to FILE: what takes the space, and what is in vain"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print what each layer adds, changes and removes, the largest files, and what is wasted."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.image import open_image, report_layers

    with open_store() as store:
        image = open_image(store, args.name)
        report = report_layers(store, image, most=args.most)
        if args.html:
            from buildah_py.pages.layers import layers_page
            from buildah_py.pages.page import write_page
            from buildah_py.query.space import areas

            write_page(args.html, layers_page(args.name, image.id, report, areas(store, image)))
    if args.format == "json":
        say_data({name: [one._asdict() for one in items] for name, items in report._asdict().items()})
        return 0
    if args.html:
        return 0
    rows = [("#", "LAYER", "SIZE", "ON DISK", "ADDED", "CHANGED", "REMOVED", "WASTED", "CREATED BY")]
    rows += [
        (
            str(place),
            layer.diff_id if args.no_trunc else short(layer.diff_id),
            human(layer.size),
            human(layer.disk),
            str(layer.added),
            str(layer.changed),
            str(layer.removed),
            human(layer.wasted),
            one_line(layer.created_by),
        )
        for place, layer in enumerate(report.layers)
    ]
    say(table(rows, cut=8, width=0 if args.no_trunc else room(WIDTH)))
    if report.largest:
        say("\nlargest files (with their layers)")
        for file in report.largest:
            say(f"{human(file.size):>8}  #{file.layer}  /{one_line(file.path)}")
    if report.hidden:
        say("\nwasted by files that later layers overwrite or delete")
        for hidden in report.hidden:
            again = f"  ({hidden.times} times)" if hidden.times > 1 else ""
            say(f"{human(hidden.bytes):>8}  /{one_line(hidden.path)}{again}")
    return 0
