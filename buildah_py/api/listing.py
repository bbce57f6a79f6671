"""Images of registries, on their way into a manifest list: the store learns all of them but their layers' bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.admitting import admit
from buildah_py.api.manifests import Listed
from buildah_py.api.pulling import RegistryPlace
from buildah_py.image import index as indexes
from buildah_py.image import media_types
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.api.manifests import Said
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store


def from_registry(
    store: Store,
    registry: Registry,
    name: str,
    said: Said,
    *,
    every: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Listed]:
    """Find the image that a registry has under a name, or `every` one of an index; see `manifests.find_images`."""
    reference = references.parse(name).with_default_tag()
    what = f"the image `{reference.familiar}`"
    raw = registry.manifest(reference)
    if raw.descriptor.media_type not in media_types.INDEXES:
        one = _admit(store, registry, reference, raw.descriptor, raw.data, what)
        yield one._replace(platform=said.over(one.platform), annotations=said.annotations)
        return
    index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=what)
    chosen = list(index.manifests) if every else [index.choose(said.wanted(), what, strict=said.chooses)]
    for child in chosen:
        if indexes.DOCKER_REFERENCE_TYPE in child.annotations:
            tell(f"{reference.familiar}: {child.digest} is no image but an attestation, and is left out")
            continue
        data = registry.manifest(reference._replace(tag=None, digest=child.digest)).data
        one = _admit(store, registry, reference, child, data, what)
        yield Listed(one.image, child.platform or one.platform, {**child.annotations, **said.annotations})


def _admit(store: Store, registry: Registry, reference: Reference, found: Descriptor, data: bytes, what: str) -> Listed:
    place = RegistryPlace(registry, reference)
    wanted = found.platform or platforms.host()
    admitted = admit(store, place, found, data, wanted, what, repository=reference.name)
    return Listed(admitted.id, admitted.config.platform)
