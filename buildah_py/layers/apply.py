"""Unpack a layer's archive into overlay form, in any spelling that builders and tars have for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT
from buildah_py.layers.header import OPAQUE_NAME, WHITEOUT_PREFIX
from buildah_py.layers.inventory import Captured
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.reader import Member, TarReader
from buildah_py.layers.stream import PIECE, ZEROS, BackgroundHash, ReadAhead
from buildah_py.layers.tree import link_of
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux import resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.image.blob import Readable
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

_NAME_MAX: Final = 255
_PATH_MAX: Final = 4095
_META_PREFIX: Final = ".wh..wh."


def unpack(
    stream: Readable,
    dest: str,
    *,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    userxattr: bool = False,
    keep_whiteouts: bool = True,
    owners: bool = True,
    expect_diff_id: str = "",
    below: Tree | None = None,
    left_out: Callable[[str], object] | None = None,
    devices: bool = True,
    check: Callable[[], object] = lambda: None,
) -> Captured:
    """Unpack an uncompressed tar into the empty directory `dest`; return what is there now.

    Whiteouts become what overlayfs takes for them; without `keep_whiteouts` they are refused, for an archive that is
    not a layer cannot mean them. `diff_id` and `size` are of the stream as read, to its end. `owners=False` and
    `devices=False`: see LayerWriter.

    With `below`, the view of the layers below, an entry whose parent is a symbolic link there goes to where that leads,
    and parents that the archive leaves out are made as they are below. Without it the layer stands for itself and can
    be unpacked before them; `adopt.hidden_links` says whether that was enough.

    Device nodes that only others may make are an error, unless `left_out` is there to be told of their paths. `check`
    is that of TarReader.

    Names are taken inside `dest`: leading slashes mean nothing, a symbolic link on the way to an entry's parent is
    followed inside of `dest`, the last component never. Raises ArchiveError, having touched nothing outside of
    `dest`, for names with `..`, links that lead outside, devices that we may not make, damage, more than `limits`, and
    a digest other than `expect_diff_id`.
    """
    with (
        BackgroundHash() as hashed,
        ReadAhead(stream.read) as ahead,
        LayerWriter(dest, userxattr=userxattr, digest=False, owners=owners, devices=devices) as writer,
    ):
        size = 0

        def read(length: int) -> bytes:
            nonlocal size
            data = ahead.read(length)
            hashed.update(data)
            size += len(data)
            return data

        reader = TarReader(read, limits, check)
        unpacking = _Unpacking(writer, reader, below, keep_whiteouts=keep_whiteouts, left_out=left_out)
        for member in reader:
            unpacking.add(member)
        reader.drain()
        diff_id = "sha256:" + hashed.hexdigest()
        if expect_diff_id and diff_id != expect_diff_id:
            raise ArchiveError(f"the layer's content is {diff_id}, and it should be {expect_diff_id}")
        return Captured(writer.finish().inventory, diff_id, size)


class _Unpacking:
    def __init__(
        self,
        writer: LayerWriter,
        reader: TarReader,
        below: Tree | None,
        *,
        keep_whiteouts: bool,
        left_out: Callable[[str], object] | None = None,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._below = below
        self._keep_whiteouts = keep_whiteouts
        self._left_out = left_out

    def add(self, member: Member) -> None:
        path = self._clean(member.name)
        kind = member.kind
        if not path and kind != DIR:
            raise ArchiveError(f"the archive's entry {_shown(member.name)} would replace the root directory")
        parent, _, name = path.rpartition("/")
        parent = self._parent(parent)
        path = f"{parent}/{name}" if parent else name
        if name.startswith(WHITEOUT_PREFIX):
            self._whiteout(member, parent, name)
            return
        writer = self._writer
        if kind == FILE:
            self._file(path, member)
        elif kind == DIR:
            writer.add_dir(path, member.mode, member.uid, member.gid, _sorted(member.xattrs), member.mtime)
        elif kind == SYMLINK:
            writer.add_symlink(path, link_target(member), member.uid, member.gid, member.mtime)
        elif kind == HARDLINK:
            target = self._clean(member.link)
            where, _, last = target.rpartition("/")
            where = self._resolve(where)
            target = f"{where}/{last}" if where else last
            writer.add_hardlink(path, target)
        elif kind in (FIFO, CHAR, BLOCK):
            if kind == CHAR and member.device == (0, 0) and self._keep_whiteouts:
                raise ArchiveError(f"/{path} is a character device 0:0, which overlayfs would take for a whiteout")
            self._node(path, member)

    def _node(self, path: str, member: Member) -> None:
        try:
            self._writer.add_node(path, member.kind, member.mode, member.uid, member.gid, member.device, member.mtime)
        except ArchiveError as error:
            if self._left_out is None or not isinstance(error.__cause__, PermissionError):
                raise
            self._left_out(path)

    def _file(self, path: str, member: Member) -> None:
        source: Callable[[int], bytes | memoryview] = self._reader.read
        if member.sparse is not None:
            source = Sparse(self._reader, member.sparse, member.size).read
        self._writer.add_file(
            path,
            source,
            member.mode,
            member.uid,
            member.gid,
            _sorted(member.xattrs),
            member.mtime,
            size=member.size,
        )

    def _whiteout(self, member: Member, parent: str, name: str) -> None:
        path = f"{parent}/{name}" if parent else name
        if not self._keep_whiteouts:
            raise ArchiveError(f"/{path}: in an image, a name that begins with .wh. deletes the file named after it")
        if name == OPAQUE_NAME:
            if self._writer.get(parent) is None:
                self._writer.add_dir(parent, implied=True)
            self._writer.set_opaque(parent)
            return
        if name.startswith(_META_PREFIX):
            return  # what aufs kept for itself
        hidden = name.removeprefix(WHITEOUT_PREFIX)
        if hidden in ("", ".", ".."):
            raise ArchiveError(f"the archive's entry {_shown(member.name)} deletes nothing that can exist")
        path = f"{parent}/{hidden}" if parent else hidden
        own = self._writer.get(path)
        # A whiteout hides what is in the layers below alone, whatever the order of this layer's entries.
        if own is None:
            self._writer.add_whiteout(path)
        elif own.kind == DIR:
            self._writer.set_opaque(path)

    def _clean(self, name: bytes) -> str:
        if b"\0" in name:
            raise ArchiveError(f"the archive's entry {_shown(name)} has a zero byte in its name")
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise ArchiveError(f"the archive's entry {_shown(name)} leads out of its directory with '..'")
        if any(len(part) > _NAME_MAX for part in parts):
            raise ArchiveError(f"the archive's entry {_shown(name)} has a part of more than {_NAME_MAX} bytes")
        return b"/".join(parts).decode("utf-8", "surrogateescape")

    def _parent(self, path: str) -> str:
        """Return where the directory `path` really is, and make it where it is missing."""
        own = self._writer.get(path)
        if not path or (own is not None and own.kind == DIR):
            return path
        path = self._resolve(path)
        missing: list[str] = []
        at = path
        while at:
            own = self._writer.get(at)
            if own is not None and own.kind == DIR:
                break
            if own is not None and own.kind != WHITEOUT:
                raise ArchiveError(f"the archive puts something into /{at}, which is not a directory")
            missing.append(at)
            at = at.rpartition("/")[0]
        for at in reversed(missing):
            old = self._look_below(at)
            if old is not None and old.kind == DIR:
                self._writer.add_dir(at, old.mode, old.uid, old.gid, old.xattrs, old.mtime)
            else:
                self._writer.add_dir(at, implied=True)
        return path

    def _look_below(self, path: str) -> Entry | None:
        """Return what the layers below show at a path, unless this one hides it."""
        if self._below is None:
            return None
        at = path
        while at:
            own = self._writer.get(at)
            if own is not None and (own.kind != DIR or own.opaque):
                return None
            at = at.rpartition("/")[0]
        return self._below.entry(path)

    def _resolve(self, path: str) -> str:
        """Follow the symbolic links of this archive in all components, inside of its root; the rest is kept."""
        try:
            return "/".join(resolution.resolve(path, self._link)[0])
        except resolution.TooManyLinks:
            raise ArchiveError(f"the archive's symbolic links on the way to {path!r} go in circles") from None

    def _link(self, path: str) -> str | None:
        entry = self._writer.get(path)
        if entry is None:
            entry = self._look_below(path)
        elif entry.kind == HARDLINK:
            entry = self._writer.get(entry.link)
        return link_of(entry)


class Sparse:
    """Fills the holes of a sparse member with zeros."""

    def __init__(self, reader: TarReader, parts: tuple[tuple[int, int], ...], size: int) -> None:
        self._reader = reader
        self._pieces = self._all(parts, size)
        self._data: bytes | memoryview = b""

    def read(self, length: int) -> bytes | memoryview:
        """Return up to `length` bytes of the file, b"" at its end."""
        if not self._data:
            self._data = next(self._pieces, b"")
        data, self._data = self._data[:length], self._data[length:]
        return data

    def _all(self, parts: tuple[tuple[int, int], ...], size: int) -> Iterator[bytes | memoryview]:
        position = 0
        for offset, length in (*parts, (size, 0)):
            while position < offset:
                step = min(offset - position, PIECE)
                self._reader.check()
                yield ZEROS[:step]
                position += step
            end = offset + length
            while position < end:
                data = self._reader.read(min(end - position, PIECE))
                if not data:
                    raise EOFError
                position += len(data)
                yield data


def _sorted(xattrs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    return tuple(sorted(xattrs)) if xattrs else xattrs


def link_target(member: Member) -> str:
    """Give where a symbolic link leads. Raises ArchiveError for what no link can hold."""
    if not member.link or b"\0" in member.link or len(member.link) > _PATH_MAX:
        raise ArchiveError(f"the target of the archive's symbolic link {_shown(member.name)} cannot be a target")
    return os.fsdecode(member.link)


def _shown(name: bytes) -> str:
    return repr(name[:200].decode("utf-8", "backslashreplace"))
