"""ADD of a local archive: recognised by its content, unpacked where the instruction says."""

from __future__ import annotations

import os
import posixpath
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError, SourceChanged
from buildah_py.layers.apply import Sparse, link_target
from buildah_py.layers.compression import decompress
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, Entry
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.reader import TarReader, begins_as_tar
from buildah_py.layers.tree import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.copy.layout import Layout
    from buildah_py.layers.reader import Member
    from buildah_py.layers.tree import Tree
    from buildah_py.layers.writer import LayerWriter

_NAME_MAX: Final = 255
_PIECE: Final = 1 << 20


class _File:
    """A descriptor as something that `decompress` can read."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._hashed = sha256()

    def read(self, length: int, /) -> bytes:
        data = os.read(self._descriptor, length)
        self._hashed.update(data)
        return data

    def digest(self, check: Callable[[], object]) -> str:
        """Give the `sha256:<hex>` of the whole file, whose rest is read for that."""
        while self.read(_PIECE):
            check()
        return "sha256:" + self._hashed.hexdigest()


def is_archive(tree: Tree, path: str) -> bool:
    """Whether the regular file `path` is a tar: plain, or compressed by gzip, bzip2, xz or zstd, whatever its name."""
    descriptor = tree.open(path)
    try:
        return begins_as_tar(_File(descriptor))
    finally:
        os.close(descriptor)


class _Below(NamedTuple):
    """The part of a layout below `root`, as a tree of its own: its links lead to nothing outside of it."""

    layout: Layout
    root: str

    def path(self, inside: str) -> str:
        return f"{self.root}/{inside}" if self.root and inside else self.root or inside

    def entry(self, path: str) -> Entry | None:
        return self.layout.entry(self.path(path))

    def names(self, path: str) -> Sequence[str]:
        return self.layout.names(self.path(path))

    def digest(self, path: str) -> str:
        return self.layout.digest(self.path(path))

    def open(self, path: str) -> int:
        return self.layout.open(self.path(path))


def unpack(
    layout: Layout,
    writer: LayerWriter,
    tree: Tree,
    archive: Entry,
    into: str,
    *,
    chown: tuple[int, int] | None = None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    warn: Callable[[str], None] = lambda _: None,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Unpack the file `archive` of `tree` into the directory `into`, which `layout` has already written.

    Members replace what is there, directories are merged. Owners are the archive's, or `chown`; modes and times the
    archive's. Device nodes are left out where they cannot be made; `warn` is told. Links on the way to a
    member are followed inside of `into`. `check` is that of TarReader. Raises ArchiveError for an archive that is
    damaged or leads outside, SourceChanged for one that is not what `archive` says.
    """
    descriptor = tree.open(archive.path)
    name = posixpath.basename(archive.path)
    try:
        with meter.start(f"unpacking {name}", archive.size) as moved:
            _unpack(layout, writer, moved.reading(_File(descriptor)), archive, into, chown, limits, warn, check)
    finally:
        os.close(descriptor)


def _unpack(
    layout: Layout,
    writer: LayerWriter,
    file: _File,
    archive: Entry,
    into: str,
    chown: tuple[int, int] | None,
    limits: ArchiveLimits,
    warn: Callable[[str], None],
    check: Callable[[], object],
) -> None:
    reader = TarReader(decompress(file).read, limits, check)
    unpacking = _Unpacking(layout, writer, reader, _Below(layout, into), chown, archive.path, warn)
    try:
        for member in reader:
            unpacking.add(member)
        reader.drain()
    except ArchiveError as error:
        raise ArchiveError(f"/{archive.path}: {error.message}", hint=error.hint) from error
    if file.digest(check) != archive.digest:
        raise SourceChanged(
            f"/{archive.path} changed while it was unpacked",
            hint="let whatever writes there finish, then build again",
        )


