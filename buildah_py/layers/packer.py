"""Write a layer as its canonical tar, in one pass and without a tree, or as a patch of another layer's tar."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.errors import ArchiveError
from buildah_py.layers import xattrs as attributes
from buildah_py.layers.create import write_all
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK, Entry, sort_key
from buildah_py.layers.files import read_pieces, start_write_back
from buildah_py.layers.header import BLOCK_SIZE, END, check_path, header, header_size
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.packed import PATCH, TAR, Delta, Segment, trailer
from buildah_py.layers.stream import PIECE
from buildah_py.layers.tar import SECOND, padding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    Xattrs = tuple[tuple[str, bytes], ...]

_PIECES_UNDER_WAY: Final = 4
_MOST_SEGMENTS: Final = 1 << 15
_LARGEST_SHARE: Final = 0.5  # of a patch's own bytes in its tar: one that has more had better be a tar itself
_LARGEST_DELTA: Final = 0.3  # of a layer's entries: one of which more differ had better have a tree of its own
_WRITE_BACK: Final = 1 << 25  # bytes after which the disk is set to work
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Reading:
    """Reads a file on a thread of its own, and knows its digest at the end; context manager."""

    def __init__(self, path: str) -> None:
        from threading import Thread

        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveError(f"a stored layer cannot be read: {path}: {error.strerror}") from error
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
        """Return the `sha256:<hex>` of the file. Raises ArchiveError where it cannot be read."""
        self._thread.join()
        if self._failed is not None:
            raise ArchiveError(f"a stored layer cannot be read: {self._failed.strerror}") from self._failed
        return "sha256:" + self._hash.hexdigest()

    def _work(self) -> None:
        try:
            for data in _read(self._descriptor, 0, os.fstat(self._descriptor).st_size):
                self._hash.update(data)
                if self._stopped:
                    return
        except OSError as error:
            self._failed = error


class Base(NamedTuple):
    """A layer that is kept as the whole tar in the file `path`, its entries in order, and the reading of that file."""

    diff_id: str
    path: str
    entries: Iterator[Entry]
    reading: Reading


class LayerPacker:
    """Writes the tar of a layer into `directory`: as the file `tar`, or as `patch` of `base`.

    As a LayerWriter it takes what COPY copies, but every path once, in the order of the tar, and no devices. `reuse`
    says whether a file need not be read, because the base has it; `finish` compares the base with its digest, and
    raises ArchiveError where it is not so. Context manager.
    """

    def __init__(self, directory: str, base: Base | None = None) -> None:
        self._directory = directory
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._at = 0  # bytes of the tar so far
        self._offsets = _Offsets(base.entries) if base is not None else None
        self._own: list[str] = []  # paths at which the base has something else or nothing
        self._linked = False
        self._parts: list[bytes] = []
        self._held = 0
        self._run = (0, 0)  # of the base's tar, not yet passed on
        self._line = _Line(os.path.join(directory, PATCH if base is not None else TAR), base)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.close()

    def add_dir(
        self,
        path: str,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        xattrs: Xattrs = (),
        mtime: int = 0,
        *,
        implied: bool = False,
    ) -> None:
        """Add a directory, `""` for the root; `implied` ones are not in the tar."""
        kept = attributes.kept(xattrs)
        self._record(Entry(path, DIR, mode, uid, gid, 0, "", "", (0, 0), kept, mtime, implied=implied))

    def add_file(
        self, path: str, source: int | bytes, mode: int, uid: int, gid: int, xattrs: Xattrs, mtime: int
    ) -> Entry:
        """Add a regular file of some bytes or an open file, and return its entry with size and digest.

        Raises EOFError where the file gets shorter meanwhile.
        """
        size = len(source) if isinstance(source, bytes) else os.fstat(source).st_size
        entry = Entry(path, FILE, mode, uid, gid, size, "", "", (0, 0), attributes.kept(xattrs), mtime)
        self._record(entry)
        hashed = hashlib.sha256()
        for piece in [source] if isinstance(source, bytes) else read_pieces(source, size):
            hashed.update(piece)
            self._add(bytes(piece))
        self._add(padding(size))
        entry = self._entries[path] = entry._replace(digest="sha256:" + hashed.hexdigest())
        return entry

    def add_small_file(self, entry: Entry, data: bytes) -> None:
        """Add a regular file of `data`, about which `entry` tells all, its size and digest too."""
        if entry.xattrs:
            entry = entry._replace(xattrs=attributes.kept(entry.xattrs))
        self._record(entry)
        if data:
            self._add(data, padding(len(data)))

    def reuse(self, entry: Entry) -> bool:
        """Add a regular file that `entry` tells all about, if the base has its bytes; whether it has."""
        offsets = self._offsets
        old = offsets.find(entry.path) if offsets is not None else None
        if offsets is None or old is None or old.digest != entry.digest or old.kind != FILE:
            return False
        start, end = offsets.start, offsets.end
        if _same_header(old, entry):
            self._entries[entry.path] = entry
            if old.mtime != entry.mtime:
                self._own.append(entry.path)
        else:
            if entry.xattrs:
                entry = entry._replace(xattrs=attributes.kept(entry.xattrs))
            self._record(entry)
            start += header_size(old, old.mtime // SECOND)
        self._add_run(start, end)
        return True

    def add_symlink(self, path: str, target: str, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """Add a symbolic link; its target is kept as it is."""
        self._record(Entry(path, SYMLINK, 0o777, uid, gid, 0, "", target, (0, 0), (), mtime))

    def add_hardlink(self, path: str, target: str) -> None:
        """Add another name of the file that was added at `target`."""
        first = self._entries[target]
        self._record(Entry(path, HARDLINK, first.mode, first.uid, first.gid, link=target, mtime=first.mtime))

    def finish(self) -> Captured:
        """Return the layer. Raises ArchiveError where the base's tar is no longer what it was."""
        self._add(END)
        self._flush()
        root = self._entries.get("")
        if root is not None and root.implied:
            # No archive can tell that it was there: an unpacked layer has to have the same digest.
            del self._entries[""]
        diff_id, path = self._line.finish(self._at, self._delta())
        base = self._base.diff_id if self._base is not None and path.endswith(PATCH) else ""
        return Captured(Inventory.of_sorted(list(self._entries.values())), diff_id, self._at, base=base)

    @property
    def path(self) -> str:
        """The file that was written."""
        return self._line.path

    def _record(self, entry: Entry) -> None:
        self._keep(entry)
        if entry.implied:
            return
        offsets = self._offsets
        old = offsets.find(entry.path) if offsets is not None else None
        if old != entry:
            self._own.append(entry.path)
        self._linked = self._linked or entry.kind == HARDLINK
        if offsets is not None and old is not None and entry.kind != FILE and _same_header(old, entry):
            self._add_run(offsets.start, offsets.end)
            return
        self._add(header(entry, entry.mtime // SECOND))

    def _delta(self) -> Delta | None:
        """Say how the entries differ from the base's, if paths tell it: not where files have several names."""
        offsets = self._offsets
        if offsets is None:
            return None
        offsets.finish()
        if self._linked or offsets.linked:
            return None
        gone = [path for path in offsets.passed if self._has_directory(path.rpartition("/")[0])]
        if len(self._own) + len(gone) > len(self._entries) * _LARGEST_DELTA:
            return None
        return Delta(tuple(self._own), tuple(gone))

    def _has_directory(self, path: str) -> bool:
        above = self._entries.get(path)
        return not path or (above is not None and above.kind == DIR)

    def _keep(self, entry: Entry) -> None:
        path = entry.path
        if path:
            check_path(path, path.rpartition("/")[2])
        self._entries[path] = entry

    def _add(self, *parts: bytes) -> None:
        if self._run[1] > self._run[0]:
            self._flush()
        held = 0
        for part in parts:
            held += len(part)
        self._parts += parts
        self._held += held
        self._at += held
        if self._held >= PIECE:
            self._flush()

    def _add_run(self, start: int, end: int) -> None:
        self._at += end - start
        first, last = self._run
        if self._parts or start != last or last - first >= PIECE:
            self._flush()
            first = start
        self._run = (first, end)

    def _flush(self) -> None:
        """Pass on what was held back: either own bytes or a run of the base's."""
        if self._parts:
            self._line.put(b"".join(self._parts))
            self._parts = []
            self._held = 0
        start, end = self._run
        if end > start:
            self._line.put((start, end))
        self._run = (0, 0)


class _Offsets:
    """Where the entries of a whole tar begin and end, asked for in its order."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._rest = entries
        self._here = next(entries, None)
        self._met = False  # whether it was asked for
        self.start = 0
        self.end = 0 if self._here is None else _length(self._here)
        self.linked = False
        """Whether there were files of several names."""
        self.passed: list[str] = []
        """The paths that were not asked for."""

    def find(self, path: str) -> Entry | None:
        """Return the entry at a path, which goes from `start` to `end`; None where nothing is."""
        if self._here is not None and self._here.path != path and self._met:
            self._advance()
        if self._here is not None and self._here.path != path:
            key = sort_key(path)
            while self._here is not None and sort_key(self._here.path) < key:
                self._advance()
        if self._here is None or self._here.path != path:
            return None
        self._met = True
        return self._here

    def finish(self) -> None:
        """Go to the end."""
        while self._here is not None:
            self._advance()

    def _advance(self) -> None:
        if self._here is not None:
            if not self._met:
                self.passed.append(self._here.path)
            if self._here.kind == HARDLINK:
                self.linked = True
        self._here = next(self._rest, None)
        self._met = False
        self.start = self.end
        if self._here is not None:
            self.end += _length(self._here)


def _length(entry: Entry) -> int:
    """Return how long an entry is in a tar."""
    size = entry.size if entry.kind == FILE else 0
    return header_size(entry, entry.mtime // SECOND) + size + -size % BLOCK_SIZE


class _Line:
    """Takes own bytes and runs of the base's tar in their order; a thread hashes and writes them.

    The thread starts with the first of them.
    """

    def __init__(self, path: str, base: Base | None) -> None:
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
                raise ArchiveError(f"the tar of the layer {self._base.diff_id} has changed since it was written")
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


def _same_header(old: Entry, new: Entry) -> bool:
    """Whether two entries have equal headers and equal bytes: times are kept in seconds there."""
    return old == new or (old.mtime // SECOND == new.mtime // SECOND and old._replace(mtime=new.mtime) == new)


def _read(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        data = os.pread(descriptor, min(PIECE, end - start), start)
        if not data:
            return
        start += len(data)
        yield data
