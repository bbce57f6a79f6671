"""Manifests copied from one repository to another as they are, with whatever blobs and manifests they lead to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import RegistryError
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.outputs import target

if TYPE_CHECKING:
    from typing import BinaryIO

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store

_PIECE = 1 << 20
_MAX_DEPTH = 4


def copy_manifest(
    store: Store, registry: Registry, source: Reference, to: Reference, found: Descriptor, data: bytes, depth: int = 0
) -> None:
    """Bring the manifest or index `found`, whose bytes are `data`, from one repository to another, under its digest.

    Nothing is sent that is there; what the registry can mount is not fetched. Raises RegistryError, ImageError.
    """
    there = to._replace(tag=None, digest=found.digest)
    if source.name == to.name or _is_there(registry, there, found):
        return
    what = f"{source.name}@{found.digest}"
    if found.media_type in media_types.INDEXES:
        if depth == _MAX_DEPTH:
            raise RegistryError(f"{what} is an index of indexes of indexes, and so on")
        for child in indexes.from_bytes(data, media_type=found.media_type, what=what).manifests:
            inner = registry.manifest(source._replace(tag=None, digest=child.digest))
            copy_manifest(store, registry, source, to, child, inner.data, depth + 1)
    else:
        manifest = manifests.from_bytes(data, media_type=found.media_type, what=what)
        for blob in dict.fromkeys([manifest.config.digest, *(layer.digest for layer in manifest.layers)]):
            one = next(one for one in (manifest.config, *manifest.layers) if one.digest == blob)
            copy_blob(store, registry, source, to, one)
    registry.push_manifest(to._replace(tag=None, digest=None), data, found.media_type)


def copy_blob(store: Store, registry: Registry, source: Reference, to: Reference, blob: Descriptor) -> None:
    """Bring a blob from one repository to another, by way of a file if need be."""
    path = ""

    def open_blob() -> BinaryIO:
        nonlocal path
        if not path:
            path = os.path.join(store.stage(), "blob")
            with (
                registry.open_blob(source, blob) as stream,
                target.naming(path),
                open(path, "xb") as file,
            ):
                while piece := stream.read(_PIECE):
                    file.write(piece)
        return open(path, "rb", buffering=0)

    registry.push_blob(to, blob, open_blob, [source.name])
    if path:
        os.unlink(path)


def _is_there(registry: Registry, reference: Reference, found: Descriptor) -> bool:
    try:
        registry.resolve(reference, accept=(found.media_type,))
    except RegistryError:
        return False  # if that is not all that is wrong, what follows says so
    return True
