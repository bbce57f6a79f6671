"""Where the bytes of a tar go: gathered into large pieces, hashed on another core, handed on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread
    from types import TracebackType
    from typing import Self

    from _typeshed import ReadableBuffer

PIECE: Final = 1 << 20
_PIECES_UNDER_WAY: Final = 4
ZEROS: Final = memoryview(bytes(PIECE))


class BackgroundHash:
    """sha256 whose work is done by a thread of its own as soon as there is enough of it.

    hashlib gives up the interpreter's lock while it hashes, so that the caller reads and hashes files meanwhile. What
    is passed to `update` must not change afterwards. Leaving the context ends the thread.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._fed = 0
        self._thread: Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, data: ReadableBuffer) -> None:
        """Add bytes; waits while four pieces have not been hashed yet, so that memory stays flat."""
        if self._thread is None:
            self._fed += memoryview(data).nbytes
            if self._fed < 2 * PIECE:
                self._hash.update(data)
                return
            self._start()
        self._slots.acquire()
        self._queue.put(data)

    def hexdigest(self) -> str:
        """Return the digest of everything so far; nothing can be added afterwards."""
        self.close()
        return self._hash.hexdigest()

    def _start(self) -> None:
        from _queue import SimpleQueue
        from threading import Semaphore, Thread

        self._queue: SimpleQueue[ReadableBuffer | None] = SimpleQueue()
        self._slots = Semaphore(_PIECES_UNDER_WAY)
        self._thread = Thread(target=self._work, name="sha256", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        take, free, update = self._queue.get, self._slots.release, self._hash.update
        while (data := take()) is not None:
            update(data)
            free()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
            self._fed = 0


class ReadAhead:
    """Reads a stream on a thread of its own, a few pieces ahead: decompression then costs its reader no time.

    The thread starts when the stream turns out to be longer than two pieces. Its exceptions are raised by `read`.
    Leaving the context ends it, at the latest when the read that is under way returns.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._pieces = 0
        self._thread: Thread | None = None
        self._closed = False
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._thread is not None:
            self._slots.release()
            self._thread.join()

    def read(self, _: int) -> bytes:
        """Return the next piece, of whatever length it is; b"" at the end."""
        if self._ended:
            return b""
        if self._thread is None:
            self._pieces += 1
            if self._pieces <= 2:
                return self._read(PIECE)
            self._start()
        item = self._queue.get()
        self._slots.release()
        if isinstance(item, BaseException):
            self._ended = True
            raise item
        self._ended = not item
        return item

    def _start(self) -> None:
        from _queue import SimpleQueue
        from threading import Semaphore, Thread

        self._queue: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._slots = Semaphore(_PIECES_UNDER_WAY)
        self._thread = Thread(target=self._work, name="read ahead", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            self._slots.acquire()
            if self._closed:
                return
            try:
                item: bytes | BaseException = self._read(PIECE)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that reads
                item = error
            self._queue.put(item)
            if not item or isinstance(item, BaseException):
                return


class TarStream(BackgroundHash):
    """The bytes of one tar on their way: `add` small ones, `update` large ones; `finish` gives the diff_id."""

    def __init__(self, write: Callable[[ReadableBuffer], object] | None = None) -> None:
        super().__init__()
        self._write = write
        self._parts: list[bytes] = []
        self._held = 0
        self.size = 0

    def add(self, *parts: bytes) -> None:
        """Add headers, padding, small files."""
        held = 0
        for part in parts:
            held += len(part)
        self._parts += parts
        self._held += held
        if self._held >= PIECE:
            self.flush()

    def add_large(self, data: ReadableBuffer) -> None:
        """Add a piece of a large file without copying it."""
        self.flush()
        self._send(data, memoryview(data).nbytes)

    def flush(self) -> None:
        """Send what was held back."""
        if self._parts:
            self._send(b"".join(self._parts), self._held)
            self._parts = []
            self._held = 0

    def finish(self) -> str:
        """Return the `sha256:<hex>` of the whole tar."""
        self.flush()
        return "sha256:" + self.hexdigest()

    def _send(self, data: ReadableBuffer, length: int) -> None:
        self.size += length
        self.update(data)
        if self._write is not None:
            self._write(data)
