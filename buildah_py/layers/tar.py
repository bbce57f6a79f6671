"""Write a layer's canonical tar: the same bytes for the same inventory on any machine."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from buildah_py import meter
from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import FILE, SECOND, WHITEOUT
from buildah_py.layers.files import read_pieces
from buildah_py.layers.header import END, header, opaque_marker, padding
from buildah_py.layers.stream import BackgroundHash, TarStream
from buildah_py.linux.paths import Beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _typeshed import ReadableBuffer

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.packed import PackedTar

_SMALL: Final = 1 << 18
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def pack(
    inventory: Inventory,
    fs: str,
    write: Callable[[ReadableBuffer], object],
    *,
    retime: Callable[[int], int] | None = None,
) -> str:
    """Write the tar of the layer whose files are below `fs`; return its diff_id, `sha256:<hex>`.

    `retime` gives what becomes of an mtime (nanoseconds). Without it the bytes are those that the diff_id of `capture`
    and of a layer writer stands for. Memory stays flat. Raises ArchiveError where a file is not what the inventory
    says: such a layer is damaged.
    """
    root = Beneath(os.open(fs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        with TarStream(write) as stream:
            for entry in tar_order(inventory.entries):
                if entry.implied:
                    if entry.opaque:
                        stream.add(opaque_marker(entry.path))
                    continue
                seconds = (entry.mtime if retime is None else retime(entry.mtime)) // SECOND
                if entry.kind == FILE:
                    if entry.size <= _SMALL:
                        stream.add(header(entry, seconds), _small(root, entry), padding(entry.size))
                    else:
                        stream.add(header(entry, seconds))
                        _large(root, entry, stream)
                        stream.add(padding(entry.size))
                else:
                    stream.add(header(entry, seconds))
                    if entry.opaque:
                        stream.add(opaque_marker(entry.path))
            stream.add(END)
            return stream.finish()
    finally:
        root.close()


def measure(inventory: Inventory, fs: str) -> tuple[str, int]:
    """Return diff_id and length of the tar that `pack` would write, with the same errors."""
    size = 0

    def count(data: ReadableBuffer) -> None:
        nonlocal size
        length = memoryview(data).nbytes
        size += length
        moved.add(length)

    with meter.start("reading a layer", sum(entry.size for entry in inventory.entries)) as moved:
        return pack(inventory, fs, count), size


def pass_on(packed: PackedTar, write: Callable[[ReadableBuffer], object], diff_id: str) -> str:
    """Write the tar of a layer that is kept as one; return its diff_id. Raises ArchiveError where it is another."""
    with BackgroundHash() as hashed:
        for piece in packed.pieces():
            hashed.update(piece)
            write(piece)
        found = "sha256:" + hashed.hexdigest()
    if found != diff_id:
        raise ArchiveError(
            f"a stored layer is damaged: its tar has the digest {found}, and it should be {diff_id}",
            hint="`pybuild fsck --repair` drops the layer; the next build makes it again",
        )
    return found


def tar_order(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Return an inventory's entries as they stand in the tar: a directory's whiteouts before its other children."""
    if any(entry.kind == WHITEOUT for entry in entries):
        return sorted(entries, key=tar_key)
    return entries


def tar_key(entry: Entry) -> bytes:
    """Return what orders the entries of a tar."""
    key = entry.path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")
    if entry.kind != WHITEOUT:
        return b"\0" + key if key else b""
    parent, separator, name = key.rpartition(b"\0")
    return b"\0" + parent + separator + b"\0" + name


def _small(root: Beneath, entry: Entry) -> bytes:
    descriptor = _open(root, entry)
    try:
        data = os.read(descriptor, entry.size + 1)
    except IsADirectoryError:
        raise _damaged(entry) from None
    finally:
        os.close(descriptor)
    if len(data) != entry.size or "sha256:" + hashlib.sha256(data).hexdigest() != entry.digest:
        raise _damaged(entry)
    return data


def _large(root: Beneath, entry: Entry, stream: TarStream) -> None:
    hashed = hashlib.sha256()
    descriptor = _open(root, entry)
    try:
        if os.fstat(descriptor).st_size != entry.size:
            raise _damaged(entry)
        for piece in read_pieces(descriptor, entry.size):
            stream.add_large(piece)
            hashed.update(piece)
    except EOFError:
        raise _damaged(entry) from None
    finally:
        os.close(descriptor)
    if "sha256:" + hashed.hexdigest() != entry.digest:
        raise _damaged(entry)


def _open(root: Beneath, entry: Entry) -> int:
    try:
        return root.open(entry.path, _OPEN)
    except OSError as error:
        raise ArchiveError(
            f"/{entry.path} of a stored layer cannot be read: {error.strerror}", hint="check the store"
        ) from error


def _damaged(entry: Entry) -> ArchiveError:
    return ArchiveError(
        f"a stored layer is damaged: /{entry.path} is not what it was when the layer was made",
        hint="`pybuild fsck --repair` drops the layer; the next build makes it again",
    )
