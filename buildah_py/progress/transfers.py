"""Transfers that are under way: how fast each is, what is left, and the lines that tell so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from buildah_py import meter
from buildah_py.progress.text import clean, fit, seconds_text, size_text, width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.meter import Moved

_WINDOW: Final = 5.0
"""Seconds of the past that make the rate."""
_MIN_BAR, _MAX_BAR = 6, 20


class Moving:
    """One transfer: its last event, when it began for whoever watches, and how far it was in the last seconds."""

    __slots__ = ("_samples", "event", "said", "started")

    def __init__(self, event: Moved, now: float) -> None:
        self.event = event
        self.started = self.said = now - event.seconds
        self._samples = deque([(now, event.done)])

    def follow(self, event: Moved, now: float) -> None:
        """Take in what it says of itself."""
        self.event = event
        self._samples.append((now, event.done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _WINDOW:
            self._samples.popleft()

    def rate(self, now: float) -> float:
        """Return bytes or items a second, of late."""
        since, done = next((one for one in self._samples if one[0] >= now - _WINDOW), self._samples[-1])
        if since == now:
            since, done = self._samples[0]
        return (self.event.done - done) / (now - since) if now > since else 0.0

    def left(self, now: float) -> float | None:
        """Return the seconds that the rest will take; None where nobody can tell."""
        rate = self.rate(now)
        rest = self.event.total - self.event.done
        return rest / rate if rest > 0 and rate > 0 else None


class Transfers:
    """All that are under way, in the order in which they began."""

    def __init__(self) -> None:
        self._moving: dict[tuple[int, str], Moving] = {}

    def __bool__(self) -> bool:
        return bool(self._moving)

    def __iter__(self) -> Iterator[Moving]:
        return iter(self._moving.values())

    def follow(self, event: Moved, now: float) -> Moving:
        """Take an event in; the transfer that it is about, also where it has ended by that."""
        key = event.id, event.what
        moving = self._moving.get(key)
        if moving is None:
            moving = self._moving[key] = Moving(event, now)
        else:
            moving.follow(event, now)
        if event.ended:
            del self._moving[key]
        return moving

    def of(self, step: int) -> list[Moving]:
        """Return those of a step, 0 for those of none."""
        return [one for one in self if one.event.id == step]

    def end(self, step: int) -> None:
        """Forget those of a step that is over."""
        for key in [key for key in self._moving if key[0] == step]:
            del self._moving[key]


def sentence(moving: Moving, now: float) -> str:
    """Tell how far a transfer is: `pulling app: 120 MB of 630 MB, 12 MB/s`."""
    event = moving.event
    rate = moving.rate(now)
    parts = [_amount(event)] if event.done or event.total else []
    if rate > 0 and event.unit == meter.BYTES:
        parts.append(f"{size_text(rate)}/s")
    parts.append(seconds_text(now - moving.started))
    return f"{clean(event.what, colour=False)}: {', '.join(parts)}"


def result(event: Moved) -> str:
    """Tell what a transfer came to, and how fast it was: `630 MB, 52 MB/s`; empty where nothing was counted."""
    if not event.done:
        return ""
    if event.unit != meter.BYTES:
        return f"{event.done}"
    rate = f", {size_text(event.done / event.seconds)}/s" if event.seconds > 0 else ""
    return f"{size_text(event.done)}{rate}"


def bar(moving: Moving, now: float, columns: int, *, full: str, empty: str) -> str:
    """Return a line of at most that many columns: what it is, a bar, and what of amount, rate and time finds room."""
    event = moving.event
    what = clean(event.what, colour=False)
    figures = _figures(moving, now)
    least = min(width(what), max(columns // 3, 10))
    wanted = _MIN_BAR + 2 if event.total else 0
    while len(figures) > 1 and least + wanted + 2 + _length(figures) > columns:
        figures.pop(0 if len(figures) == 2 else 1)
    if event.total and least + wanted + 2 + _length(figures) > columns:
        wanted = 0
    told = "  ".join(figures)
    what = fit(what, max(columns - wanted - 2 - len(told), 1))
    room = columns - width(what) - 2 - len(told)
    if not wanted:
        return fit(what + " " * max(room + 2, 1) + told, columns)
    size = min(room - 2, _MAX_BAR)
    filled = size * min(event.done, event.total) // event.total
    drawn = full * filled + empty * (size - filled)
    return f"{what}{' ' * (room - size)}{drawn}  {told}"


def _figures(moving: Moving, now: float) -> list[str]:
    event = moving.event
    figures = [_amount(event)] if event.done or event.total else []
    rate, left = moving.rate(now), moving.left(now)
    if rate > 0 and event.unit == meter.BYTES:
        figures.append(f"{size_text(rate)}/s")
    figures.append(seconds_text(now - moving.started) if left is None else f"{seconds_text(left)} left")
    return figures


def _amount(event: Moved) -> str:
    if event.unit != meter.BYTES:
        return f"{event.done} of {event.total}" if event.total else f"{event.done}"
    return f"{size_text(event.done)} of {size_text(event.total)}" if event.total else size_text(event.done)


def _length(figures: list[str]) -> int:
    return len("  ".join(figures))
