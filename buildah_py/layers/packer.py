"""Write a layer as its canonical tar, in one pass and without a tree, or as a patch of another layer's tar."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NoReturn, Self

from buildah_py.errors import ArchiveError
from buildah_py.layers import PATCH, TAR
from buildah_py.layers import xattrs as attributes
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SECOND, SYMLINK, Entry, sort_key
from buildah_py.layers.files import read_pieces
from buildah_py.layers.header import BLOCK_SIZE, END, check_path, header, header_size, padding
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.pack_file import PackFile
from buildah_py.layers.packed import Delta
from buildah_py.layers.stream import PIECE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from buildah_py.layers.pack_file import PatchBase
    from buildah_py.layers.xattrs import Xattrs

_LARGEST_DELTA: Final = 0.3  # of a layer's entries: one of which more differ had better have a tree of its own


class LayerPacker:
    """Writes the tar of a layer into `directory`: as the file `tar`, or as `patch` of `base`.

    It is a LayerSink for what COPY copies, without devices. `reuse`
    says whether a file need not be read, because the base has it; `finish` compares the base with its digest, and
    raises StoreError where it is not so. Context manager.
    """

    def __init__(self, directory: str, base: PatchBase | None = None) -> None:
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._at = 0  # bytes of the tar so far
        self._offsets = _Offsets(base.entries) if base is not None else None
        self._own: list[str] = []  # paths at which the base has something else or nothing
        self._linked = False
        self._parts: list[bytes] = []
        self._held = 0
        self._run = (0, 0)  # of the base's tar, not yet passed on
        self._file = PackFile(os.path.join(directory, PATCH if base is not None else TAR), base)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

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

    def add_node(
        self,
        path: str,
        kind: str,
        mode: int = 0o644,  # noqa: ARG002 - as in a LayerSink
        uid: int = 0,  # noqa: ARG002
        gid: int = 0,  # noqa: ARG002
        device: tuple[int, int] = (0, 0),  # noqa: ARG002
        mtime: int = 0,  # noqa: ARG002
    ) -> NoReturn:
        """Raise ArchiveError: what has devices is kept as a tree."""
        raise ArchiveError(f"/{path} is a {kind} device, and a layer that is kept as a tar holds none")

    def finish(self) -> Captured:
        """Return the layer. Raises StoreError where the base's tar is no longer what it was."""
        self._add(END)
        self._flush()
        root = self._entries.get("")
        if root is not None and root.implied:
            # No archive can tell that it was there: an unpacked layer has to have the same digest.
            del self._entries[""]
        diff_id, path = self._file.finish(self._at, self._delta())
        base = self._base.diff_id if self._base is not None and path.endswith(PATCH) else ""
        return Captured(Inventory.of_sorted(list(self._entries.values())), diff_id, self._at, base=base)

    @property
    def path(self) -> str:
        """The file that was written."""
        return self._file.path

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
        if "" in offsets.passed:  # `/` itself, which a COPY does not describe
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
            self._file.put(b"".join(self._parts))
            self._parts = []
            self._held = 0
        start, end = self._run
        if end > start:
            self._file.put((start, end))
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


def _same_header(old: Entry, new: Entry) -> bool:
    """Whether two entries have equal headers and equal bytes: times are kept in seconds there."""
    return old == new or (old.mtime // SECOND == new.mtime // SECOND and old._replace(mtime=new.mtime) == new)
