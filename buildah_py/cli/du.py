"""`pybuild du`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data, warn
from buildah_py.cli.tables import FORMATS, human, one_line, room, short, since, table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from buildah_py.query.usage import DiskUsage


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="list the cache mounts too, and all names of images"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """Print what takes how much of the disk."""
    from buildah_py.cli.stores import open_store
    from buildah_py.query.usage import report_usage

    with open_store() as store:
        report = report_usage(store, warn)
    if args.format == "json":
        say_data(_as_json(report))
    else:
        _print(report, verbose=args.verbose)
    return 0


def _as_json(report: DiskUsage) -> dict[str, object]:
    return {
        "images": [image._asdict() for image in report.images],
        "cache": {"layers": report.cached, "disk": report.cache},
        "cache_mounts": [mount._asdict() for mount in report.cache_mounts],
        "parts": report.parts._asdict(),
        "total": report.parts.total,
        "free": report.free,
    }


def _print(report: DiskUsage, *, verbose: bool) -> None:
    if report.images:
        rows = [("IMAGE", "LAYERS", "ON DISK", "SHARED", "PRIVATE", "LAST USED")]
        rows += [
            (
                _named(image.names, verbose=verbose) or short(image.id),
                str(image.layers),
                human(image.disk),
                human(image.shared),
                human(image.private),
                _when(image.used),
            )
            for image in report.images
        ]
        say(table(rows, cut=0, width=0 if verbose else room(), tail=True) + "\n")
    if verbose and report.cache_mounts:
        lines = [("CACHE MOUNT", "ON DISK", "LAST USED")]
        lines += [
            (one_line(mount.id.shown) or short(mount.name), human(mount.disk), _when(mount.used))
            for mount in report.cache_mounts
        ]
        say(table(lines) + "\n")
    parts = report.parts
    summary = [
        ("PART", "ON DISK", "OF THAT NO IMAGE HOLDS"),
        ("layers", human(parts.layers), human(report.cache)),
        ("blobs", human(parts.blobs), ""),
        ("cache mounts", human(parts.cache_mounts), human(sum(mount.disk for mount in report.cache_mounts))),
        ("logs", human(parts.logs), ""),
        ("files and repositories from elsewhere", human(parts.fetched), human(parts.fetched)),
        ("known files of contexts", human(parts.stat_cache), ""),
        ("database", human(parts.database), ""),
        ("unfinished", human(parts.staging), ""),
        ("what failed steps left", human(parts.failed), human(parts.failed)),
        ("logs of containers", human(parts.containers), human(parts.containers)),
        ("total", human(parts.total), ""),
    ]
    say(table(summary))


def _named(names: Sequence[str], *, verbose: bool) -> str:
    """Give the names, or the first of them and how many more there are."""
    if verbose or len(names) < 2:
        return ", ".join(names)
    return f"{names[0]} and {len(names) - 1} more"


def _when(moment: int) -> str:
    return since(moment, time.time())
