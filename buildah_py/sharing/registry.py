"""A cache in a registry: an artifact under a tag, or what an image carries inside of its config."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildah_py.errors import CacheError, ImageError, NotFound, RegistryError
from buildah_py.image import index, media_types, reference
from buildah_py.image.media_types import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.registry import Registry
    from buildah_py.sharing.backend import Open

_MISSING = 404


class RegistryCache:
    """The cache, or the image, that a reference names. Of an image for several platforms it is the one for `platform`.

    `mount_from` are names (`host/repository`) of repositories that may have blobs already.
    """

    kind = "registry"

    def __init__(self, ref: str, registry: Registry, platform: Platform, mount_from: Sequence[str] = ()) -> None:
        self._reference = reference.parse(ref).with_default_tag()
        self._registry = registry
        self._platform = platform
        self._mount_from = tuple(name for name in mount_from if name != self._reference.name)
        self.name = f"registry {self._reference.familiar}"
        self.location = self._reference.name

    def manifest(self) -> bytes | None:
        """Return the manifest."""
        try:
            found = self._registry.manifest(
                self._reference, accept=(OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX)
            )
            if found.descriptor.media_type in media_types.INDEXES:
                several = index.from_bytes(found.data, media_type=found.descriptor.media_type, what=self.name)
                chosen = several.choose(self._platform, self.name)
                found = self._registry.manifest(self._reference.with_digest(chosen.digest))
        except RegistryError as error:
            if error.status == _MISSING:
                return None
            raise CacheError(f"{self.name}: {error.message}", hint=error.hint) from error
        except (ImageError, NotFound) as error:
            raise CacheError(error.message, hint=error.hint) from error
        return found.data

    def open(self, blob: Descriptor) -> _Stream:
        """Open a blob; other addresses that a cache may name for it are not asked."""
        with _naming(self.name):
            return _Stream(self.name, self._registry.open_blob(self._reference, blob._replace(urls=())))

    def has(self, blob: Descriptor) -> bool:
        """Whether the repository has a blob."""
        with _naming(self.name):
            return self._registry.has_blob(self._reference, blob.digest)

    def put(self, blob: Descriptor, source: Open) -> None:
        """Push a blob, or have it mounted from another repository of that registry."""
        with _naming(self.name):
            self._registry.push_blob(self._reference, blob, source, self._mount_from)

    def put_manifest(self, data: bytes) -> None:
        """Push the manifest."""
        with _naming(self.name):
            self._registry.push_manifest(self._reference, data, OCI_MANIFEST)


class _Stream:
    """A blob on its way, with errors of ours."""

    def __init__(self, name: str, stream: Stream) -> None:
        self._name = name
        self._stream = stream

    def read(self, length: int, /) -> bytes:
        with _naming(self._name):
            return self._stream.read(length)

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Make errors of the registry errors of the cache."""
    try:
        yield
    except RegistryError as error:
        raise CacheError(f"{name}: {error.message}", hint=error.hint) from error
