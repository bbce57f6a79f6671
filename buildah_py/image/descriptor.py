"""Descriptors: what content is, how long, and its digest (image-spec, descriptor.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError
from buildah_py.image import canonical, digest
from buildah_py.image.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping


class Descriptor(NamedTuple):
    """Content by its digest. `annotations` are sorted by key when they are written."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = {}
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    data: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the descriptor as JSON, properties in the specification's order."""
        raw: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            raw["urls"] = list(self.urls)
        if self.annotations:
            raw["annotations"] = dict(sorted(self.annotations.items()))
        if self.data:
            raw["data"] = self.data
        if self.platform is not None:
            raw["platform"] = platform_to_dict(self.platform)
        if self.artifact_type:
            raw["artifactType"] = self.artifact_type
        return raw


def of(media_type: str, data: bytes) -> Descriptor:
    """Return the descriptor of `data`."""
    return Descriptor(media_type, digest.sha256_of(data), len(data))


def from_dict(raw: Any, what: str) -> Descriptor:
    """Read a descriptor; `what` names its owner in the ImageError that a malformed one raises."""
    if not isinstance(raw, dict):
        raise ImageError(f"{what}: a descriptor is not a JSON object")
    size = canonical.number(raw, "size", what)
    if size < 0:
        raise ImageError(f"{what}: a descriptor's size is {size}")
    platform = raw.get("platform")
    return Descriptor(
        media_type=canonical.text(raw, "mediaType", what),
        digest=digest.validate(canonical.text(raw, "digest", what)),
        size=size,
        annotations=canonical.pairs(raw, "annotations", what),
        platform=None if platform is None else platform_from_dict(canonical.table(raw, "platform", what), what),
        urls=canonical.texts(raw, "urls", what),
        artifact_type=canonical.text(raw, "artifactType", what),
        data=canonical.text(raw, "data", what),
    )


def platform_to_dict(platform: Platform) -> dict[str, Any]:
    """Return the properties of a platform, as descriptors and configs share them, in the specification's order."""
    raw: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        raw["os.version"] = platform.os_version
    if platform.os_features:
        raw["os.features"] = list(platform.os_features)
    if platform.variant:
        raw["variant"] = platform.variant
    return raw


def platform_from_dict(raw: dict[str, Any], what: str) -> Platform:
    """Read the platform of a descriptor or a config, as it is spelled there."""
    return Platform(
        os=canonical.text(raw, "os", what),
        architecture=canonical.text(raw, "architecture", what),
        variant=canonical.text(raw, "variant", what),
        os_version=canonical.text(raw, "os.version", what),
        os_features=canonical.texts(raw, "os.features", what),
    )
