"""This process's standard streams, lent to a container: bytes are passed on, the files behind them are not."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_PIECE: Final = 64 * 1024
_PASSED_ON: Final = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)
_ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE: Final = 10.0
"""Seconds that a command has for ending by itself; docker has the same."""
_SHOWN_AFTER: Final = 1.0


class Signalled(Protocol):
    """A command that signals can be sent to."""

    def signal(self, number: int) -> None:
        """Send one."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Streams(NamedTuple):
    """The container's ends of pipes; `stdin` is None where there is none."""

    stdin: int | None
    stdout: int
    stderr: int


@contextlib.contextmanager
def lent(*, stdin: bool) -> Iterator[Streams]:
    """Lend 0, 1 and 2 by pipes: whoever has a descriptor can open what is behind it, for writing too.

    To be left when the container has ended: then all that it wrote has been passed on. The container's ends are the
    caller's to close once they have been handed over. Raises OSError where something could not be passed on.
    """
    threads = []
    failures: list[OSError] = []
    read_in: int | None = None
    if stdin:
        read_in, write_in = os.pipe2(os.O_CLOEXEC)
        # It may wait for keys that nobody presses: nobody waits for it.
        threading.Thread(target=_pass_in, args=(write_in, failures), daemon=True).start()
    writing = []
    for number in (1, 2):
        reading, end = os.pipe2(os.O_CLOEXEC)
        writing.append(end)
        threads.append(threading.Thread(target=_pass_out, args=(reading, number, failures)))
        threads[-1].start()
    try:
        yield Streams(read_in, *writing)
    finally:
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def close(streams: Streams) -> None:
    """Close the container's ends."""
    for descriptor in streams:
        if descriptor is not None:
            os.close(descriptor)


def _pass_in(end: int, failures: list[OSError]) -> None:
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(end, 0)  # tells when nobody reads any more
    try:
        while not any(descriptor == end for descriptor, _ in poll.poll()):
            data = os.read(0, _PIECE)
            if not data:
                break
            _write(end, data)
    except BrokenPipeError:  # the command has read what it wanted
        pass
    except OSError as error:
        failures.append(error)
    finally:
        os.close(end)


def _pass_out(reading: int, number: int, failures: list[OSError]) -> None:
    try:
        while data := os.read(reading, _PIECE):
            _write(number, data)
    except OSError as error:
        failures.append(error)
    finally:
        os.close(reading)  # the command is told that nobody listens


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def signals_passed_on(
    container: Signalled, *, patience: float = PATIENCE, tell: Callable[[str], object] = lambda _: None
) -> Iterator[None]:
    """Have a container's command get the signals that this process gets.

    Asked to end again, or not there yet after `patience` seconds, it is ended by force; `tell` hears of that, and of
    the wait if it is one.
    """
    timers: list[threading.Timer] = []

    def force(why: str) -> None:
        tell(f"{why}: it is ended by force")
        container.kill()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number in _ENDINGS and timers:
            force("the command was asked to end twice")
            return
        container.signal(number)
        if number in _ENDINGS:
            name = signal.Signals(number).name
            waiting = f"the command got {name}; once more, or {patience:g} seconds, and it is ended by force"
            timers.append(threading.Timer(_SHOWN_AFTER, tell, (waiting,)))
            timers.append(threading.Timer(patience, force, (f"the command has not ended {patience:g} s after {name}",)))
            for timer in timers:
                timer.daemon = True
                timer.start()

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON if _is_ours(number)}
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_ours(number: int) -> bool:
    """Whether a signal would reach us: one that is ignored, as under nohup(1), is so by the command as well."""
    return signal.getsignal(number) not in {signal.SIG_IGN, None}
