"""Create many small files, on a thread where the file system takes longer than the interpreter does."""

from __future__ import annotations

import errno
import os
from time import perf_counter
from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError

if TYPE_CHECKING:
    from _queue import SimpleQueue
    from threading import Semaphore, Thread

    from buildah_py.layers.entry import Entry

    Batch = tuple[str, list[tuple[Entry, bytes]]]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BATCH_FILES: Final = 50
_BATCH_BYTES: Final = 1 << 19
_BATCHES_UNDER_WAY: Final = 8
_ALONE: Final = 4  # as many batches are written by the caller, and timed
_SLOW: Final = 25e-6  # seconds a file: from there on the kernel's part is the larger one, and a thread pays


class FileSpool:
    """Writes files into the directories below `root` (a descriptor), which have to exist.

    `put` may return before the file is there; `wait` returns when all are, and raises what went wrong with one.
    """

    def __init__(self, root: int, *, owners: bool) -> None:
        self._root = root
        self._owners = owners
        self._own = (os.geteuid(), os.getegid())
        self._parent = ""
        self._files: list[tuple[Entry, bytes]] = []
        self._held = 0
        self._batches = 0
        self._errors: list[BaseException] = []
        self._closed = False
        self._thread: Thread | None = None
        self._spent = 0.0
        self._written = 0

    def put(self, parent: str, entry: Entry, data: bytes) -> None:
        """Have a file written."""
        files = self._files
        if parent != self._parent or len(files) >= _BATCH_FILES or self._held >= _BATCH_BYTES:
            self._submit()
            files = self._files
            self._parent = parent
        files.append((entry, data))
        self._held += len(data)

    def wait(self) -> None:
        """Return when every file is there."""
        if self._files:
            self._submit()
        if self._thread is not None:
            for _ in range(_BATCHES_UNDER_WAY):
                self._slots.acquire()
            for _ in range(_BATCHES_UNDER_WAY):
                self._slots.release()
        self._raise()

    def close(self) -> None:
        """End the thread; what it has not begun is left out."""
        self._files = []
        if self._thread is not None:
            self._closed = True
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def finish_file(self, descriptor: int, entry: Entry) -> None:
        """Give an open file or directory its owner, mode, attributes and time, in the order in which they last."""
        if self._owners and (entry.uid, entry.gid) != self._own:
            os.fchown(descriptor, entry.uid, entry.gid)
        os.fchmod(descriptor, entry.mode)  # after chown, which takes setuid away
        if entry.xattrs:
            _set_xattrs(descriptor, entry)
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))

    def _raise(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _submit(self) -> None:
        self._raise()
        if not self._files:
            return
        batch = (self._parent, self._files)
        self._files = []
        self._held = 0
        if self._batches < _ALONE:
            self._batches += 1
            begin = perf_counter()
            self._write(*batch)
            self._spent += perf_counter() - begin
            self._written += len(batch[1])
            if self._batches == _ALONE and self._spent > _SLOW * self._written:
                self._start()
        elif self._thread is None:
            self._write(*batch)
        else:
            self._slots.acquire()
            self._queue.put(batch)

    def _start(self) -> None:
        from _queue import SimpleQueue
        from threading import Semaphore, Thread

        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._slots: Semaphore = Semaphore(_BATCHES_UNDER_WAY)
        self._thread = Thread(target=self._work, name="files", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                if not self._errors and not self._closed:
                    self._write(*batch)
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
                self._errors.append(error)
            finally:
                self._slots.release()

    def _write(self, parent: str, files: list[tuple[Entry, bytes]]) -> None:
        directory = os.open(parent or ".", _DIRECTORY, dir_fd=self._root)
        try:
            for entry, data in files:
                descriptor = os.open(entry.path.rpartition("/")[2], _CREATE, 0o600, dir_fd=directory)
                try:
                    if data:
                        write_all(descriptor, data)
                    self.finish_file(descriptor, entry)
                finally:
                    os.close(descriptor)
        finally:
            os.close(directory)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`."""
    written = os.write(descriptor, data)
    if written != len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(descriptor, view) :]


def _set_xattrs(descriptor: int, entry: Entry) -> None:
    for name, value in entry.xattrs:
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSPC, errno.E2BIG, errno.ERANGE):
                raise
            raise ArchiveError(
                f"/{entry.path}: the extended attribute {name} cannot be set: {error.strerror}",
                hint="keep pybuild's state on a file system that has extended attributes (ext4, xfs, btrfs)",
            ) from error
