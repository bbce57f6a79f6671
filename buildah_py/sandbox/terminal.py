"""This process's terminal, lent to a container: raw keys in, whatever it prints out, and its size."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import termios
import tty
from typing import TYPE_CHECKING, Protocol

from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 64 * 1024


class WithTerminal(Protocol):
    """A command that was started with a terminal."""

    def open_terminal(self) -> int:
        """Wait for its terminal, and give the master."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        ...


def check_terminal(stdin: int = 0) -> None:
    """Raise UsageError where standard input is not a terminal."""
    if not os.isatty(stdin):
        raise UsageError("--tty: standard input is not a terminal", hint="leave --tty away to read a pipe or a file")


def attach(container: WithTerminal, *, stdin: int = 0, stdout: int = 1) -> None:
    """Pass bytes between our terminal and that of a container, until the container's is closed.

    Keys go through as they are, ^C too: it is the container's terminal that turns it into a signal.
    """
    master = container.open_terminal()
    with _raw(stdin), _sized(container, stdin):
        waiting = [master, stdin]
        while True:
            for ready in select.select(waiting, [], [])[0]:
                data = _read(ready)
                if ready == master:
                    if not data:
                        return
                    _write(stdout, data)
                elif data:
                    _write(master, data)
                else:
                    waiting.remove(stdin)


@contextlib.contextmanager
def _raw(stdin: int) -> Iterator[None]:
    before = termios.tcgetattr(stdin)
    tty.setraw(stdin)
    try:
        yield
    finally:
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _sized(container: WithTerminal, stdin: int) -> Iterator[None]:
    def resize(_number: int = 0, _frame: object = None) -> None:
        columns, rows = os.get_terminal_size(stdin)
        container.resize(rows, columns)

    resize()
    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def _read(descriptor: int) -> bytes:
    """Read what is there; nothing at the end, which a terminal without users tells by EIO (pty(7))."""
    try:
        return os.read(descriptor, _PIECE)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
