"""Cache mounts on their way to a cache and back: only contents that the cache lacks are packed and sent."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from buildah_py.errors import CacheError
from buildah_py.image import descriptor
from buildah_py.image.descriptor import Descriptor
from buildah_py.layers.capture import capture
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux.mounts import open_inert
from buildah_py.linux.paths import Beneath, open_beneath
from buildah_py.sharing import artifact
from buildah_py.sharing.backend import read_blob, verified
from buildah_py.sharing.snapshot import MAX_COMPRESSED, Pack, Piece, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.sharing.backend import Backend

PACK_SIZE: Final = 16 << 20
_PIECE: Final = 1 << 20
_LEVEL: Final = 3
_MAX_SMALL: Final = 32
_CHANGED: Final = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES}
"""Errors of opening something that was a file or directory a moment ago: of a device it is EACCES."""


class Packed(NamedTuple):
    """A snapshot's own blob with its bytes, the blobs of its packs, and the files that hold those that are new."""

    blob: Descriptor
    data: bytes
    packs: tuple[Descriptor, ...]
    files: Mapping[str, str]


def pack_mount(directory: str, before: Snapshot | None, staged: str) -> Packed:
    """Make a snapshot of what `directory` holds; contents stay where `before` has them, if that pack is mostly in use.

    New packs are written to files in `staged`. Sockets, devices and pipes are left out. Containers may be at work in
    the directory: nothing outside of it and no device is opened, whatever they do. Raises CacheError where what is
    there changes meanwhile.
    """
    top = Beneath(open_inert(directory))
    try:
        return _pack(top, before, staged)
    except OSError as error:
        if error.errno not in _CHANGED:
            raise
        raise CacheError(
            f"a cache mount changed while it was read: {error.filename or directory}: {error.strerror}",
            hint="is another build using it?",
        ) from error
    finally:
        top.close()


def _pack(top: Beneath, before: Snapshot | None, staged: str) -> Packed:
    inventory = Inventory(_plain(capture(f"/proc/self/fd/{top.top}", ()).inventory))
    needed = {entry.digest: entry for entry in inventory if entry.kind == FILE and entry.size}
    kept, pieces = _kept(before, needed)
    packs = [before.packs[number] for number in kept] if before is not None else []
    files: dict[str, str] = {}
    for contents in _runs([entry for digest, entry in needed.items() if digest not in pieces]):
        path = os.path.join(staged, f"pack-{len(files)}")
        pack = _write_pack(top, contents, path)
        offset = 0
        for entry in contents:
            pieces[entry.digest] = Piece(len(packs), offset, entry.size)
            offset += entry.size
        packs.append(pack)
        files[pack.blob.digest] = path
    data = Snapshot(inventory, packs, pieces).to_bytes()
    return Packed(descriptor.of(artifact.MOUNT, data), data, tuple(pack.blob for pack in packs), files)


def read_snapshot(backend: Backend, blob: Descriptor, count: Callable[[int], object] = lambda _: None) -> Snapshot:
    """Read the snapshot that a cache names. Raises CacheError."""
    return Snapshot.from_bytes(read_blob(backend, blob, MAX_COMPRESSED, count), f"{backend.name}: a cache mount")


def restore(
    snapshot: Snapshot,
    backend: Backend,
    directory: str,
    *,
    owners: bool = True,
    count: Callable[[int], object] = lambda _: None,
) -> None:
    """Write what a snapshot holds into the empty directory `directory`. Raises CacheError where a content is another.

    Nothing is written outside of it: names were looked at when the snapshot was read, and links are not followed.
    """
    total = sum(entry.size for entry in snapshot.inventory if entry.kind == FILE)
    status = os.statvfs(directory)
    if total > status.f_bavail * status.f_frsize:
        raise CacheError(f"{backend.name}: the cache mount has {total} bytes, more than there is space for")
    paths: dict[str, list[Entry]] = {}
    with LayerWriter(directory, digest=False, owners=owners) as writer, ExitStack() as held:
        top = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, top)
        for entry in snapshot.inventory:
            if entry.kind == DIR:
                writer.add_dir(entry.path, entry.mode, entry.uid, entry.gid, (), entry.mtime)
            elif entry.kind == FILE and entry.size:
                paths.setdefault(entry.digest, []).append(entry)
            elif entry.kind == FILE:
                writer.add_file(entry.path, b"", entry.mode, entry.uid, entry.gid, (), entry.mtime)
            elif entry.kind == SYMLINK:
                writer.add_symlink(entry.path, entry.link, entry.uid, entry.gid, entry.mtime)
        for number, pack in enumerate(snapshot.packs):
            wanted = sorted(
                (piece.offset, digest)
                for digest, piece in snapshot.pieces.items()
                if piece.pack == number and digest in paths
            )
            if wanted:
                with _Contents(backend, pack, count) as contents:
                    for offset, digest in wanted:
                        contents.skip(offset)
                        _write_content(writer, contents, paths[digest], top)
        for entry in snapshot.inventory:
            if entry.kind == HARDLINK:
                writer.add_hardlink(entry.path, entry.link)
        writer.finish()


