"""The forms in which layers of the store are sent: found in the store, or made and kept there for the next time."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import ArchiveError
from buildah_py.image import media_types
from buildah_py.image.descriptor import Descriptor
from buildah_py.outputs import compress, target
from buildah_py.outputs.archive import spool
from buildah_py.outputs.layer_source import Blob, LayerSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from buildah_py.outputs.layer_source import Write
    from buildah_py.outputs.spec import Output
    from buildah_py.store import Store, StoredBlob

_PIECE = 1 << 20


class Form(NamedTuple):
    """How layers are to be compressed. Layers from elsewhere are passed on as they came, unless `force` is set."""

    compression: str = media_types.GZIP
    level: int | None = None
    force: bool = False
    docker_types: bool = False

    def takes_original(self, compression: str | None) -> bool:
        """Whether a layer may be sent as it came."""
        if compression is None or (self.docker_types and compression == media_types.ZSTD):
            return False
        return compression == self.compression or not self.force


def form_of(output: Output) -> Form:
    """Give the form that an output asks for. Layers for a daemon of this machine are compressed only if asked for."""
    local = output.type == "docker" and output.dest is None
    return Form(
        output.compression or (media_types.UNCOMPRESSED if local else media_types.GZIP),
        output.level,
        output.force_compression,
        output.oci_media_types is False,
    )


class LayerBlobs:
    """Layers of `store` in one form. `fetch` has a blob of an absent layer brought here; without it the layer is."""

    def __init__(
        self, store: Store, form: Form, *, fetch: Callable[[str], StoredBlob] | None = None, threads: int = 0
    ) -> None:
        self.form = form
        self._store = store
        self._fetch = fetch or store.fetch_blob
        self._threads = threads
        self._staged = ""

    def known(self, diff_id: str) -> Blob | None:
        """Return the layer's blob in that form, if it is in the store."""
        name = ""
        for stored in self._store.blobs.of(diff_id):
            compression = media_types.compression_of(stored.media_type)
            if not stored.compressor:
                suits = self.form.takes_original(compression) and self._is_as_it_should_be(diff_id, compression)
            else:
                name = name or compress.compressor(self.form.compression, self.form.level)
                suits = stored.compressor == name
            if suits and compression and self._store.blobs.use(stored.digest):
                return Blob(compression, stored.digest, stored.size, stored.path, original=not stored.compressor)
        return None

    def _is_as_it_should_be(self, diff_id: str, compression: str | None) -> bool:
        """Tell whether a layer has a compression to keep.

        Archives of Docker's hold layers that are not compressed only because archives are not.
        """
        wanted = self.form.compression
        return compression != media_types.UNCOMPRESSED or wanted == compression or self._is_elsewhere(diff_id)

    def _is_elsewhere(self, diff_id: str) -> bool:
        return bool(self._store.layers.origins(diff_id))

    def descriptor(self, diff_id: str) -> Descriptor | None:
        """Return the descriptor that the layer will be sent with, where it is known before it is here or compressed."""
        blob = self.known(diff_id)
        if blob is not None:
            return self.describe(blob)
        layer = self._store.layers.get(diff_id)
        if layer is None or not (layer.absent or layer.foreign):
            return None
        for origin in self._store.layers.origins(diff_id):
            compression = media_types.compression_of(origin.media_type)
            if compression is not None and self.form.takes_original(compression):
                return Descriptor(self._media_type(compression), origin.digest, origin.size)
        return None

    def describe(self, blob: Blob) -> Descriptor:
        """Return the descriptor of a blob."""
        return Descriptor(self._media_type(blob.compression), blob.digest, blob.size)

    def mountable(self, diff_id: str, digest: str) -> list[str]:
        """Return the repositories that are known to have the blob."""
        origins = self._store.layers.origins(diff_id)
        return [origin.location for origin in origins if origin.kind == "registry" and origin.digest == digest]

    def sources(self, diff_ids: Sequence[str]) -> list[LayerSource]:
        """Layers for an output that needs their bytes; those that are absent are fetched."""
        return [self.source(diff_id) for diff_id in diff_ids]

    def source(self, diff_id: str) -> LayerSource:
        """Return a layer for an output that needs its bytes."""
        layer = self._store.layers.get(diff_id)
        blob = self.known(diff_id)
        if blob is None and layer is not None and layer.absent:
            self._original(diff_id)
            blob = self.known(diff_id)
        elsewhere = layer is not None and (layer.foreign or layer.absent)
        write_tar = self._unpacked(diff_id) if elsewhere else partial(self._store.write_tar, diff_id)
        size = layer.size if layer is not None and not layer.absent and not layer.foreign else 0
        return LayerSource(diff_id, write_tar, (blob,) if blob else (), size)

    def make(self, sources: Iterable[LayerSource], stopped: Callable[[], bool] = lambda: False) -> Iterator[Blob]:
        """Compress layers, one after the other, and keep what comes of it."""
        todo = list(sources)
        if not todo:
            return
        form = self.form
        with compress.LayerStreams(todo, form.compression, form.level, threads=self._threads) as streams:
            for source in todo:
                yield self.keep(source, _until(streams.pieces(), stopped))

    def keep(self, source: LayerSource, pieces: Iterable[bytes]) -> Blob:
        """Write a compressed layer to a file, and have the store keep it if it knows the layer."""
        if not self._staged:
            self._staged = self._store.stage()
        path = target.beside(os.path.join(self._staged, "blob"))
        with target.naming(path):
            out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        known = source.diff_id if self.form.compression == media_types.UNCOMPRESSED else ""
        try:
            digest, size = spool(pieces, out, path, known)
        finally:
            os.close(out)
        if not known and self._store.layers.get(source.diff_id) is not None:
            path = self._store.blobs.add(
                path,
                digest,
                diff_id=source.diff_id,
                media_type=media_types.layer(self.form.compression),
                size=size,
                compressor=compress.compressor(self.form.compression, self.form.level),
            ).path
        return Blob(self.form.compression, digest, size, path)

    def _media_type(self, compression: str) -> str:
        return media_types.layer(compression, docker=self.form.docker_types)

    def _original(self, diff_id: str) -> StoredBlob | None:
        """Return the layer as it came, fetched if it is not here."""
        for stored in self._store.blobs.of(diff_id):
            if not stored.compressor and self._store.blobs.use(stored.digest):
                return stored
        if self._fetch is not None and self._store.layers.can_be_had(diff_id):
            return self._fetch(diff_id)
        self._store.need([diff_id])
        return next((one for one in self._store.blobs.of(diff_id) if not one.compressor), None)

    def _unpacked(self, diff_id: str) -> Callable[[Write], str]:
        """Return the tar of a layer that others made: what our own would be need not have the same bytes."""

        def write_tar(write: Write) -> str:
            import hashlib

            from buildah_py.layers.compression import decompress

            blob = self._original(diff_id)
            if blob is None:  # it was imported, and its tar was ours
                return self._store.write_tar(diff_id, write)
            hashed = hashlib.sha256()
            with open(blob.path, "rb", buffering=0) as file:
                reader = decompress(file)
                while piece := reader.read(_PIECE):
                    hashed.update(piece)
                    write(piece)
            found = f"sha256:{hashed.hexdigest()}"
            if found != diff_id:
                raise ArchiveError(
                    f"the blob {blob.digest} of the store is damaged: its layer is {found}, expected {diff_id}",
                    hint="`pybuild fsck --repair` removes it; then pull the image again",
                )
            return found

        return write_tar


def _until(pieces: Iterable[bytes], stopped: Callable[[], bool]) -> Iterator[bytes]:
    from buildah_py.errors import Interrupted

    for piece in pieces:
        if stopped():
            raise Interrupted("interrupted")
        yield piece
