"""One layer on its way into the store: its bytes are kept as a blob and unpacked as they come."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError, Interrupted
from buildah_py.image.blob import VerifiedStream
from buildah_py.layers.apply import unpack
from buildah_py.layers.compression import decompress
from buildah_py.linux.identity import has_single_id, may_make_devices, uses_userxattr

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.blob import Stream
    from buildah_py.layers.inventory import Captured
    from buildah_py.layers.tree import Tree
    from buildah_py.store import Origin, Store, StoredBlob

_PIECE = 1 << 18


class Arrived(NamedTuple):
    """A layer that was unpacked into the directory `fs`."""

    fs: str
    captured: Captured


def verified(stream: Stream, origin: Origin) -> VerifiedStream:
    """Make a stream of exactly what `origin` says, or ArchiveError."""

    def error(text: str) -> ArchiveError:
        return ArchiveError(f"the blob {origin.digest} in {origin.location} {text}")

    return VerifiedStream(stream, origin.digest, origin.size, error)


class _Kept:
    """Passes a stream on and writes it to a file."""

    def __init__(self, stream: Stream, descriptor: int | None, stopped: Callable[[], bool]) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._stopped = stopped

    def read(self, length: int, /) -> bytes:
        self.check()
        data = self._stream.read(length)
        if self._descriptor is not None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        return data

    def check(self) -> None:
        """Raise Interrupted where nobody waits for the layer any more."""
        if self._stopped():
            raise Interrupted("interrupted while a layer was fetched")

    def drain(self) -> None:
        """Read to the end, which verifies the whole."""
        while self.read(_PIECE):
            pass


def receive(
    store: Store, diff_id: str, origin: Origin, stream: Stream, *, stopped: Callable[[], bool] = lambda: False
) -> Arrived:
    """Unpack the layer `diff_id` from a verifying stream, and keep its bytes as a blob of the store.

    Nothing is kept unless its digests are right. Raises ArchiveError, RegistryError, Interrupted.
    """
    staged = store.stage()
    fs, path = os.path.join(staged, "fs"), os.path.join(staged, "blob")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        captured = _unpack(_Kept(stream, descriptor, stopped), fs, diff_id, origin.location)
    finally:
        os.close(descriptor)
    store.blobs.add(path, origin.digest, diff_id=diff_id, media_type=origin.media_type, size=origin.size)
    return Arrived(fs, captured)


def keep(store: Store, diff_id: str, origin: Origin, stream: Stream, *, stopped: Callable[[], bool]) -> StoredBlob:
    """Keep the bytes of a layer as a blob, without unpacking them."""
    path = os.path.join(store.stage(), "blob")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _Kept(stream, descriptor, stopped).drain()
    finally:
        os.close(descriptor)
    return store.blobs.add(path, origin.digest, diff_id=diff_id, media_type=origin.media_type, size=origin.size)


def unpack_blob(
    store: Store,
    blob: StoredBlob,
    *,
    below: Tree | None = None,
    stopped: Callable[[], bool] = lambda: False,
    moved: meter.Meter = meter.NOTHING,
) -> Arrived:
    """Unpack a layer from a blob of the store; see `unpack` for `below`. Raises ArchiveError where it is damaged."""
    from buildah_py.store import Origin

    origin = Origin("blob", blob.path, blob.digest, blob.media_type, blob.size)
    fs = os.path.join(store.stage(), "fs")
    with verified(open(blob.path, "rb", buffering=0), origin) as stream:
        return Arrived(fs, _unpack(_Kept(moved.reading(stream), None, stopped), fs, blob.diff_id, "the store", below))


def _unpack(stream: _Kept, fs: str, diff_id: str, where: str, below: Tree | None = None) -> Captured:
    os.mkdir(fs, 0o755)
    try:
        captured = unpack(
            decompress(stream),
            fs,
            userxattr=uses_userxattr(),
            owners=not has_single_id(),
            devices=may_make_devices(),  # as the blob stays what it is, the layer may be passed on whole
            expect_diff_id=diff_id,
            below=below,
            check=stream.check,
        )
    except ArchiveError as error:
        stream.drain()  # where the bytes are not those that were asked for, that is what is wrong
        error.message = f"layer {diff_id} from {where}: {error.message}"
        raise
    stream.drain()
    return captured
