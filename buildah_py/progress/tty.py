"""Progress on a terminal: what is done scrolls by, what is running stands below and moves."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from buildah_py import meter
from buildah_py.progress import events
from buildah_py.progress.plain import WORDS, Reasons, shared, summary, usage, why
from buildah_py.progress.renderer import Ticking
from buildah_py.progress.text import Lines, clean, fit, label, last_words, seconds_text, width, wrapped
from buildah_py.progress.transfers import Transfers, bar, result

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from buildah_py.progress.events import Event, StepDone
    from buildah_py.progress.transfers import Moving

TICK = 0.1
"""Seconds between two pictures. Nothing is drawn, and tqdm not imported, before a build has taken that long."""

SHOWN_LINES = 6
"""Lines of output below a running step, where the window has room for them."""

KEPT_LINES = 50
"""Lines of output that are shown again at the end when their step failed."""

CANCELLED_LINES = 10
"""Lines of output that stay of a step that was cancelled."""

_SHOWN_TRANSFERS = 3
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
        self.last.extend(clean(line, colour=False) for line in self.lines[stream].feed(data, KEPT_LINES))

    def flush(self) -> None:
        for lines in self.lines.values():
            self.last.extend(clean(line, colour=False) for line in lines.flush())


class Screen(Ticking):
    """Base of renderers on a terminal: a picture at its lower end, and lines above it that stay.

    The terminal's modes are never changed and the cursor is never hidden, so that even a killed build leaves a usable
    terminal. A window that changes its size gets a fresh picture, and so does one that was given back by `fg`. No line
    is longer than the window. `size` tells how many columns and rows that has.
    """

    period = TICK

    def __init__(
        self,
        err: TextIO,
        out: TextIO,
        *,
        colour: bool = True,
        clock: Callable[[], float] = time.monotonic,
        size: Callable[[], tuple[int, int]] | None = None,
        ticks: bool = True,
    ) -> None:
        self._colour = colour
        self._unicode = (err.encoding or "").lower().replace("-", "").startswith("utf")
        self._full, self._empty = ("\u2588", "\u2591") if self._unicode else ("#", ".")
        self._picture: Picture | None = None
        self._size = size or self._window
        self._transfers = Transfers()
        self._handlers: dict[int, Any] = {}
        super().__init__(err, out, clock=clock, ticks=ticks)

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            ours = {signal.SIGCONT: self._forget, signal.SIGTSTP: self._make_way}
            for number, handler in ours.items():
                if signal.getsignal(number) == signal.SIG_DFL:
                    self._handlers[number] = signal.signal(number, handler)
        return self

    def _window(self) -> tuple[int, int]:
        columns, rows = os.get_terminal_size(self._err.fileno())
        return columns or 80, rows or 24

    def _forget(self, *_: object) -> None:
        """Take note that others may have written where the picture stands."""
        picture = self._picture
        if picture is not None:
            picture.is_torn = True

    def _make_way(self, *_: object) -> None:
        """Remove the picture before ^Z stops the process: the shell writes where it stands."""
        with self._lock:
            self._remove_picture()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)  # here it stops, and goes on
            signal.signal(signal.SIGTSTP, self._make_way)

    def close(self) -> None:
        """Leave the terminal as it was found, and wait for the ticking to end."""
        super().close()
        if threading.current_thread() is threading.main_thread():
            while self._handlers:
                signal.signal(*self._handlers.popitem())

    def _tick(self) -> None:
        if self._picture is None:
            if not self._is_worth_a_picture():
                return
            self._picture = Picture(self._err, self._size)
        columns, rows = self._size()
        self._picture.draw(self._drawn(columns, rows))

    def _is_worth_a_picture(self) -> bool:
        raise NotImplementedError

    def _drawn(self, columns: int, rows: int) -> list[str]:
        """Return the lines of the picture."""
        raise NotImplementedError

    def _remove_picture(self) -> None:
        if self._picture is not None:
            self._picture.close()
            self._picture = None

    def _finish(self) -> None:
        self._stop_ticking()
        self._remove_picture()

    def _above(self, *lines: str) -> None:
        """Write lines that stay."""
        text = "".join(f"{line}\n" for line in lines)
        if self._picture is None:
            self._write(text)
        else:
            self._picture.above(text)

    def _write(self, text: str) -> None:
        self._err.write(text)
        self._err.flush()

    def _painted(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and text else text

    def _told(self, text: str, colour: str = "") -> None:
        """Write a sentence that stays, in as many lines as it takes."""
        columns = max(self._size()[0] - 1, 1)
        lines = [line for part in clean(text, colour=False).split("\n") for line in wrapped(part, columns, "  ")]
        self._above(*(self._painted(colour, line) if colour else line for line in lines))

    def _bar(self, moving: Moving, columns: int) -> str:
        return bar(moving, self._clock(), columns, full=self._full, empty=self._empty)


class Tty(Screen):
    """A line for each step that ended, and below them a picture of the running ones, repainted ten times a second."""

    def _begin(self) -> None:
        self._total = self._done = 0
        self._started = self._clock()
        self._running: dict[int, _Running] = {}
        self._failed: list[_Running] = []
        self._reasons = Reasons()

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
            case meter.Moved():
                self._transfer(event)
            case events.Note():
                self._told(event.text)
            case events.CacheRead() | events.CacheSent():
                self._told(shared(event))
            case events.Warning():
                self._told(f"warning: {event.text}", _YELLOW)
            case events.BuildDone():
                self._finish()
                self._told(summary(event._replace(image=event.image[: len("sha256:") + 12])), _GREEN)
            case events.BuildFailed():
                self._finish()
            case events.Error():
                pass

    def _transfer(self, event: meter.Moved) -> None:
        self._tick_from_now_on()
        self._transfers.follow(event, self._clock())
        if event.ended and event.apart and event.id in self._running:
            self._running[event.id].started += event.seconds
        if event.ended and event.seconds >= 1:
            columns = self._size()[0] - 1
            room = max(columns - _RIGHT - 2, 1)
            text = fit(f"{clean(event.what, colour=False)}  {result(event)}".rstrip(), room)
            self._above(self._painted(_DIM, f"  {_between(text, _right('', event.seconds), columns - 2)}"))

    def _step_done(self, event: StepDone) -> None:
        self._done += 1
        self._transfers.end(event.id)
        step = self._running.pop(event.id, None)
        if step is None:
            return
        step.flush()
        if event.outcome == events.FAILED:
            self._failed.append(step)
        columns = max(self._size()[0] - 1, 1)
        lines = self._ended(step.label, self._reasons.told_once(event), columns)
        if event.outcome == events.CANCELLED:
            lines += (self._painted(_DIM, f"  {fit(line, columns - 2)}") for line in list(step.last)[-CANCELLED_LINES:])
        self._above(*lines)

    def _ended(self, title: str, event: StepDone, columns: int) -> list[str]:
        """Return the line of a step that is over, and a second one for a reason that finds no room there."""
        if self._unicode:
            mark = {events.CANCELLED: "\u2013", events.FAILED: "\u2717"}.get(event.outcome, "\u2713")
        else:
            mark = {events.CANCELLED: "-", events.FAILED: "x"}.get(event.outcome, "*")
        colour = {events.CANCELLED: _DIM, events.FAILED: _RED}.get(event.outcome, _GREEN)
        timed = event.outcome in (events.RAN, events.FAILED)
        right = _right(WORDS[event.outcome], event.seconds if timed else None)
        room = columns - len(mark) - 1 - len(right.rstrip()) - 2
        whole = ", ".join(filter(None, [why(event), usage(event).strip(" ()")]))
        for reason in (whole, why(event)):
            text = f"{title}  ({reason})" if reason else title
            if width(text.expandtabs(8)) <= room:
                return [self._painted(colour, mark) + " " + self._row(title, reason, right, columns - 2)]
        first = self._row(fit(title, max(room, 1)), "", right, columns - 2)
        second = [self._painted(_DIM, f"  {fit(whole, max(columns - 2, 1))}")] if why(event) else []
        return [self._painted(colour, mark) + " " + first, *second]

    def _row(self, title: str, reason: str, right: str, columns: int) -> str:
        title = title.expandtabs(8)
        blanks = " " * max(columns - width(title) - (width(reason) + 4 if reason else 0) - len(right), 2)
        told = f"  {self._painted(_DIM, f'({reason})')}" if reason else ""
        return title + told + blanks + self._painted(_DIM, right.rstrip())

    def _finish(self) -> None:
        """Remove the picture, end the ticking, and show again what the failed steps said last."""
        super()._finish()
        failed, self._failed = self._failed, []
        for step in failed:
            place, *lines = last_words(step.label, list(step.last)) or [""]
            if lines:
                self._write("".join(f"{line}\n" for line in ["", self._painted(_RED, place), *lines, ""]))

    def _is_worth_a_picture(self) -> bool:
        return bool(self._running or self._transfers)

    def _drawn(self, columns: int, rows: int) -> list[str]:
        return [self._head(columns), *self._lines(columns, rows)]

    def _head(self, columns: int) -> str:
        done = min(self._done, self._total)
        size = max(min(columns - 40, 30), 5)
        filled = size * done // self._total if self._total else 0
        blocks = self._full * filled + self._empty * (size - filled)
        right = _clock_text(self._clock() - self._started)
        text = f"building {blocks} {done}/{self._total} steps" if self._total else "preparing"
        return _between(fit(text, columns - len(right) - 2), right, columns - 1)

    def _lines(self, columns: int, rows: int) -> list[str]:
        """Return the running steps, the oldest first, each with its transfers and its last output.

        There are no more lines than the window has.
        """
        room = max(rows - 2, 0)
        alone = self._transfers.of(0)[:room]
        steps = list(self._running.values())[: room - len(alone)]
        moving = {step.number: self._transfers.of(step.number)[:_SHOWN_TRANSFERS] for step in steps}
        spare = room - len(alone) - len(steps)
        lines = []
        for place, step in enumerate(steps):
            shown = moving[step.number][: max(spare, 0)]
            spare -= len(shown)
            rest = sum(len(moving[other.number]) for other in steps[place + 1 :])
            each = max(min((spare - rest) // (len(steps) - place), SHOWN_LINES), 0)
            said = list(step.last)[-each:] if each else []
            spare -= len(said)
            right = _clock_text(self._clock() - step.started)
            title = fit(step.label, max(columns - len(right) - 5, 1))
            lines.append(f"> {_between(title, right, columns - 3)}")
            lines += (f"  {self._bar(one, columns - 3)}" for one in shown)
            lines += (self._painted(_DIM, "  " + fit(line, max(columns - 3, 1))) for line in said)
        return lines + [f"> {self._bar(one, columns - 3)}" for one in alone]


_RIGHT = 7


def _right(word: str, seconds: float | None) -> str:
    """Return a word and a time that stand at the right edge, below others of the same width."""
    return word + ("" if seconds is None else _clock_text(seconds)).rjust(_RIGHT)


def _clock_text(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else seconds_text(seconds)


def _between(left: str, right: str, columns: int) -> str:
    """Return both at their edges."""
    return left + " " * max(columns - width(left) - len(right), 1) + right


class Picture:
    """Some lines at the lower end of the terminal, painted over by the next ones. Each is a tqdm bar of its own.

    tqdm leaves the cursor on the first line, so erasing from there downwards removes the picture, even where a window
    that became narrower has broken its lines. Each change reaches the terminal as one write, so that it never stands
    half painted.
    """

    def __init__(self, err: TextIO, size: Callable[[], tuple[int, int]]) -> None:
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
        self._window = size
        self._size = size()
        self.is_torn = False

    def draw(self, lines: list[str]) -> None:
        """Paint these lines instead of the last ones."""
        size = self._window()
        if size != self._size or self.is_torn:
            self._size, self.is_torn = size, False
            self._erase()  # and forget the old lines: tqdm would pad the new ones to their length
        for position, text in enumerate(lines):
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
            line = self._bars[position]
            line.set_description_str(text, refresh=False)
            line.refresh()
        for line in self._bars[len(lines) :][::-1]:
            line.close()
        del self._bars[len(lines) :]
        self._show()

    def above(self, text: str) -> None:
        """Write lines that stay."""
        self._paint.write(f"{_ERASE}{text}")
        for line in self._bars:
            line.refresh()
        self._show()

    def close(self) -> None:
        """Remove the picture."""
        self._erase()
        self._show()

    def _erase(self) -> None:
        for line in self._bars:
            line.disable = True  # else its finaliser would paint once more
        self._bars.clear()
        self._paint.write(_ERASE)

    def _show(self) -> None:
        self._err.write(self._paint.getvalue())
        self._err.flush()
        self._paint.seek(0)
        self._paint.truncate()
