"""Image manifests, OCI's and Docker's (image-spec manifest.md; distribution manifest-v2-2.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError
from buildah_py.image import canonical, descriptor, digest, media_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.image.descriptor import Descriptor


class Manifest(NamedTuple):
    """One image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}
    media_type: str = media_types.OCI_MANIFEST
    artifact_type: str = ""
    subject: Descriptor | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON, properties in the specification's order."""
        raw: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            raw["artifactType"] = self.artifact_type
        raw["config"] = self.config.to_dict()
        raw["layers"] = [layer.to_dict() for layer in self.layers]
        if self.subject is not None:
            raw["subject"] = self.subject.to_dict()
        if self.annotations:
            raw["annotations"] = dict(sorted(self.annotations.items()))
        return raw

    def to_bytes(self) -> bytes:
        """Return the bytes whose digest is the manifest's: the same for equal manifests."""
        return canonical.to_bytes(self.to_dict())

    def descriptor(self) -> Descriptor:
        """Return the descriptor of this manifest, without platform and annotations."""
        return descriptor.of(self.media_type, self.to_bytes())


def from_bytes(data: bytes, *, media_type: str = "", what: str = "the manifest") -> Manifest:
    """Read a manifest. `media_type` is what the sender called it, for manifests that do not say it themselves.

    Raises ImageError, also for an index and for Docker's schema 1.
    """
    raw = canonical.from_bytes(data, what)
    own = canonical.text(raw, "mediaType", what)
    if own and media_type and own != media_type:
        raise ImageError(f"{what} says that it is {own}, but it was announced as {media_type}")
    kind = own or media_type or media_types.OCI_MANIFEST
    if canonical.number(raw, "schemaVersion", what) != 2:
        raise ImageError(
            f"{what} is of a schema that pybuild does not read (schemaVersion {raw.get('schemaVersion')!r})",
            hint="push the image again with a tool of this decade: schema 1 was withdrawn",
        )
    if kind not in media_types.MANIFESTS or "manifests" in raw:
        raise ImageError(f"{what} is not an image manifest but {kind}")
    subject = raw.get("subject")
    return Manifest(
        config=descriptor.from_dict(raw.get("config"), f"{what}, config"),
        layers=tuple(
            descriptor.from_dict(layer, f"{what}, layer {number}")
            for number, layer in enumerate(canonical.tables(raw, "layers", what), 1)
        ),
        annotations=canonical.pairs(raw, "annotations", what),
        media_type=kind,
        artifact_type=canonical.text(raw, "artifactType", what),
        subject=None if subject is None else descriptor.from_dict(subject, f"{what}, subject"),
    )


def verify(data: bytes, expected: str, what: str) -> bytes:
    """Return `data` if its digest is `expected`, else raise ImageError."""
    algorithm, _ = digest.split(expected)
    import hashlib

    found = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    if found != expected:
        raise ImageError(f"{what} is damaged: its digest is {found}, expected {expected}")
    return data
