"""`pybuild diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import FORMATS, one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from buildah_py.query.compare import Change, Property

EXIT_DIFFERENT = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("before", metavar="A", help="name or id of an image")
    parser.add_argument("now", metavar="B", help="name or id of another")
    parser.add_argument("--times", action="store_true", help="compare times of files and of the config too")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print what differs between two images; 0 for nothing, 1 for something, as diff(1) has it."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.compare import compare_configs, compare_files
    from buildah_py.query.image import open_image

    with open_store() as store:
        before, now = open_image(store, args.before), open_image(store, args.now)
        changes = list(compare_files(before.view, now.view, times=args.times))
        properties = compare_configs(before.config, now.config, times=args.times)
    if args.format == "json":
        say_data({"files": [change._asdict() for change in changes], "config": [one._asdict() for one in properties]})
    else:
        show_differences(changes, properties)
    return EXIT_DIFFERENT if changes or properties else 0


def show_differences(changes: Sequence[Change], properties: Sequence[Property]) -> None:
    """Print a line for each."""
    for change in changes:
        say(_line(change))
    for one in properties:
        say(f"config {one_line(one.name)}: {_value(one.before)} -> {_value(one.now)}")


def _line(change: Change) -> str:
    what = []
    for name, (before, now) in change.what.items():
        what.append(name if name == "content" else f"{name} {one_line(before) or '-'} -> {one_line(now) or '-'}")
    return f"{change.kind} /{one_line(change.path)}" + (f"  ({', '.join(what)})" if what else "")


def _value(value: object) -> str:
    import json

    return "unset" if value is None else json.dumps(value)
