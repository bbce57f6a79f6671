"""What registries have, on its way into a manifest list: the store learns images, but not their layers' bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.image.descriptor import Descriptor
from buildah_py.transfer.ingest import admit
from buildah_py.transfer.lists import Listed
from buildah_py.transfer.pull import RegistryPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store
    from buildah_py.transfer.lists import Said


def from_registry(store: Store, registry: Registry, name: str, said: Said, *, every: bool = False) -> Iterator[Listed]:
    """Find the image that a registry has under a name, or `every` entry of an index; see `manifests.find_images`."""
    reference = references.parse(name).with_default_tag()
    what = f"the image `{reference.familiar}`"
    raw = registry.manifest(reference)
    if raw.descriptor.media_type not in media_types.INDEXES:
        one = _admit(store, registry, reference, raw.descriptor, raw.data, what)
        yield one._replace(platform=said.over_any(one.platform), annotations=said.annotations)
        return
    index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=what)
    known: set[str] = set()
    for child in index.manifests if every else [index.choose(said.wanted(), what, strict=said.chooses)]:
        data = registry.manifest(reference._replace(tag=None, digest=child.digest)).data
        one = Listed(child.digest, child.platform, {}, child, reference.name, data)
        if not every or _is_image(child, data, what):
            image = _admit(store, registry, reference, child, data, what)
            if image.id not in known:
                # The same image once more, such as with layers in another compression, is none to the store.
                known.add(image.id)
                one = image._replace(platform=child.platform or image.platform)
        yield one._replace(annotations={**child.annotations, **said.annotations})


def _is_image(child: Descriptor, data: bytes, what: str) -> bool:
    """Whether it is an image of file systems; attestations and artifacts, and indexes, are none."""
    if indexes.DOCKER_REFERENCE_TYPE in child.annotations or child.media_type not in media_types.MANIFESTS:
        return False
    manifest = manifests.from_bytes(data, media_type=child.media_type, what=what)
    layers = all(media_types.compression_of(layer.media_type) for layer in manifest.layers)
    return layers and manifest.config.media_type in media_types.CONFIGS and not manifest.artifact_type


def _admit(store: Store, registry: Registry, reference: Reference, found: Descriptor, data: bytes, what: str) -> Listed:
    place = RegistryPlace(registry, reference)
    wanted = found.platform or platforms.host()
    admitted = admit(store, place, found, data, wanted, what, repository=reference.name)
    # An index that stands in an index has led to a manifest of its own, which the store has.
    own = next(one for one in store.images.repo_digests(admitted.id) if one.digest == admitted.digests[0])
    descriptor = Descriptor(own.media_type, own.digest, len(own.data))
    return Listed(admitted.id, admitted.config.platform, {}, descriptor, reference.name)
