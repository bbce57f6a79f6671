"""Signs of life of a command that takes long and is not a build: a bar on a terminal, else a line every 10 s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.meter import Moved
from buildah_py.progress.renderer import Ticking
from buildah_py.progress.transfers import Transfers, sentence
from buildah_py.progress.tty import Screen

if TYPE_CHECKING:
    from buildah_py.progress.events import Event
    from buildah_py.progress.transfers import Moving


class Bars(Screen):
    """A bar for each transfer that takes longer than `delay` seconds; gone at its end."""

    delay = 1.0

    def _show(self, event: Event) -> None:
        if isinstance(event, Moved):
            self._transfers.follow(event, self._clock())
            self._tick_from_now_on()
            if not self._slow():
                self._remove_picture()

    def _slow(self) -> list[Moving]:
        now = self._clock()
        return [one for one in self._transfers if now - one.started >= self.delay]

    def _is_worth_a_picture(self) -> bool:
        return bool(self._slow())

    def _drawn(self, columns: int, rows: int) -> list[str]:
        return [self._bar(one, columns - 1) for one in self._slow()[: max(rows - 1, 1)]]

    def step_aside(self) -> None:
        """Remove the bars until the next tick: somebody else writes."""
        with self._lock:
            self._remove_picture()


class SparseLines(Ticking):
    """A line for each transfer every `silence` seconds, one in all where short ones follow each other."""

    silence = 10.0

    def _begin(self) -> None:
        self._transfers = Transfers()
        self._said: float | None = None

    def _show(self, event: Event) -> None:
        if isinstance(event, Moved):
            now = self._clock()
            self._transfers.follow(event, now)
            self._said = now if self._said is None else self._said
            self._tick_from_now_on()

    def _tick(self) -> None:
        now = self._clock()
        due = [moving for moving in self._transfers if now - moving.said >= self.silence]
        if not due and self._said is not None and now - self._said >= self.silence:
            due = list(self._transfers)[-1:]
        for moving in due:
            moving.said = self._said = now
            self._err.write(f"{sentence(moving, now)}\n")
            self._err.flush()
