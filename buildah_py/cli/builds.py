"""`pybuild builds`."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from buildah_py.cli.printing import say, say_data
from buildah_py.cli.tables import FORMATS, ago, one_line, short, table

if TYPE_CHECKING:
    import argparse

    from buildah_py.history.builds import PastBuild

_WIDTH = 80
_NAME = 18
_PLACE = 24
_COLUMNS = 20
_HEIGHTS = "▁▂▃▄▅▆▇█"
_BESIDE = 36  # columns that the other cells of a step take
_WORDS = {"hit": "CACHED", "ran": "DONE", "failed": "FAILED", "cancelled": "CANCELLED", "": "-"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("build", metavar="BUILD", nargs="?", default="", help="only this one: its id, ^N, or a name of its image")
    add("-n", "--last", metavar="N", type=int, default=30, help="how many to list at most; default: %(default)s")
    add("--trend", action="store_true", help="what is built again and again: how long it took, how much was cached")
    add("--format", choices=FORMATS, default="table", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    """List the builds that the store remembers, the latest first."""
    from buildah_py.api.state import own_root
    from buildah_py.history.builds import as_data, builds, find_build

    root = own_root()
    if args.trend:
        return _trend(root, args)
    found = [find_build(root, args.build)] if args.build else list(islice(builds(root), max(0, args.last)))
    if args.format == "json":
        say_data({"format": "pybuild builds", "version": 1, "builds": [as_data(one) for one in found]})
        return 0
    if args.build:
        _say_steps(found[0])
        return 0
    rows = [("BUILD", "CREATED", "TOOK", "CACHED", "OUTCOME", "NAME"), *map(_row, found)]
    say(table(rows))
    return 0


def _trend(root: str, args: argparse.Namespace) -> int:
    """Show the trend of one thing, or of all that was built."""
    from buildah_py.history.builds import builds, find_build
    from buildah_py.history.trends import as_data, trend_of, trends

    found = [trend_of(root, find_build(root, args.build))] if args.build else trends(builds(root))
    found = found[: max(0, args.last)]
    if args.format == "json":
        say_data({"trends": [as_data(one) for one in found]})
        return 0
    rows = [("NAME", "BUILDS", "LAST", "USUALLY", "CACHED", "TOOK")]
    rows += [
        (
            _end_of(one_line(one.name)),
            str(len(one.builds)),
            _took(one.last.seconds),
            _took(one.usual),
            f"{100 * one.hits // one.steps}%" if one.steps else "-",
            _columns([build.seconds for build in one.builds[-_COLUMNS:]]),
        )
        for one in found
    ]
    say(table(rows))
    return 0


def _columns(values: list[float]) -> str:
    """Draw values as columns of a character each, beside the largest."""
    most = max(values) or 1.0
    return "".join(_HEIGHTS[round((len(_HEIGHTS) - 1) * value / most)] for value in values)


def _row(build: PastBuild) -> tuple[str, ...]:
    name = build.names[0] if build.names else short(build.image) or build.target or "-"
    hits, ran = build.count("hit"), build.count("ran")
    return (
        build.id,
        _ago(build),
        _took(build.seconds),
        f"{hits}/{hits + ran}",
        build.outcome.upper(),
        _end_of(one_line(name)),
    )


def _say_steps(build: PastBuild) -> None:
    """Show one build with its steps."""
    say(f"{build.id}  {build.outcome.upper()} in {_took(build.seconds)}, {_ago(build)}")
    for what, text in (("image", build.image), ("names", " ".join(build.names)), ("file", build.file),
                       ("context", build.context), ("target", build.target), ("error", build.error)):  # fmt: skip
        if text:
            say(f"  {what:<8} {one_line(text.partition(chr(10))[0])}")
    places = [one_line(f"{step.stage} {step.number}/{step.total}".strip(), _PLACE) for step in build.steps]
    width = _WIDTH - max(map(len, places), default=0) - _BESIDE
    rows = [
        (
            f"#{step.id}",
            place,
            _WORDS.get(step.outcome, step.outcome),
            _took(step.seconds) if step.outcome else "",
            one_line(" ".join(step.text.split()), width),
        )
        for step, place in zip(build.steps, places, strict=True)
    ]
    if rows:
        say("\n" + table([("STEP", "PLACE", "OUTCOME", "TOOK", "TEXT"), *rows]))


def _end_of(name: str) -> str:
    """Cut a name where it says least: in front."""
    return name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"


def _ago(build: PastBuild) -> str:
    from buildah_py.image import timestamp

    return ago(timestamp.to_text(int(build.created) * 10**9), time.time())


def _took(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}h{minutes % 60:02}m" if minutes >= 60 else f"{minutes}m{rest:02}s"
