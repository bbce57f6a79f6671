"""Meters of work that takes long: whoever moves bytes counts them, and whoever listens hears of it.

Who listens is a matter of the running thread and the call (a context variable): what lies deep below a build need not
be handed a sink. Where nobody listens, a meter does nothing, and streams are not wrapped.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING, Final, NamedTuple, ParamSpec, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sized
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="_Readable")
B = TypeVar("B", bound="Sized")

BYTES: Final = "bytes"
ITEMS: Final = "items"
INTERVAL: Final = 0.1
"""Seconds between two events of one meter, and before the first of one that does not wait for others."""


class Moved(NamedTuple):
    """How far something is that moves bytes or works through items, `total` of them, or 0 where nobody knows.

    `id` is the step that waits for it, 0 where none does. `what` begins with a verb: `pulling debian:12`; with `id` it
    tells one transfer from another. `seconds` is how long it has taken, and `ended` its last event. With `apart` that
    time is not counted as the step's.
    """

    id: int
    what: str
    done: int
    total: int = 0
    unit: str = BYTES
    seconds: float = 0.0
    ended: bool = False
    apart: bool = False


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Listener:
    """Who is told of the meters of one step, and the seconds that were spent on what has a line of its own."""

    __slots__ = ("apart", "clock", "interval", "step", "tell")

    def __init__(self, tell: Callable[[Moved], object], step: int, clock: Callable[[], float], interval: float) -> None:
        self.tell = tell
        self.step = step
        self.clock = clock
        self.interval = interval
        self.apart = 0.0


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)


class Listening:
    """Has `tell` hear of what this thread measures while the context lasts; of step `step`, where there is one.

    Afterwards `apart` are the seconds that went into what is booked by itself.
    """

    def __init__(
        self,
        tell: Callable[[Moved], object],
        step: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        interval: float = INTERVAL,
    ) -> None:
        self._listener = _Listener(tell, step, clock, interval)

    @property
    def apart(self) -> float:
        """Seconds that were booked apart so far."""
        return self._listener.apart

    def __enter__(self) -> Self:
        self._token = _listener.set(self._listener)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _listener.reset(self._token)


class Meter:
    """Counts one piece of work, from several threads; a context manager, which tells of the end if of anything.

    This one does nothing; `start` makes one that does, where somebody listens.
    """

    def add(self, count: int) -> None:
        """Count what was done."""

    def expect(self, count: int) -> None:
        """Count what is yet to be done, or is not to be done after all."""

    def reading(self, stream: S) -> S:
        """Return `stream`, with its bytes counted as they are read."""
        return stream

    def writing(self, write: Callable[[ReadableBuffer], object]) -> Callable[[ReadableBuffer], object]:
        """Return `write`, with what it is given counted."""
        return write

    def counted(self, pieces: Iterable[B]) -> Iterable[B]:
        """Return `pieces`, counted as they go by."""
        return pieces

    def part(self) -> Portion:
        """Return a part of it, which may be begun again without being counted twice."""
        return Portion(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Counting(Meter):
    def __init__(self, listener: _Listener, what: str, total: int, unit: str, *, waits: bool, apart: bool) -> None:
        self._listener = listener
        self._what = what
        self._done = 0
        self._total = total
        self._unit = unit
        self._waits = waits
        self._apart = apart
        self._told = False
        self._lock = Lock()
        self._began = self._next = 0.0

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = self._listener.clock()
            if now >= self._next:
                self._tell(now)

    def expect(self, count: int) -> None:
        with self._lock:
            self._total = max(0, self._total + count)

    def reading(self, stream: S) -> S:
        return cast("S", _Reading(stream, self.add))

    def counted(self, pieces: Iterable[B]) -> Iterator[B]:
        for piece in pieces:
            self.add(len(piece))
            yield piece

    def writing(self, write: Callable[[ReadableBuffer], object]) -> Callable[[ReadableBuffer], object]:
        def counted(data: ReadableBuffer) -> object:
            with memoryview(data) as view:
                size = view.nbytes
            self.add(size)
            return write(data)

        return counted

    def __enter__(self) -> Self:
        self._began = self._listener.clock()
        self._next = self._began + self._listener.interval
        if self._waits:
            with self._lock:
                self._tell(self._began)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = self._listener.clock()
        if self._apart:
            self._listener.apart += now - self._began
        with self._lock:
            if self._told:
                self._tell(now, ended=True)

    def _tell(self, now: float, *, ended: bool = False) -> None:
        self._told = True
        listener = self._listener
        self._next = now + listener.interval
        seconds = max(0.0, now - self._began)
        listener.tell(
            Moved(listener.step, self._what, self._done, self._total, self._unit, seconds, ended, self._apart)
        )


class Portion:
    """A part of a meter's work: bytes up to an offset that was reached before do not count again."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._best = self._expected = 0

    def expect(self, size: int) -> None:
        """Say how large it is, where somebody says so; the last word counts."""
        if size >= 0:
            self._meter.expect(size - self._expected)
            self._expected = size

    def reading(self, stream: S) -> S:
        """Return `stream`, read from its beginning, with what is new of its bytes counted."""
        if type(self._meter) is Meter:
            return stream
        position = 0

        def count(size: int) -> None:
            nonlocal position
            position += size
            if position > self._best:
                self._meter.add(position - self._best)
                self._best = position

        return cast("S", _Reading(stream, count))


class _Reading:
    """A stream whose bytes are counted."""

    def __init__(self, stream: _Readable, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._count(len(data))
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


NOTHING: Final = Meter()
"""A meter that nobody listens to."""


def start(what: str, total: int = 0, unit: str = BYTES, *, waits: bool = False, apart: bool = False) -> Meter:
    """Make the meter of what is about to be done.

    What `waits` for others (a server, a program), which may be silent, is told of as soon as it begins. With `apart`
    its time is its own, not the step's.
    """
    listener = _listener.get()
    return NOTHING if listener is None else _Counting(listener, what, total, unit, waits=waits, apart=apart)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Return `function` for another thread: there too it is heard by whoever listens here."""
    listener = _listener.get()
    if listener is None:
        return function

    def run(*args: P.args, **values: P.kwargs) -> T:
        token = _listener.set(listener)
        try:
            return function(*args, **values)
        finally:
            _listener.reset(token)

    return run
