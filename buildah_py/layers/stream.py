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
_PIECES_UNDER_WAY: Final = 8
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
        """Add bytes; waits while eight pieces have not been hashed yet, so that memory stays flat."""
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
