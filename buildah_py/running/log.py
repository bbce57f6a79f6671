"""What a container has printed: pieces as they came, each with its time and its stream, in a file of bounded size.

A piece is a head (stream, nanoseconds since 1970, length) and its bytes. A file that is full is put aside as `.1`, in
place of the one before: so the newest output stays.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.sandbox import Container

HEAD: Final = struct.Struct("=BQI")
MOST: Final = 64 << 20
"""Bytes of one of the two files."""
_PIECE: Final = 1 << 16


class LogPiece(NamedTuple):
    """Bytes that were printed to 1 or 2 at a moment (ns since 1970)."""

    stream: int
    moment: int
    data: bytes


class LogWriter:
    """The log at `path`, written to by several threads."""

    def __init__(self, path: str, most: int = MOST) -> None:
        self._path = path
        self._most = most
        self._lock = threading.Lock()
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._size = 0

    def write(self, stream: int, data: bytes) -> None:
        """Add a piece. Raises OSError."""
        piece = HEAD.pack(stream, time.time_ns(), len(data)) + data
        with self._lock:
            if self._size + len(piece) > self._most and self._size:
                os.replace(self._path, f"{self._path}.1")
                self._file.close()
                self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115
                self._size = 0
            self._file.write(piece)
            self._size += len(piece)

    def close(self) -> None:
        """Write no more."""
        self._file.close()


class Logged:
    """The streams of a container in the background: what it prints comes into the log at `path`.

    With `stdin` it has something to read, on which nothing ever comes. Context manager, to be left when the container
    has ended. Where the disk is full what it prints is lost, and `problem` says so: it is not held up.
    """

    def __init__(self, path: str, *, terminal: bool, stdin: bool) -> None:
        self.problem = ""
        self._log = LogWriter(path)
        self._terminal = terminal
        self._threads: list[threading.Thread] = []
        self._lent: dict[str, int] = {}
        self._held = -1
        if terminal:
            return
        if stdin:
            self._lent["stdin"], self._held = os.pipe2(os.O_CLOEXEC)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            reading, self._lent[name] = os.pipe2(os.O_CLOEXEC)
            self._copy(stream, reading)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._close_lent()
        for thread in self._threads:
            thread.join()
        if self._held != -1:
            os.close(self._held)
        self._log.close()

    def lend(self) -> dict[str, int | None]:
        """Give the container's ends, by the names that a sandbox has for them."""
        return {"stdin": None, "stdout": 1, "stderr": 2, **self._lent}

    def begin(self, container: Container) -> None:
        """Let go of the container's ends: it has them. Of one with a terminal, what comes there is what it prints."""
        self._close_lent()
        if self._terminal:
            self._copy(1, container.open_terminal())

    def _close_lent(self) -> None:
        while self._lent:
            os.close(self._lent.popitem()[1])

    def _copy(self, stream: int, reading: int) -> None:
        self._threads.append(threading.Thread(target=self._copied, args=(stream, reading)))
        self._threads[-1].start()

    def _copied(self, stream: int, reading: int) -> None:
        try:
            while data := _read_some(reading):
                try:
                    self._log.write(stream, data)
                except OSError as error:
                    self.problem = f"the log cannot be written: {error.strerror}"
        finally:
            os.close(reading)


def _read_some(descriptor: int) -> bytes:
    """Read what is there; nothing at the end, which a terminal without users tells by EIO (pty(7))."""
    try:
        return os.read(descriptor, _PIECE)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def pieces(path: str, more: Callable[[], bool] = lambda: False) -> Iterator[LogPiece]:
    """Give the pieces of a log, oldest first. At the end `more` may wait, and says whether to look again."""
    for one in (f"{path}.1", path):
        try:
            file = open(one, "rb")  # noqa: SIM115 (closed by _read)
        except FileNotFoundError:
            continue
        yield from _read(file, path, more if one == path else lambda: False)


def _read(file: BinaryIO, path: str, more: Callable[[], bool]) -> Iterator[LogPiece]:
    while True:
        with file:
            yield from _complete(file)
            while more():
                yield from _complete(file)
                if _was_put_aside(file, path):
                    yield from _complete(file)
                    break
            else:
                yield from _complete(file)
                return
        file = open(path, "rb")  # noqa: SIM115 (closed above)


def _complete(file: BinaryIO) -> Iterator[LogPiece]:
    """Give the pieces that are whole; one that is being written is left for later."""
    while True:
        place = file.tell()
        head = file.read(HEAD.size)
        if len(head) == HEAD.size:
            stream, moment, length = HEAD.unpack(head)
            data = file.read(length)
            if len(data) == length:
                yield LogPiece(stream, moment, data)
                continue
        file.seek(place)
        return


def _was_put_aside(file: BinaryIO, path: str) -> bool:
    ours = os.fstat(file.fileno())
    try:
        now = os.stat(path)
    except FileNotFoundError:  # just now, or the container has been removed
        return False
    return (ours.st_dev, ours.st_ino) != (now.st_dev, now.st_ino)
