"""Images that are pushed and pulled."""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.image import descriptor, media_types
from buildah_py.image.manifest import Manifest

if TYPE_CHECKING:
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry


class Image(NamedTuple):
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            descriptor.of(media_types.OCI_CONFIG, self.config),
            tuple(descriptor.of(media_types.OCI_LAYER_GZIP, layer) for layer in self.layers),
        )

    def blobs(self) -> list[tuple[Descriptor, bytes]]:
        manifest = self.manifest
        return [(manifest.config, self.config), *zip(manifest.layers, self.layers, strict=True)]


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def image(*sizes: int, seed: int = 0) -> Image:
    return Image(b'{"seed":%d}' % seed, tuple(noise(size, seed + number) for number, size in enumerate(sizes, 1)))


def push(registry: Registry, reference: Reference, made: Image) -> list[str]:
    """Push an image; how its blobs came there."""
    ways = [registry.push_blob(reference, what, lambda data=data: io.BytesIO(data)) for what, data in made.blobs()]  # type: ignore[misc]
    data = made.manifest.to_bytes()
    reference = reference.with_default_tag()
    assert registry.push_manifest(reference, data, media_types.OCI_MANIFEST) == descriptor.of("", data).digest
    return [str(way) for way in ways]


def pull(registry: Registry, reference: Reference) -> Image:
    """Pull an image."""
    from buildah_py.image.manifest import from_bytes

    got = registry.manifest(reference)
    manifest = from_bytes(got.data, media_type=got.descriptor.media_type)
    bodies = []
    for what in (manifest.config, *manifest.layers):
        with registry.open_blob(reference, what) as stream:
            bodies.append(stream.read())
    return Image(bodies[0], tuple(bodies[1:]))
