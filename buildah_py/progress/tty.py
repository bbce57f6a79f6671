"""Progress on a terminal: what is done scrolls by, what is running stands below and moves."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from buildah_py.progress import events
from buildah_py.progress.plain import outcome, shared, summary
from buildah_py.progress.renderer import Renderer
from buildah_py.progress.text import Lines, clean, fit, label, last_words

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from buildah_py.progress.events import Event, StepDone

TICK = 0.1
"""Seconds between two pictures. Nothing is drawn, and tqdm not imported, before a build has taken that long."""

SHOWN_LINES = 6
"""Lines of output below a running step, where the window has room for them."""

KEPT_LINES = 50
"""Lines of output that are shown again at the end when their step failed."""

_GREEN, _RED, _YELLOW, _DIM, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_ERASE = "\r\x1b[J"


class _Running:
    """A step that is being executed."""

    __slots__ = ("label", "last", "lines", "number", "started")

    def __init__(self, number: int, text: str, started: float) -> None:
        from collections import deque

        self.number = number
        self.label = text
        self.started = started
        self.lines = {events.STDOUT: Lines(), events.STDERR: Lines()}
        self.last: deque[str] = deque(maxlen=KEPT_LINES)

    def feed(self, stream: int, data: bytes) -> None:
        self.last.extend(clean(line, colour=False) for line in self.lines[stream].feed(data))

    def flush(self) -> None:
        for lines in self.lines.values():
            self.last.extend(clean(line, colour=False) for line in lines.flush())


class Tty(Renderer):
    """A line for each step that ended, and below them a picture of the running ones, repainted ten times a second.

    The terminal's modes are never changed and the cursor is never hidden, so that even a killed build leaves a usable
    terminal. A window that changes its size gets a fresh picture.
    """

    def __init__(
        self, err: TextIO, out: TextIO, *, colour: bool = True, clock: Callable[[], float] | None = None
    ) -> None:
        if clock is None:
            super().__init__(err, out)
        else:
            super().__init__(err, out, clock=clock)
        self._colour = colour
        self._unicode = (err.encoding or "").lower().replace("-", "").startswith("utf")
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._picture: _Picture | None = None

    def _begin(self) -> None:
        self._total = self._done = 0
        self._started = self._clock()
        self._running: dict[int, _Running] = {}
        self._failed: list[_Running] = []

    def _show(self, event: Event) -> None:
        match event:
            case events.BuildStarted():
                self._begin()
                self._total = event.total
            case events.StepStarted():
                self._running[event.id] = _Running(event.id, label(event), self._clock())
                self._tick_from_now_on()
            case events.StepOutput():
                if event.id in self._running:
                    self._running[event.id].feed(event.stream, event.data)
            case events.StepDone():
                self._step_done(event)
            case events.Note():
                self._above(clean(event.text, colour=False))
            case events.CacheRead() | events.CacheSent():
                self._above(clean(shared(event), colour=False))
            case events.Warning():
                self._above(self._painted(_YELLOW, f"warning: {clean(event.text, colour=False)}"))
            case events.BuildDone():
                self._finish()
                self._write(self._painted(_GREEN, summary(event)) + "\n")
            case events.BuildFailed():
                self._finish()

    def _step_done(self, event: StepDone) -> None:
        self._done += 1
        step = self._running.pop(event.id, None)
        if step is None:
            return
        step.flush()
        good = event.outcome in (events.HIT, events.RAN)
        if self._unicode:
            mark = {events.CANCELLED: "\u2013", events.FAILED: "\u2717"}.get(event.outcome, "\u2713")
        else:
            mark = {events.CANCELLED: "-", events.FAILED: "x"}.get(event.outcome, "*")
        if event.outcome == events.FAILED:
            self._failed.append(step)
        colour = _GREEN if good else _RED if event.outcome == events.FAILED else _DIM
        self._above(f"{self._painted(colour, mark)} {step.label}  {self._painted(_DIM, outcome(event))}")

    def _finish(self) -> None:
        """Remove the picture, end the ticking, and show again what the failed steps said last."""
        self._stop.set()
        if self._picture is not None:
            self._picture.close()
            self._picture = None
        failed, self._failed = self._failed, []
        for step in failed:
            place, *lines = last_words(step.label, list(step.last)) or [""]
            if lines:
                self._write("".join(f"{line}\n" for line in ["", self._painted(_RED, place), *lines, ""]))

    def close(self) -> None:
        """Leave the terminal as it was found, and wait for the ticking to end."""
        super().close()
        ticker = self._ticker
        if ticker is not None and ticker is not threading.current_thread():
            ticker.join()

    def _above(self, text: str) -> None:
        if self._picture is None:
            self._write(text + "\n")
        else:
            self._picture.above(text)

    def _write(self, text: str) -> None:
        self._err.write(text)
        self._err.flush()

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour else text

    def _tick_from_now_on(self) -> None:
        if self._ticker is None and not self._stop.is_set():
            self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
            self._ticker.start()

    def _tick(self) -> None:
        while not self._stop.wait(TICK):
            with self._lock:
                if self._stop.is_set() or self._broken:
                    return
                try:
                    self._draw()
                except OSError:
                    # Nobody could hear of it here: the next event meets the same error and raises it.
                    return

    def _draw(self) -> None:
        if self._picture is None:
            if not self._running:
                return
            self._picture = _Picture(self._err)
        columns, rows = self._picture.size()
        self._picture.draw(self._head(columns), self._lines(columns, rows))

    def _head(self, columns: int) -> str:
        done = min(self._done, self._total)
        size = max(min(columns - 40, 30), 5)
        filled = size * done // self._total if self._total else 0
        full, empty = ("\u2588", "\u2591") if self._unicode else ("#", ".")
        seconds = self._clock() - self._started
        text = f"building {full * filled}{empty * (size - filled)} {done}/{self._total} steps {seconds:.1f}s"
        return fit(text, columns - 1)

    def _lines(self, columns: int, rows: int) -> list[str]:
        """Return the running steps, the oldest first, each with its last output: no more lines than the window has."""
        room = max(rows - 2, 0)
        steps = list(self._running.values())[:room]
        each = min((room - len(steps)) // len(steps), SHOWN_LINES) if steps else 0
        lines = []
        for step in steps:
            seconds = f"{self._clock() - step.started:.1f}s"
            lines.append(f"> {fit(step.label, max(columns - len(seconds) - 5, 1))}  {seconds}")
            lines += (
                self._painted(_DIM, "  " + fit(line, max(columns - 3, 1))) for line in list(step.last)[-each:] if each
            )
        return lines


class _Picture:
    """Some lines at the lower end of the terminal, painted over by the next ones. Each is a tqdm bar of its own.

    tqdm leaves the cursor on the first line, so erasing from there downwards removes the picture, even where a window
    that became narrower has broken its lines. Each change reaches the terminal as one write, so that it never stands
    half painted.
    """

    def __init__(self, err: TextIO) -> None:
        from io import StringIO

        from tqdm.std import tqdm

        class Line(tqdm):  # type: ignore[type-arg]
            """A bar with a lock of its own and without tqdm's watching thread."""

            monitor_interval = 0
            _lock = threading.RLock()

        self._class: Any = Line
        self._err = err
        self._paint = StringIO()
        self._bars: list[Any] = []
        self._size = self.size()

    def size(self) -> tuple[int, int]:
        """Columns and rows of the window."""
        columns, rows = os.get_terminal_size(self._err.fileno())
        return columns or 80, rows or 24

    def draw(self, head: str, lines: list[str]) -> None:
        size = self.size()
        if size != self._size:
            self._size = size
            self._erase()  # and forget the old lines: tqdm would pad the new ones to their length
        for position, text in enumerate((head, *lines)):
            if position == len(self._bars):
                self._bars.append(
                    self._class(
                        file=self._paint,
                        position=position,
                        leave=False,
                        bar_format="{desc}",
                        nrows=10_000,
                        mininterval=0,
                    )
                )
            bar = self._bars[position]
            bar.set_description_str(text, refresh=False)
            bar.refresh()
        for bar in self._bars[1 + len(lines) :][::-1]:
            bar.close()
        del self._bars[1 + len(lines) :]
        self._show()

    def above(self, text: str) -> None:
        """Write a line that stays."""
        self._paint.write(f"{_ERASE}{text}\n")
        for bar in self._bars:
            bar.refresh()
        self._show()

    def close(self) -> None:
        """Remove the picture."""
        self._erase()
        self._show()

    def _erase(self) -> None:
        for bar in self._bars:
            bar.disable = True  # else its finaliser would paint once more
        self._bars.clear()
        self._paint.write(_ERASE)

    def _show(self) -> None:
        self._err.write(self._paint.getvalue())
        self._err.flush()
        self._paint.seek(0)
        self._paint.truncate()
