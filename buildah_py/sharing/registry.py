"""A cache in a registry: an artifact under a tag, or what an image carries inside of its config."""

from __future__ import annotations

import base64
import binascii
import io
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from buildah_py.errors import CacheAway, CacheError, ImageError, NotFound, RegistryError
from buildah_py.http.retry import RETRIED
from buildah_py.image import descriptor, index, media_types, reference
from buildah_py.image.manifest import Manifest
from buildah_py.image.media_types import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from buildah_py.sharing.artifact import read_manifest
from buildah_py.sharing.backend import ABSENT, MAX_NOTE, StoredNote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.registry import Registry
    from buildah_py.sharing.backend import Open

_MISSING = 404
NOTE: Final = "application/vnd.pybuild.note.v1"
_NOTE_CONFIG: Final = "application/vnd.pybuild.note.config.v1+json"
_TEXT: Final = "vnd.pybuild.note"
_NOTHING: Final = b"{}"
_SETTLED: Final = 1.0
"""Seconds after which a tag that was written is read again: whoever wrote it last has it."""


class RegistryCache:
    """The cache, or the image, that a reference names. Of an image for several platforms it is the one for `platform`.

    `mount_from` are names (`host/repository`) of repositories that may have blobs already.
    """

    kind = "registry"
    claim_ttl = 120.0
    claims_are_dear = True

    def __init__(self, ref: str, registry: Registry, platform: Platform, mount_from: Sequence[str] = ()) -> None:
        self._reference = reference.parse(ref).with_default_tag()
        self._registry = registry
        self._platform = platform
        self._has_config = False
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
            raise _named(self.name, error) from error
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

    def unconditional(self) -> str:
        """Say "": tags have no conditions, but a writer that waits and reads again nearly always knows."""
        return ""

    def read_note(self, name: str) -> StoredNote | None:
        """Return the note that the manifest of a tag holds as an annotation; its version is the manifest's digest."""
        try:
            found = self._registry.pushed_manifest(self._reference.with_tag(name))
        except RegistryError as error:
            if error.status == _MISSING:
                return None
            raise _named(self.name, error) from error
        what = f"{self.name}: {name}"
        try:
            data = base64.b64decode(read_manifest(found.data, what).annotations.get(_TEXT, ""), validate=True)
        except binascii.Error:  # what is no note says nothing, and can be replaced
            data = b""
        return StoredNote(data[:MAX_NOTE], found.descriptor.digest)

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:
        """Push a manifest under a tag, if that is what it should be; wait, and see whether it still is ours.

        Two may both think so whose requests cross, where the later one takes longer than that.
        """
        before = None if over is None else self.read_note(name)
        if over is not None and over != (before.version if before else ABSENT):
            return ABSENT
        config = descriptor.of(_NOTE_CONFIG, _NOTHING)
        layers = tuple({one.digest: one for one in blobs or (config,)}.values())
        text = {_TEXT: base64.b64encode(data).decode("ascii")}
        made = Manifest(config, layers, text, artifact_type=NOTE)
        with _naming(self.name):
            if not self._has_config:
                self._registry.push_blob(self._reference, config, lambda: io.BytesIO(_NOTHING))
                self._has_config = True
            self._registry.push_manifest(self._reference.with_tag(name), made.to_bytes(), OCI_MANIFEST)
        version = made.descriptor().digest
        if over is None:
            return version
        time.sleep(_SETTLED)
        after = self.read_note(name)
        return version if after is not None and after.version == version else ABSENT


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
        raise _named(name, error) from error


def _named(name: str, error: RegistryError) -> CacheError:
    kind = CacheAway if error.status in RETRIED or not error.status else CacheError
    return kind(f"{name}: {error.message}", hint=error.hint)
