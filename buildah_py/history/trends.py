"""Builds of one thing over time: how long they took, and how many of their steps were hits."""

from __future__ import annotations

from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.history.builds import builds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.history.builds import PastBuild

MOST: Final = 30
"""Builds that a trend shows."""


class Trend(NamedTuple):
    """Builds of the same context, build file, target and platform, the oldest first; at least one."""

    builds: tuple[PastBuild, ...]

    @property
    def last(self) -> PastBuild:
        """The latest one."""
        return self.builds[-1]

    @property
    def name(self) -> str:
        """What people call it: the last name that one of them gave, else the target, else the build file."""
        names = (build.names[0] for build in reversed(self.builds) if build.names)
        return next(names, self.last.target or self.last.file or self.last.id)

    @property
    def usual(self) -> float:
        """Seconds that those took which succeeded, in the middle; of all where none did."""
        done = [build.seconds for build in self.builds if build.outcome == "done"]
        return median(done or [build.seconds for build in self.builds])

    @property
    def hits(self) -> int:
        """Steps that were hits, in all of them."""
        return sum(build.count("hit") for build in self.builds)

    @property
    def steps(self) -> int:
        """Steps that were hits or executed, in all of them."""
        return self.hits + sum(build.count("ran") for build in self.builds)


def trends(found: Iterable[PastBuild], most: int = MOST) -> list[Trend]:
    """Sort builds, the latest first, by what they build; of each thing the last ones, the one built last first."""
    by_thing: dict[tuple[str, ...], list[PastBuild]] = {}
    for build in found:
        own = by_thing.setdefault(_thing(build), [])
        if len(own) < most:
            own.append(build)
    return [Trend(tuple(reversed(own))) for own in by_thing.values()]


def trend_of(root: str, build: PastBuild, most: int = MOST) -> Trend:
    """Return a build of the store at `root` with those before it."""
    same = (one for one in builds(root) if _thing(one) == _thing(build) and one.created <= build.created)
    return Trend(tuple(reversed(list(islice(same, most)))) or (build,))


def as_data(trend: Trend) -> dict[str, object]:
    """Return a trend as plain data."""
    last = trend.last
    return {
        "name": trend.name,
        "file": last.file,
        "context": last.context,
        "target": last.target,
        "platform": last.platform,
        "usual": round(trend.usual, 4),
        "builds": [
            {
                "id": build.id,
                "created": build.created,
                "seconds": build.seconds,
                "outcome": build.outcome,
                "hits": build.count("hit"),
                "ran": build.count("ran"),
            }
            for build in trend.builds
        ],
    }


def _thing(build: PastBuild) -> tuple[str, ...]:
    """Tell what is built; where the context is not one that lasts, by its names."""
    where = (build.context,) if build.context else build.names
    return (build.file, build.target, build.platform, *where)