class _Unpacking:
    def __init__(
        self,
        layout: Layout,
        writer: LayerWriter,
        reader: TarReader,
        below: _Below,
        chown: tuple[int, int] | None,
        archive: str,
        warn: Callable[[str], None],
    ) -> None:
        self._layout = layout
        self._writer = writer
        self._reader = reader
        self._below = below
        self._chown = chown
        self._archive = archive
        self._warn = warn

    def add(self, member: Member) -> None:
        inside = _clean(member.name)
        if not inside:
            return
        parent, _, name = inside.rpartition("/")
        parent = resolve(self._below, parent)
        path = self._below.path(f"{parent}/{name}" if parent else name)
        above = self._below.path(parent)
        self._layout.make_dirs(above, 0o755, (0, 0), member.mtime)
        self._layout.write(self._writer)
        uid, gid = self._chown or (member.uid, member.gid)
        xattrs = tuple(sorted(member.xattrs))
        entry = Entry(path, member.kind, member.mode, uid, gid, member.size, xattrs=xattrs, mtime=member.mtime)
        if member.kind == HARDLINK:
            self._hard_link(path, member)
            return
        alone = self._make_room(path, member.kind)
        if member.kind == DIR:
            self._writer.add_dir(path, entry.mode, uid, gid, xattrs, entry.mtime)
            if alone:
                self._writer.set_opaque(path)
        elif member.kind == SYMLINK:
            entry = entry._replace(link=link_target(member), size=0, mode=0o777, xattrs=())
            self._writer.add_symlink(path, entry.link, uid, gid, entry.mtime)
        elif member.kind in (CHAR, BLOCK, FIFO):
            entry = entry._replace(size=0, device=member.device, xattrs=())
            self._add_node(entry)
        else:
            source: Callable[[int], bytes | memoryview] = self._reader.read
            if member.sparse is not None:
                source = Sparse(self._reader, member.sparse, member.size).read
            entry = self._writer.add_file(path, source, entry.mode, uid, gid, xattrs, entry.mtime, size=member.size)
        self._layout.wrote(entry)

    def _add_node(self, entry: Entry) -> None:
        """Add a fifo or device node, in the inventory alone where only others may make one."""
        made = self._writer.add_node(
            entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.device, entry.mtime
        )
        if not made:
            self._warn(
                f"{self._archive} has device nodes, which only root can make: the image has them, and steps here do "
                "not see them"
            )

    def _make_room(self, path: str, kind: str) -> bool:
        """Take away what is at `path` unless both it and what comes are directories.

        Says whether a new directory has to hide one that the layers below have there.
        """
        found = self._layout.entry(path)
        if found is None or (found.kind == DIR and kind == DIR):
            return False
        alone = kind == DIR and self._layout.covers_directory(path)
        self._layout.gone(path, alone=alone)
        return alone

    def _hard_link(self, path: str, member: Member) -> None:
        target = _clean(member.link)
        parent, _, name = target.rpartition("/")
        parent = resolve(self._below, parent)
        first = self._below.path(f"{parent}/{name}" if parent else name)
        found = self._layout.entry(first) if target else None
        if found is None or found.kind == DIR:
            what = "not there" if found is None else "a directory"
            raise ArchiveError(f"the archive's entry /{path} is a hard link to /{first}, which is {what}")
        if path == first:
            return
        if self._writer.get(first) is None:
            self._copy_up(found)
        self._make_room(path, HARDLINK)
        self._writer.add_hardlink(path, first)
        self._layout.wrote(found._replace(path=path))

    def _copy_up(self, entry: Entry) -> None:
        """Bring a file of the image into the layer, for another name of it is to come."""
        path = entry.path
        above = path.rpartition("/")[0]
        self._layout.touch(above)
        self._layout.write(self._writer)
        if entry.kind == SYMLINK:
            self._writer.add_symlink(path, entry.link, entry.uid, entry.gid, entry.mtime)
        elif entry.kind == FILE:
            descriptor = self._layout.open(path)
            try:
                self._writer.add_file(path, descriptor, entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
            finally:
                os.close(descriptor)
        else:
            self._writer.add_node(path, entry.kind, entry.mode, entry.uid, entry.gid, entry.device, entry.mtime)
        self._layout.wrote(entry)


def _clean(name: bytes) -> str:
    shown = name[:200].decode("utf-8", "backslashreplace")
    if b"\0" in name:
        raise ArchiveError(f"the archive's entry {shown!r} has a zero byte in its name")
    path = posixpath.normpath(b"/".join(part for part in name.split(b"/") if part))
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if parts[:1] == [b".."]:
        raise ArchiveError(f"the archive's entry {shown!r} leads out of its directory with '..'")
    if any(len(part) > _NAME_MAX for part in parts):
        raise ArchiveError(f"the archive's entry {shown!r} has a part of more than {_NAME_MAX} bytes")
    return b"/".join(parts).decode("utf-8", "surrogateescape")
