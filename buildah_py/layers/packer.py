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
from buildah_py.layers.packed import PATCH, TAR, Segment, trailer
from buildah_py.layers.stream import PIECE
from buildah_py.layers.tar import SECOND, padding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    Xattrs = tuple[tuple[str, bytes], ...]

_PIECES_UNDER_WAY: Final = 4
_MOST_SEGMENTS: Final = 4096
_LARGEST_SHARE: Final = 0.5  # of a patch's own bytes in its tar: one that has more had better be a tar itself
_WRITE_BACK: Final = 1 << 25  # bytes after which the disk is set to work
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Base(NamedTuple):
    """A layer that is kept as the whole tar in the file `path`, and what it holds."""

    diff_id: str
    path: str
    inventory: Inventory


class BaseDamaged(ArchiveError):
    """The tar that was to be patched is not what it was."""


class LayerPacker:
    """Writes the tar of a layer into `directory`: as the file `tar`, or as `patch` of `base`.

    As a LayerWriter it takes what COPY copies, but every path once, in the order of the tar, and no devices. `reuse`
    says whether a file need not be read, because the base has it; `finish` compares the base with its digest, and
    raises BaseDamaged. Context manager.
    """

    def __init__(self, directory: str, base: Base | None = None) -> None:
        self._directory = directory
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._at = 0  # bytes of the tar so far
        self._offsets = _Offsets(base.inventory) if base is not None else None
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
        found = self._offsets.find(entry.path) if self._offsets is not None else None
        if found is None:
            return False
        old, start, head = found
        if old.digest != entry.digest or old.kind != FILE:
            return False
        content = entry.size + -entry.size % BLOCK_SIZE
        if old == entry or _same_header(old, entry):
            self._entries[entry.path] = entry
            self._add_run(start, start + head + content)
        else:
            if entry.xattrs:
                entry = entry._replace(xattrs=attributes.kept(entry.xattrs))
            self._record(entry)
            self._add_run(start + head, start + head + content)
        return True

    def add_symlink(self, path: str, target: str, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """Add a symbolic link; its target is kept as it is."""
        self._record(Entry(path, SYMLINK, 0o777, uid, gid, 0, "", target, (0, 0), (), mtime))

    def add_hardlink(self, path: str, target: str) -> None:
        """Add another name of the file that was added at `target`."""
        first = self._entries[target]
        self._record(Entry(path, HARDLINK, first.mode, first.uid, first.gid, link=target, mtime=first.mtime))

    def finish(self) -> Captured:
        """Return the layer. Raises BaseDamaged where the base's tar is no longer what it was."""
        self._add(END)
        self._flush()
        root = self._entries.get("")
        if root is not None and root.implied:
            # No archive can tell that it was there: an unpacked layer has to have the same digest.
            del self._entries[""]
        diff_id, path = self._line.finish(self._at)
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
        found = self._offsets.find(entry.path) if self._offsets is not None and entry.kind != FILE else None
        if found is not None and _same_header(found[0], entry):
            self._add_run(found[1], found[1] + found[2])
        else:
            self._add(header(entry, entry.mtime // SECOND))

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
    """Where the entries of a whole tar begin, asked for in its order."""

    def __init__(self, inventory: Inventory) -> None:
        self._walk = _each(inventory)
        self._next = next(self._walk, None)

    def find(self, path: str) -> tuple[Entry, int, int] | None:
        """Return the entry at a path, its offset, and the length of its header."""
        found = self._next
        if found is not None and found[0].path != path:
            key = sort_key(path)
            while found is not None and sort_key(found[0].path) < key:
                found = next(self._walk, None)
            self._next = found
            if found is not None and found[0].path != path:
                return None
        return found


def _each(inventory: Inventory) -> Iterator[tuple[Entry, int, int]]:
    at = 0
    for entry in inventory.entries:
        if entry.implied:
            continue
        head = header_size(entry, entry.mtime // SECOND)
        yield entry, at, head
        at += head
        if entry.kind == FILE:
            at += entry.size + -entry.size % BLOCK_SIZE


class _Line:
    """Takes own bytes and runs of the base's tar in their order; a thread hashes and writes them.

    The thread starts with the first of them but for small tars, a second one compares the base with its digest.
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
        self._base_digest = ""
        self._queue: SimpleQueue[bytes | tuple[int, int] | None] = SimpleQueue()
        self._slots = Semaphore(_PIECES_UNDER_WAY)
        self._threads = [Thread(target=self._work, name="pack", daemon=True)]
        if base is not None:
            self._threads.append(Thread(target=self._check_base, name="check base", daemon=True))
        self._started = False

    def put(self, item: bytes | tuple[int, int]) -> None:
        """Pass on own bytes, or a run of the base's tar (start, end)."""
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()
        self._slots.acquire()
        self._queue.put(item)
        if self._failed is not None:
            raise self._failed

    def finish(self, size: int) -> tuple[str, str]:
        """Return the digest of the `size` bytes that went through, and the file that they are in."""
        self._end()
        if self._failed is not None:
            raise self._failed
        if self._base is not None:
            if self._base_digest != self._base.diff_id:
                raise BaseDamaged(f"the tar of the layer {self._base.diff_id} has changed since it was written")
            if self._written > size * _LARGEST_SHARE or len(self._segments) > _MOST_SEGMENTS:
                self._write_out()
            else:
                write_all(self._out, trailer(self._base.diff_id, self._segments), self._written)
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
            for thread in self._threads:
                thread.join()

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

    def _check_base(self) -> None:
        hashed = hashlib.sha256()
        try:
            for data in _read(self._in, 0, os.fstat(self._in).st_size):
                hashed.update(data)
        except OSError as error:
            self._failed = error
        self._base_digest = "sha256:" + hashed.hexdigest()

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
