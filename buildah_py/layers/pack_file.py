"""The file that a layer is packed into: own bytes and runs of another layer's tar, hashed and written by a thread."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.errors import StoreError
from buildah_py.layers import TAR
from buildah_py.layers.create import write_all
from buildah_py.layers.files import start_write_back
from buildah_py.layers.packed import Segment, trailer
from buildah_py.layers.stream import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.packed import Delta

_PIECES_UNDER_WAY: Final = 4
_MOST_SEGMENTS: Final = 1 << 15
_LARGEST_SHARE: Final = 0.5  # of a patch's own bytes in its tar: one that has more had better be a tar itself
_WRITE_BACK: Final = 1 << 25  # bytes after which the disk is set to work
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Reading:
    """Reads a file on a thread of its own, and knows its digest at the end; context manager."""

    def __init__(self, path: str) -> None:
        from threading import Thread

        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreError(f"a stored layer cannot be read: {path}: {error.strerror}") from error
        self._hash = hashlib.sha256()
        self._failed: OSError | None = None
        self._stopped = False
        self._thread = Thread(target=self._work, name="check", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def digest(self) -> str:
        """Return the `sha256:<hex>` of the file. Raises StoreError where it cannot be read."""
        self._thread.join()
        if self._failed is not None:
            raise StoreError(f"a stored layer cannot be read: {self._failed.strerror}") from self._failed
        return "sha256:" + self._hash.hexdigest()

    def _work(self) -> None:
        try:
            for data in _read(self._descriptor, 0, os.fstat(self._descriptor).st_size):
                self._hash.update(data)
                if self._stopped:
                    return
        except OSError as error:
            self._failed = error


class PatchBase(NamedTuple):
    """A layer that is kept as the whole tar in the file `path`, its entries in order, and the reading of that file."""

    diff_id: str
    path: str
    entries: Iterator[Entry]
    reading: Reading


class PackFile:
    """The file `path`, a whole tar or a patch of `base`: takes own bytes and runs of the base's tar in their order.

    A thread, which starts with the first of them, hashes and writes them.
    """

    def __init__(self, path: str, base: PatchBase | None) -> None:
        from _queue import SimpleQueue
        from threading import Semaphore, Thread

        self.path = path
        self._base = base
        self._hash = hashlib.sha256()
        self._out = os.open(path, _CREATE, 0o600)
        self._in = os.open(base.path, os.O_RDONLY | os.O_CLOEXEC) if base is not None else -1
        self._written = self._settled = 0
        self._segments: list[Segment] = []
        self._failed: BaseException | None = None
        self._queue: SimpleQueue[bytes | tuple[int, int] | None] = SimpleQueue()
        self._slots = Semaphore(_PIECES_UNDER_WAY)
        self._thread = Thread(target=self._work, name="pack", daemon=True)
        self._started = False

    def put(self, item: bytes | tuple[int, int]) -> None:
        """Pass on own bytes, or a run of the base's tar (start, end)."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._slots.acquire()
        self._queue.put(item)
        if self._failed is not None:
            raise self._failed

    def finish(self, size: int, delta: Delta | None) -> tuple[str, str]:
        """Return the digest of the `size` bytes that went through, and the file that they are in."""
        self._end()
        if self._failed is not None:
            raise self._failed
        if self._base is not None:
            if self._base.reading.digest() != self._base.diff_id:
                raise StoreError(f"the tar of the layer {self._base.diff_id} has changed since it was written")
            if self._written > size * _LARGEST_SHARE or len(self._segments) > _MOST_SEGMENTS:
                self._write_out()
            else:
                write_all(self._out, trailer(self._base.diff_id, self._segments, delta), self._written)
        return "sha256:" + self._hash.hexdigest(), self.path

    def close(self) -> None:
        """End the threads and close the files."""
        self._end()
        for descriptor in (self._out, self._in):
            if descriptor >= 0:
                os.close(descriptor)
        self._out = self._in = -1

    def _end(self) -> None:
        if self._started:
            self._started = False
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._failed is None:
                try:
                    if isinstance(item, tuple):
                        self._take_run(*item)
                    else:
                        self._take_bytes(item)
                except BaseException as error:  # noqa: BLE001 - raised again in the thread that hands the bytes over
                    self._failed = error
            self._slots.release()

    def _take_bytes(self, data: bytes) -> None:
        self._hash.update(data)
        write_all(self._out, data, self._written)
        last = self._segments[-1] if self._segments else None
        if last is not None and not last.from_base:
            self._segments[-1] = last._replace(length=last.length + len(data))
        else:
            self._segments.append(Segment(from_base=False, offset=self._written, length=len(data)))
        self._written += len(data)
        if self._written - self._settled >= _WRITE_BACK:
            start_write_back(self._out, self._settled, self._written - self._settled)
            self._settled = self._written

    def _take_run(self, start: int, end: int) -> None:
        last = self._segments[-1] if self._segments else None
        if last is not None and last.from_base and last.offset + last.length == start:
            self._segments[-1] = last._replace(length=end - last.offset)
        else:
            self._segments.append(Segment(from_base=True, offset=start, length=end - start))
        for data in _read(self._in, start, end):
            self._hash.update(data)

    def _write_out(self) -> None:
        """Write the whole tar after all: the patch has little of the base's."""
        path = os.path.join(os.path.dirname(self.path), TAR)
        whole = os.open(path, _CREATE, 0o600)
        at = 0
        for from_base, offset, length in self._segments:
            for data in _read(self._in if from_base else self._out, offset, offset + length):
                write_all(whole, data, at)
                at += len(data)
        os.close(self._out)
        self._out = whole
        os.unlink(self.path)
        self.path = path


def _read(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        data = os.pread(descriptor, min(PIECE, end - start), start)
        if not data:
            return
        start += len(data)
        yield data
