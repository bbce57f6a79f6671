"""Which times of a layer say nothing: those that its step stamped by itself, and those that a context gave it.

A time that a command sets on purpose is content. One that the kernel stamped while the step ran is what its clock
showed, and a context's file has the time of its checkout: another execution gives other ones, and is as good.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.layers.entry import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.layers.entry import Entry

CLOCK: Final = "clock"
"""Stamped by a clock while a step ran."""
GIVEN: Final = "given"
"""Brought by a build context."""
CONTENT: Final = ""
"""Set on purpose, or part of what was unpacked."""

_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1


class Stamps(NamedTuple):
    """The times of one layer that are not content, as ranges of seconds since 1970 with both ends, in order.

    Times that neither holds are content.
    """

    clock: tuple[tuple[int, int], ...] = ()
    given: tuple[tuple[int, int], ...] = ()

    def of(self, mtime: int) -> str:
        """Tell what a time in nanoseconds is: CLOCK, GIVEN or CONTENT."""
        second = mtime // SECOND
        if _holds(self.clock, second):
            return CLOCK
        return GIVEN if _holds(self.given, second) else CONTENT

    @property
    def holds_all(self) -> bool:
        """Whether no time at all is content."""
        return self.given == ALL_GIVEN.given

    def to_data(self) -> list[str]:
        """Plain data; `read_stamps` is the inverse."""
        return [",".join(f"{first}..{last}" for first, last in ranges) for ranges in self]


NO_STAMPS: Final = Stamps()
ALL_GIVEN: Final = Stamps((), ((_LEAST, _MOST),))


def read_stamps(raw: object) -> Stamps:
    """Read what `Stamps.to_data` gave. Raises ValueError for anything else."""
    if not isinstance(raw, list) or len(raw) != 2 or not all(isinstance(text, str) for text in raw):
        raise ValueError("the times of a layer are not two lists of ranges")
    return Stamps(*(tuple(_read(text)) for text in raw))


def window(began: int, ended: int, took: int) -> Stamps:
    """Give the times that a step may have stamped.

    `began` and `ended` are what the clock of the file system showed, `took` what lay between by a clock that nobody
    sets, all in nanoseconds. A clock that was set meanwhile showed times that follow the first, and times that lead to
    the last.
    """
    ranges = sorted([(began // SECOND, (began + took) // SECOND), ((ended - took) // SECOND, ended // SECOND)])
    (first, last), (other, end) = ranges
    return Stamps(((first, max(last, end)),) if other <= last + 1 else ((first, last), (other, end)))


def seconds_of(entries: Iterable[Entry]) -> dict[str, set[int]]:
    """Give the times of entries in seconds by what they are, as the entries' stamps say."""
    found: dict[str, set[int]] = {CLOCK: set(), GIVEN: set(), CONTENT: set()}
    for entry in entries:
        found[entry.stamp].add(entry.mtime // SECOND)
    return found


def classify(seconds: Mapping[str, Iterable[int]]) -> Stamps:
    """Give the stamps of a layer whose entries have these times; one that is several things is content, or stamped."""
    kinds = {second: kind for kind in (GIVEN, CLOCK, CONTENT) for second in seconds[kind]}
    ordered = sorted(kinds)
    return Stamps(_ranges(ordered, kinds, CLOCK), _ranges(ordered, kinds, GIVEN))


def all_given_but(content: Iterable[int], clock: Iterable[int] = ()) -> Stamps:
    """Give the stamps of a layer in which only these seconds are content; those of `clock` were stamped."""
    kept = sorted(set(content))
    given: list[tuple[int, int]] = []
    start = _LEAST
    for second in kept:
        if start < second:
            given.append((start, second - 1))
        start = second + 1
    stamped = sorted(set(clock).difference(kept))
    return Stamps(tuple((second, second) for second in stamped), (*given, (start, _MOST)))


def _ranges(ordered: Sequence[int], kinds: dict[int, str], wanted: str) -> tuple[tuple[int, int], ...]:
    """Join the seconds of one kind as far as none of another kind lies between."""
    found: list[tuple[int, int]] = []
    before = None
    for second in ordered:
        kind = kinds[second]
        if kind == wanted:
            found.append((found.pop()[0] if before == wanted else second, second))
        before = kind
    return tuple(found)


def _holds(ranges: tuple[tuple[int, int], ...], second: int) -> bool:
    if not ranges:
        return False
    if len(ranges) == 1:  # nearly always
        return ranges[0][0] <= second <= ranges[0][1]
    place = bisect_right(ranges, (second, _MOST))
    return place > 0 and ranges[place - 1][1] >= second


def _read(text: str) -> Iterable[tuple[int, int]]:
    last = None
    for part in text.split(",") if text else ():
        ends = part.split("..")
        if len(ends) != 2 or not part.isascii() or any(len(end) > 20 or " " in end for end in ends):
            raise ValueError(f"{part!r} is not a range of seconds")
        first, end = map(int, ends)
        if first > end or (last is not None and first <= last):
            raise ValueError(f"{part!r} is not in order")
        last = end
        yield first, end
