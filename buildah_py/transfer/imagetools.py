"""Images of registries, put together under another name, or looked at: what `buildx imagetools` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError, NotFound, RegistryError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import descriptor as descriptors
from buildah_py.image import index as indexes
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.image import reference as references
from buildah_py.image.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.image.reference import Reference
    from buildah_py.registry import RawManifest, Registry
    from buildah_py.store import Store

_LARGEST_CONFIG = 8 << 20


class NamedManifest(NamedTuple):
    """A manifest or index of a registry, and the repository that has it."""

    place: Reference
    found: Descriptor
    data: bytes


class Combined(NamedTuple):
    """Manifest that is pushed under a name: its media type and bytes, and all manifests that have to be there first."""

    media_type: str
    data: bytes
    children: tuple[NamedManifest, ...]


def find_sources(registry: Registry, texts: Sequence[str], targets: Sequence[str]) -> list[NamedManifest]:
    """Fetch the manifests that are named: by a name, a digest in the target's repository, or a descriptor as JSON.

    Raises UsageError, RegistryError.
    """
    return [_find(registry, text, targets) for text in texts]


def _find(registry: Registry, text: str, targets: Sequence[str]) -> NamedManifest:
    said: dict[str, Any] = {}
    if text.startswith("{"):
        try:
            said = json.loads(text)
            text = str(said["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"`{text}` is not a descriptor: {error}", hint='{"digest": "sha256:…", …}') from error
    if text.startswith("sha256:"):
        if not targets:
            raise UsageError(f"{text} names no repository", hint="add -t NAME, or write NAME@DIGEST")
        place = references.parse(targets[0])._replace(tag=None, digest=text)
    else:
        place = references.parse(text).with_default_tag()
    raw = registry.manifest(place)
    found = raw.descriptor
    if said:
        given = descriptors.from_dict({**found.to_dict(), **said}, "the descriptor")
        found = found._replace(platform=given.platform, annotations=given.annotations)
    return NamedManifest(place._replace(tag=None, digest=None), found, raw.data)


def combine(
    registry: Registry,
    sources: Sequence[NamedManifest],
    annotations: Mapping[str, str],
    *,
    prefer_index: bool = True,
    platforms: Collection[Platform] = (),
) -> Combined:
    """Make the index of all images that the sources have, or of those for `platforms`. Raises UsageError, NotFound.

    One source alone stays as it is, unless it has to lose some of its images.
    """
    if not sources:
        raise UsageError("there is nothing to put together", hint="name images of registries")
    is_index = sources[0].found.media_type in media_types.INDEXES
    if len(sources) == 1 and not annotations and not platforms and (is_index or not prefer_index):
        return Combined(sources[0].found.media_type, sources[0].data, tuple(sources))
    children: dict[str, NamedManifest] = {}
    for source in sources:
        if source.found.media_type in media_types.INDEXES:
            index = indexes.from_bytes(source.data, media_type=source.found.media_type, what=str(source.place))
            annotations = {**index.annotations, **annotations}
            for child in index.manifests:
                if platforms and not _is_for(child, platforms):
                    continue
                raw = registry.manifest(source.place._replace(digest=child.digest))
                children.setdefault(child.digest, NamedManifest(source.place, child, raw.data))
        else:
            found = _with_platform(registry, source)
            if not platforms or _is_for(found.found, platforms):
                children.setdefault(source.found.digest, found)
    for wanted in platforms:
        if not any(_is_for(one.found, [wanted]) for one in children.values()):
            raise NotFound(f"none of the images is for {wanted}", hint="`imagetools inspect NAME` lists what there is")
    docker = not annotations and all(one.found.media_type == media_types.DOCKER_MANIFEST for one in children.values())
    kind = media_types.DOCKER_INDEX if docker else media_types.OCI_INDEX
    made = Index(tuple(one.found for one in children.values()), annotations, kind)
    return Combined(kind, made.to_bytes(), tuple(children.values()))


def _is_for(found: Descriptor, platforms: Collection[Platform]) -> bool:
    """Tell whether an image is for one of these platforms, which are normalised."""
    return found.platform is not None and found.platform.normalised() in platforms


def push_combined(store: Store, registry: Registry, made: Combined, target: str) -> Descriptor:
    """Push it under a name, the tag last; what it is called by there. Raises UsageError, RegistryError, ImageError."""
    from buildah_py.transfer.copy import Copying

    reference = references.parse(target).with_default_tag()
    if reference.digest:
        raise UsageError(f"{target} is pinned to a digest, which only its content decides", hint="name a tag")
    copying = Copying(store, registry, reference)
    for source in made.children:
        copying.copy(source.place, source.found, source.data)
    registry.push_manifest(reference, made.data, made.media_type)
    return descriptors.of(made.media_type, made.data)


def describe(registry: Registry, name: str) -> tuple[RawManifest, Callable[[], Any]]:
    """Return what a registry has under a name, and what gives the config of its image, or of each of an index's.

    Those are the configs as they are, by platform where there are several.
    """
    reference = references.parse(name).with_default_tag()
    raw = registry.manifest(reference)

    def configs() -> Any:
        if raw.descriptor.media_type not in media_types.INDEXES:
            return _config(registry, reference, raw.data)
        index = indexes.from_bytes(raw.data, media_type=raw.descriptor.media_type, what=name)
        found = {}
        for child in index.images():
            place = reference._replace(tag=None, digest=child.digest)
            config = _config(registry, place, registry.manifest(place).data)
            found[str(child.platform or image_config.from_bytes(json.dumps(config).encode()).platform)] = config
        return found if len(found) != 1 else next(iter(found.values()))

    return raw, configs


def _with_platform(registry: Registry, source: NamedManifest) -> NamedManifest:
    """Give the descriptor of an image the platform that its config names."""
    if source.found.platform is not None:
        return source
    config = _config(registry, source.place, source.data)
    platform = image_config.from_bytes(json.dumps(config).encode(), str(source.place)).platform
    return source._replace(found=source.found._replace(platform=platform))


def _config(registry: Registry, place: Reference, data: bytes) -> dict[str, Any]:
    manifest = manifests.from_bytes(data, what=str(place))
    if manifest.config.size > _LARGEST_CONFIG:
        raise ImageError(f"the config of {place} has {manifest.config.size} bytes")
    with registry.open_blob(place, manifest.config) as stream:
        parts = []
        while piece := stream.read(1 << 16):
            parts.append(piece)
    found = json.loads(b"".join(parts))
    if not isinstance(found, dict):
        raise ImageError(f"the config of {place} is not a JSON object")
    return found


def existing(registry: Registry, target: str) -> list[str]:
    """Return the target as a source where its registry has it already, for `--append`."""
    try:
        registry.resolve(references.parse(target).with_default_tag())
    except (NotFound, RegistryError) as error:
        if isinstance(error, RegistryError) and error.status != 404:
            raise
        return []
    return [target]
