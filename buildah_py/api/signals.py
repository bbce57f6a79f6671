"""The signals that end the program: all do what ^C does, and none of them breaks an import."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import FrameType

_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SOON: Final = 0.002


class Ended(KeyboardInterrupt):
    """Exception that ^C raises, with the signal that was sent."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def treat_all_endings_alike() -> None:
    """Have SIGTERM and SIGHUP end the program as ^C does: what runs is ended, what was made is removed."""
    for number in _ENDINGS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


@contextlib.contextmanager
def endings_to_read() -> Iterator[socket.socket]:
    """Have the signals that end the program raise nothing, and be a byte that can be read from what this gives.

    For who has locks and threads: an exception may come between any two of their instructions. Signals that are
    ignored stay so.
    """
    import socket

    reading, writing = socket.socketpair()
    writing.setblocking(False)

    def note(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):  # there is plenty to read already
            writing.send(b"\0")

    before = {number: signal.getsignal(number) for number in _ENDINGS}
    taken = [number for number, handler in before.items() if handler is _interrupt]
    with reading, writing:
        try:
            for number in taken:
                signal.signal(number, note)
            yield reading
        finally:
            for number in taken:
                signal.signal(number, before[number])


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise Ended, but not out of an import: that may leave a lock behind that others then wait for."""
    if _is_importing(frame):
        signal.signal(signal.SIGALRM, lambda _, later: _interrupt(number, later))
        signal.setitimer(signal.ITIMER_REAL, _SOON)
        return
    raise Ended(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False
