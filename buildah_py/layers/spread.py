"""Make the tree of a layer that is kept as its tar, whole or only what differs from another layer's tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.header import END, header_size, padding
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.packed import Cursor
from buildah_py.layers.stream import BackgroundHash
from buildah_py.layers.writer import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.layers.packed import Delta, PackedTar
    from buildah_py.layers.writer import LayerWriter


def spread(packed: PackedTar, inventory: Inventory, writer: LayerWriter, diff_id: str) -> None:
    """Write all entries of the layer. Raises ArchiveError where its tar is not the one that `diff_id` names."""
    with BackgroundHash() as hashed:
        cursor = Cursor(_hashed(packed.pieces(), hashed))
        for entry in inventory:
            if not entry.implied:
                cursor.skip(header_size(entry, entry.mtime // SECOND))
            if entry.kind != FILE:
                _write(entry, writer)
            elif entry.size <= SMALL:
                writer.add_small_file(entry, cursor.read(entry.size))
            else:
                writer.add_file(entry.path, cursor.some, *_attributes(entry), size=entry.size)
            cursor.skip(len(padding(entry.size)))
        cursor.skip(len(END))
        found = "sha256:" + hashed.hexdigest()
    if found != diff_id:
        raise ArchiveError(f"a stored layer is damaged: its tar has the digest {found}, and it should be {diff_id}")


def spread_delta(packed: PackedTar, inventory: Inventory, writer: LayerWriter, delta: Inventory) -> None:
    """Write the entries of `delta`, of which the layer has those that are not whiteouts.

    Only what is needed of the tar is read. Raises ArchiveError where a file is not what the inventory says.
    """
    at = 0
    for entry in inventory:
        if entry.implied:
            continue
        at += header_size(entry, entry.mtime // SECOND)
        wanted = delta.get(entry.path) is not None
        if wanted and entry.kind != FILE:
            _write(entry, writer)
        elif wanted:
            reader = _Reader(packed, at)
            written = writer.add_file(entry.path, reader.read, *_attributes(entry), size=entry.size)
            if written.digest != entry.digest:
                raise ArchiveError(f"a stored layer is damaged: /{entry.path} is not what it was")
        if entry.kind == FILE:
            at += entry.size + len(padding(entry.size))
    for entry in delta.whiteouts:
        writer.add_whiteout(entry.path)


def entries_of(delta: Delta, inventory: Inventory) -> Inventory:
    """Return what a directory holds that makes a layer of its base when it is laid over the base's tree.

    That is what differs, with the directories that lead there, and whiteouts for what is gone: these hide what layers
    below both have at these paths, too.
    """
    found = {path: Entry(path, WHITEOUT) for path in delta.gone}
    for path in (*delta.own, *delta.gone):
        while path not in found or found[path].kind == WHITEOUT:
            entry = inventory.get(path)
            if entry is not None:
                found[path] = entry
            if not path:
                break
            path = path.rpartition("/")[0]
    return Inventory(found.values())


def _hashed(pieces: Iterator[bytes], hashed: BackgroundHash) -> Iterator[bytes]:
    for piece in pieces:
        hashed.update(piece)
        yield piece


class _Reader:
    """Reads on from a place in a tar."""

    def __init__(self, packed: PackedTar, at: int) -> None:
        self._packed = packed
        self._at = at

    def read(self, length: int) -> bytes:
        data = self._packed.read_at(self._at, length)
        self._at += length
        return data


def _attributes(entry: Entry) -> tuple[int, int, int, tuple[tuple[str, bytes], ...], int]:
    return entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime


def _write(entry: Entry, writer: LayerWriter) -> None:
    path = entry.path
    if entry.kind == DIR:
        writer.add_dir(path, *_attributes(entry), implied=entry.implied)
    elif entry.kind == SYMLINK:
        writer.add_symlink(path, entry.link, entry.uid, entry.gid, entry.mtime)
    elif entry.kind == HARDLINK:
        writer.add_hardlink(path, entry.link)
    else:
        raise ArchiveError(f"a layer that is kept as its tar has a {entry.kind} at /{path}, and none should be there")
