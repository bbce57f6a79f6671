"""Make the tree of a layer that is kept as its tar, whole or only what differs from another layer's tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.header import END, header_size
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.packed import Cursor
from buildah_py.layers.stream import BackgroundHash
from buildah_py.layers.tar import SECOND, padding
from buildah_py.layers.writer import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.layers.packed import PackedTar
    from buildah_py.layers.writer import LayerWriter

_KINDS: Final = frozenset({FILE, DIR, SYMLINK, HARDLINK})


def spread(packed: PackedTar, inventory: Inventory, writer: LayerWriter, diff_id: str, *, only: Inventory) -> None:
    """Write those entries of the layer that `only` has, all of them where it is `inventory` itself.

    The whole tar is read. Raises ArchiveError where it is not the one that `diff_id` names.
    """
    with BackgroundHash() as hashed:
        cursor = Cursor(_hashed(packed.pieces(), hashed))
        for entry in inventory:
            if not entry.implied:
                cursor.skip(header_size(entry, entry.mtime // SECOND))
            wanted = only is inventory or only.get(entry.path) is not None
            if entry.kind == FILE:
                if wanted:
                    _write_file(cursor, entry, writer)
                else:
                    cursor.skip(entry.size)
                cursor.skip(len(padding(entry.size)))
            elif wanted:
                _write(entry, writer)
        for entry in only.whiteouts:
            writer.add_whiteout(entry.path)
        cursor.skip(len(END))
        found = "sha256:" + hashed.hexdigest()
    if found != diff_id:
        raise ArchiveError(f"a stored layer is damaged: its tar has the digest {found}, and it should be {diff_id}")


def difference(inventory: Inventory, base: Inventory) -> Inventory | None:
    """Return what a directory needs to hold that makes the layer of `base` into that of `inventory` when laid over it.

    That is what differs, with the directories that lead there, and whiteouts for what is gone: these hide what layers
    below both have at these paths, too. None where such a directory cannot be: what is no directory became one, or the
    other way round, files have several names, layers have whiteouts of their own.
    """
    found: dict[str, Entry] = {}
    for entry in inventory:
        old = base.get(entry.path)
        if entry.kind not in _KINDS or entry.kind == HARDLINK or entry.opaque or entry.implied:
            return None
        if old == entry:
            continue
        if old is not None and (old.kind == DIR) != (entry.kind == DIR):
            return None
        found[entry.path] = entry
    gone = "/"
    for old in base:
        if old.kind not in _KINDS or old.kind == HARDLINK or old.opaque or old.implied:
            return None
        if inventory.get(old.path) is None and not old.path.startswith(gone):
            found[old.path] = Entry(old.path, WHITEOUT)
            gone = old.path + "/"
    for path in list(found):
        while path:
            path = path.rpartition("/")[0]
            if path in found:
                continue
            above = inventory.get(path)
            if above is None:
                if path:
                    return None
                continue
            found[path] = above
    return Inventory(found.values())


def _hashed(pieces: Iterator[bytes], hashed: BackgroundHash) -> Iterator[bytes]:
    for piece in pieces:
        hashed.update(piece)
        yield piece


def _write_file(cursor: Cursor, entry: Entry, writer: LayerWriter) -> None:
    if entry.size <= SMALL:
        writer.add_small_file(entry, cursor.read(entry.size))
        return
    attributes = (entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
    writer.add_file(entry.path, cursor.some, *attributes, size=entry.size)


def _write(entry: Entry, writer: LayerWriter) -> None:
    path = entry.path
    if entry.kind == DIR:
        attributes = (entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
        writer.add_dir(path, *attributes, implied=entry.implied)
    elif entry.kind == SYMLINK:
        writer.add_symlink(path, entry.link, entry.uid, entry.gid, entry.mtime)
    elif entry.kind == HARDLINK:
        writer.add_hardlink(path, entry.link)
    else:
        raise ArchiveError(f"a layer that is kept as its tar has a {entry.kind} at /{path}, and none should be there")
