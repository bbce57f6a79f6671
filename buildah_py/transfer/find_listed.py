"""Find the images that are to be in a manifest list: in the store, in another list, or in a registry.

Of what registries have, the store learns the images, but not their layers' bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, PybuildError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.image.descriptor import Descriptor
from buildah_py.store.names import full_name
from buildah_py.transfer.ingest import ingest
from buildah_py.transfer.lists import DOCKER, Listed, listed
from buildah_py.transfer.pull import RegistryPlace, find_local

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildah_py.image.reference import Reference
    from buildah_py.registry import Registry
    from buildah_py.store import Store
    from buildah_py.transfer.lists import Said


def find_images(
    store: Store,
    registry: Callable[[], Registry],
    name: str,
    said: Said,
    *,
    every: bool = False,
) -> Iterator[Listed]:
    """Find an image that is to be in a list, or `every` one of an index or of another list.

    The image is looked for in the store, then in its registry; one that is written `docker://NAME` only there. Of an
    index the image is taken that suits what is `said` of the platform, or else this machine. Raises NotFound,
    RegistryError, ImageError, UsageError.
    """
    if not name.startswith(DOCKER):
        other = _other_list(store, name)
        if other and every:
            yield from listed(store, other)
            return
        image, _ = find_local(store, name, said.wanted())
        if image is not None and not (every and _came_from_an_index(store, image.id, name)):
            own = image_config.from_bytes(image.config, f"the config of {name}").platform
            yield Listed(image.id, said.over(own), said.annotations)
            return
        if other:
            yield _suiting(listed(store, other), said, name)
            return
    yield from _from_registry(store, registry(), name.removeprefix(DOCKER), said, every=every)


def _other_list(store: Store, name: str) -> str:
    """Return the full name of a list that is called so, "" where there is none."""
    try:
        full = full_name(name)
    except PybuildError:
        return ""
    return full if store.manifest_lists.get(full) is not None else ""


def _came_from_an_index(store: Store, image: str, name: str) -> bool:
    """Whether a registry has more under that name than the image that the store has."""
    try:
        own = references.parse(name).name
    except UsageError:
        return False
    return any(known.name == own and known.is_index for known in store.images.repo_digests(image))


def _suiting(offered: Sequence[Listed], said: Said, name: str) -> Listed:
    offered = [one for one in offered if not one.manifest]
    position = platforms.choose(said.wanted(), [one.platform for one in offered])
    if position is None:
        raise NotFound(f"the manifest list {name} has no image for {said.wanted()}")
    one = offered[position]
    return one._replace(annotations={**one.annotations, **said.annotations})


def _from_registry(store: Store, registry: Registry, name: str, said: Said, *, every: bool = False) -> Iterator[Listed]:
    """Find the image that a registry has under a name, or `every` entry of an index."""
    reference = references.parse(name).with_default_tag()
    what = f"the image `{reference.familiar}`"
    raw = registry.manifest(reference)
    if raw.descriptor.media_type not in media_types.INDEXES:
        one = _ingest(store, registry, reference, raw.descriptor, raw.data, what)
        yield one._replace(platform=said.over_any(one.platform), annotations=said.annotations)
        return
    index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=what)
    known: set[str] = set()
    for child in index.manifests if every else [index.choose(said.wanted(), what, strict=said.chooses)]:
        data = registry.manifest(reference._replace(tag=None, digest=child.digest)).data
        one = Listed(child.digest, child.platform, {}, child, reference.name, data)
        if not every or _is_image(child, data, what):
            image = _ingest(store, registry, reference, child, data, what)
            if image.id not in known:
                # The same image once more, such as with layers in another compression, is none to the store.
                known.add(image.id)
                one = image._replace(platform=child.platform or image.platform)
        yield one._replace(annotations={**child.annotations, **said.annotations})


def _is_image(child: Descriptor, data: bytes, what: str) -> bool:
    """Whether it is an image of file systems; attestations, artifacts and indexes are not."""
    if indexes.DOCKER_REFERENCE_TYPE in child.annotations or child.media_type not in media_types.MANIFESTS:
        return False
    manifest = manifests.from_bytes(data, media_type=child.media_type, what=what)
    layers = all(media_types.compression_of(layer.media_type) for layer in manifest.layers)
    return layers and manifest.config.media_type in media_types.CONFIGS and not manifest.artifact_type


def _ingest(
    store: Store, registry: Registry, reference: Reference, found: Descriptor, data: bytes, what: str
) -> Listed:
    place = RegistryPlace(registry, reference)
    wanted = found.platform or platforms.host()
    admitted = ingest(store, place, found, data, wanted, what, repository=reference.name)
    # An index that stands in an index has led to a manifest of its own, which the store has.
    own = next(one for one in store.images.repo_digests(admitted.id) if one.digest == admitted.digests[0])
    descriptor = Descriptor(own.media_type, own.digest, len(own.data))
    return Listed(admitted.id, admitted.config.platform, {}, descriptor, reference.name)