def _write_content(writer: LayerWriter, contents: _Contents, entries: Sequence[Entry], top: int) -> None:
    first = entries[0]
    written = writer.add_file(
        first.path, contents.read, first.mode, first.uid, first.gid, (), first.mtime, size=first.size
    )
    if written.digest != first.digest:
        raise CacheError(f"{contents.what}: the content of /{first.path} is not what it should be")
    for entry in entries[1:]:
        source = open_beneath(top, first.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            writer.add_file(entry.path, source, entry.mode, entry.uid, entry.gid, (), entry.mtime)
        finally:
            os.close(source)


class _Contents:
    """Reads a pack from its beginning to its end, as it was before compression."""

    def __init__(self, backend: Backend, pack: Pack, count: Callable[[int], object]) -> None:
        import zstandard

        self.what = backend.name
        self._stream = verified(backend.open(pack.blob), pack.blob, backend.name, count)
        source: Any = self._stream
        self._reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(source)
        self._damage = zstandard.ZstdError
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def read(self, length: int) -> bytes:
        """Return the next bytes."""
        try:
            data = bytes(self._reader.read(length))
        except self._damage as error:
            raise CacheError(f"{self.what}: a pack is damaged: {error}") from error
        if not data:
            raise CacheError(f"{self.what}: a pack is cut short")
        self._at += len(data)
        return data

    def skip(self, offset: int) -> None:
        """Go on to `offset`."""
        if offset < self._at:
            raise CacheError(f"{self.what}: the contents of a pack overlap")
        while self._at < offset:
            self.read(min(_PIECE, offset - self._at))


def _plain(inventory: Inventory) -> Iterator[Entry]:
    """Yield the entries that a snapshot can hold, without attributes that mean something to this machine alone."""
    for entry in inventory:
        if entry.kind in (FILE, DIR, SYMLINK, HARDLINK):
            yield entry._replace(xattrs=(), opaque=False, implied=False)


def _kept(before: Snapshot | None, needed: Mapping[str, object]) -> tuple[list[int], dict[str, Piece]]:
    """Return the packs of an earlier snapshot of which at least half is still needed, and what is taken from them."""
    if before is None:
        return [], {}
    live = [0] * len(before.packs)
    for digest in needed:
        if digest in before.pieces:
            live[before.pieces[digest].pack] += before.pieces[digest].size
    kept = [number for number, pack in enumerate(before.packs) if live[number] and 2 * live[number] >= pack.size]
    small = [number for number in kept if before.packs[number].size < PACK_SIZE // 4]
    if len(small) > _MAX_SMALL:  # each export adds one: they become one again
        kept = [number for number in kept if number not in small]
    place = {number: position for position, number in enumerate(kept)}
    pieces = {
        digest: before.pieces[digest]._replace(pack=place[before.pieces[digest].pack])
        for digest in needed
        if digest in before.pieces and before.pieces[digest].pack in place
    }
    return kept, pieces


def _runs(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Gather contents, in the order of their paths, into packs of about PACK_SIZE; a large one has its own."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        if entry.size >= PACK_SIZE // 4:
            yield [entry]
            continue
        run.append(entry)
        size += entry.size
        if size >= PACK_SIZE:
            yield run
            run, size = [], 0
    if run:
        yield run


def _write_pack(top: Beneath, entries: Sequence[Entry], path: str) -> Pack:
    import zstandard

    hashed, size = hashlib.sha256(), 0
    with open(path, "xb") as out:

        def write(data: bytes) -> None:
            nonlocal size
            hashed.update(data)
            size += len(data)
            out.write(data)

        stream = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        for entry in entries:
            for data in _content(top, entry):
                write(stream.compress(data))
        write(stream.flush())
    total = sum(entry.size for entry in entries)
    return Pack(Descriptor(artifact.PACK, f"sha256:{hashed.hexdigest()}", size), total)


def _content(top: Beneath, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a file, which have to be those that were seen before."""
    try:
        descriptor_ = top.open(entry.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _changed(entry) from error
    hashed, left = hashlib.sha256(), entry.size
    try:
        if not stat.S_ISREG(os.fstat(descriptor_).st_mode):
            raise _changed(entry)
        while left and (data := os.read(descriptor_, min(_PIECE, left))):
            hashed.update(data)
            left -= len(data)
            yield data
    finally:
        os.close(descriptor_)
    if left or f"sha256:{hashed.hexdigest()}" != entry.digest:
        raise _changed(entry)


def _changed(entry: Entry) -> CacheError:
    return CacheError(f"/{entry.path} of a cache mount changed while it was read", hint="is another build using it?")
