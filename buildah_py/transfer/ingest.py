"""From a manifest to an image of the store: its config, and what is known of its layers, whose bytes stay away."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.errors import ImageError, NotFound
from buildah_py.image import config as image_config
from buildah_py.image import digest as digests
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.store.images import RepoDigest
from buildah_py.store.layers import Origin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.index import Index
    from buildah_py.image.manifest import Manifest
    from buildah_py.image.platform import Platform
    from buildah_py.store import Store

_MAX_DEPTH = 4
_MAX_ASKED = 32
"""Images of an index whose configs are read for their platforms."""


class Place(Protocol):
    """Where manifests and blobs are: a repository of a registry, an OCI layout.

    `kind` and `location` are those of the origins of its layers; without a kind their bytes come in another way.
    """

    kind: str
    location: str

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Give the bytes of a manifest or an index; verified."""
        ...

    def small(self, descriptor: Descriptor) -> bytes:
        """Give the bytes of a blob that is not a layer; verified."""
        ...


class Admitted(NamedTuple):
    """An image that the store knows now. `digests` are those of its manifest and of the indexes that led there."""

    id: str
    config: ImageConfig
    digests: tuple[str, ...]


class Found(NamedTuple):
    """The manifest for a platform, with its descriptor, bytes, and the descriptors of the indexes that led there."""

    manifest: Manifest
    descriptor: Descriptor
    data: bytes
    indexes: tuple[Descriptor, ...]


def ingest(
    store: Store,
    place: Place,
    root: Descriptor,
    data: bytes,
    platform: Platform,
    what: str,
    *,
    names: Sequence[str] = (),
    repository: str = "",
    keep: bool = True,
) -> Admitted:
    """Take an image into the store: `data` is the manifest or index `root`, `what` names it in errors.

    It is called `names`, and known as what `repository` (registry/name, "" for none) has under its digests; without
    `keep` the store only knows its layers. A manifest that stands alone is taken for whatever platform it is, as the
    field does. Raises NotFound where there is nothing for the platform, ImageError for what is not
    an image of file systems.
    """
    found = find_manifest(place, root, data, platform, what)
    config_bytes = place.small(found.manifest.config)
    config = read_config(found.manifest, config_bytes, what)
    image = digests.sha256_of(config_bytes)
    blobs = zip(config.diff_ids, found.manifest.layers, strict=True)
    layers = {diff_id: (layer.size, _origins(place, layer)) for diff_id, layer in blobs}
    own = RepoDigest(repository, found.descriptor.digest, found.descriptor.media_type, found.data)
    indexes = (RepoDigest(repository, one.digest, one.media_type) for one in found.indexes)
    known = (own, *indexes) if repository else ()
    store.promise_image(image, config_bytes if keep else None, layers, config.diff_ids, names=names, repo_digests=known)
    return Admitted(image, config, (found.descriptor.digest, *(one.digest for one in found.indexes)))


def find_manifest(place: Place, root: Descriptor, data: bytes, platform: Platform, what: str) -> Found:
    """Go from an index (or a manifest) to the manifest for a platform."""
    passed: list[Descriptor] = []
    while root.media_type in media_types.INDEXES:
        if len(passed) == _MAX_DEPTH:
            raise ImageError(f"{what} is an index of indexes of indexes, and so on")
        passed.append(root)
        index = indexes.from_bytes(data, media_type=root.media_type, what=what)
        try:
            root = index.choose(platform, what)
        except NotFound:
            root = _described(place, index, what).choose(platform, what)
        data = place.manifest(root)
    return Found(manifests.from_bytes(data, media_type=root.media_type, what=what), root, data, tuple(passed))


def _described(place: Place, index: Index, what: str) -> Index:
    """Say of images that an index names without a platform what their configs say."""
    unknown = [one for one in index.images() if one.platform is None and one.media_type in media_types.MANIFESTS]
    told = {one.digest: one._replace(platform=_platform(place, one, what)) for one in unknown[:_MAX_ASKED]}
    return index._replace(manifests=tuple(told.get(one.digest, one) for one in index.manifests))


def _platform(place: Place, one: Descriptor, what: str) -> Platform | None:
    manifest = manifests.from_bytes(place.manifest(one), media_type=one.media_type, what=what)
    if manifest.config.media_type not in media_types.CONFIGS:
        return None
    there = image_config.from_bytes(place.small(manifest.config), f"the config of {what}").platform
    return there if there.os and there.architecture else None


def read_config(manifest: Manifest, data: bytes, what: str) -> ImageConfig:
    """Read the config of a manifest, and see that both speak of the same layers. Raises ImageError."""
    kind = manifest.artifact_type or manifest.config.media_type
    if manifest.config.media_type not in media_types.CONFIGS:
        raise ImageError(
            f"{what} is not an image but {kind or 'of no stated type'}", hint="only images can be used here"
        )
    config = image_config.from_bytes(data, f"the config of {what}")
    if len(config.diff_ids) != len(manifest.layers):
        raise ImageError(
            f"{what} contradicts itself: its manifest has {len(manifest.layers)} layers, "
            f"and its config {len(config.diff_ids)}"
        )
    for number, (layer, diff_id) in enumerate(zip(manifest.layers, config.diff_ids, strict=True), 1):
        if media_types.compression_of(layer.media_type) is None:
            raise ImageError(f"{what}: layer {number} is {layer.media_type}, which pybuild cannot unpack")
        if not diff_id.startswith("sha256:") or not digests.is_digest(diff_id):
            raise ImageError(f"{what}: the diff_id of layer {number}, {diff_id}, is not a sha256 digest")
    return config


def _origins(place: Place, layer: Descriptor) -> list[Origin]:
    if not place.kind:
        return []
    found = [Origin(place.kind, place.location, layer.digest, layer.media_type, layer.size)]
    return found + [Origin("url", url, layer.digest, layer.media_type, layer.size) for url in layer.urls]
