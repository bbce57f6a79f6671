"""Manifests sent on from one repository to another byte by byte, with whatever blobs and manifests they lead to."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from buildah_py.errors import ImageError, RegistryError
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.outputs import target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store

_PIECE = 1 << 20
_MAX_DEPTH = 4
_MAX_AT_ONCE = 5


class Copying:
    """The way to one repository.

    Nothing is sent that is there, and nothing is fetched that the store has or a mount brings.
    """

    def __init__(self, store: Store, registry: Registry, to: Reference) -> None:
        self._store = store
        self._registry = registry
        self._to = to._replace(tag=None, digest=None)
        self._staged = ""

    def copy(self, source: Reference, found: Descriptor, data: bytes, depth: int = 0) -> bool:
        """Bring the manifest or index `found`, whose bytes are `data`, there under its digest; whether it was sent.

        Raises RegistryError, ImageError.
        """
        if source.name == self._to.name or self._is_there(found):
            return False
        what = f"{source.name}@{found.digest}"
        if found.media_type in media_types.INDEXES:
            if depth == _MAX_DEPTH:
                raise ImageError(f"{what} is an index of indexes of indexes, and so on")
            for child in indexes.from_bytes(data, media_type=found.media_type, what=what).manifests:
                inner = self._registry.manifest(source._replace(tag=None, digest=child.digest))
                self.copy(source, child, inner.data, depth + 1)
        else:
            manifest = manifests.from_bytes(data, media_type=found.media_type, what=what)
            self._copy_blobs(source, list({one.digest: one for one in (manifest.config, *manifest.layers)}.values()))
        self._registry.push_manifest(self._to, data, found.media_type)
        return True

    def _copy_blobs(self, source: Reference, blobs: Sequence[Descriptor]) -> None:
        self._staged = self._staged or self._store.stage()
        pool = ThreadPoolExecutor(_MAX_AT_ONCE, thread_name_prefix="copy")
        try:
            for future in [pool.submit(self._copy_blob, source, blob) for blob in blobs]:
                future.result()
        except BaseException:
            self._registry.close()  # whatever is being sent is not sent to its end
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()

    def _copy_blob(self, source: Reference, blob: Descriptor) -> None:
        path = os.path.join(self._staged, blob.digest.replace(":", "-"))

        def open_blob() -> BinaryIO:
            if self._store.blobs.use(blob.digest):
                return open(self._store.blobs.path(blob.digest), "rb", buffering=0)
            if not os.path.exists(path):
                with (
                    self._registry.open_blob(source, blob) as stream,
                    target.naming(path),
                    open(f"{path}.part", "wb") as file,
                ):
                    while piece := stream.read(_PIECE):
                        file.write(piece)
                os.rename(f"{path}.part", path)
            return open(path, "rb", buffering=0)

        self._registry.push_blob(
            self._to, blob, open_blob, [source.name, *self._store.layers.repositories_with(blob.digest)]
        )
        if os.path.exists(path):
            os.unlink(path)

    def _is_there(self, found: Descriptor) -> bool:
        try:
            self._registry.resolve(self._to._replace(digest=found.digest), accept=(found.media_type,))
        except RegistryError:
            return False  # if that is not all that is wrong, what follows says so
        return True
