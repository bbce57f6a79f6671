"""Image indexes, and Docker's manifest lists: several manifests, mostly one for each platform (image-index.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import ImageError, NotFound
from buildah_py.image import canonical, descriptor, media_types
from buildah_py.image import platform as platforms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
CREATED = "org.opencontainers.image.created"
DOCKER_REFERENCE_TYPE = "vnd.docker.reference.type"
DOCKER_REFERENCE_DIGEST = "vnd.docker.reference.digest"


class Index(NamedTuple):
    """Manifests and what each is for."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}
    media_type: str = media_types.OCI_INDEX
    artifact_type: str = ""
    subject: Descriptor | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the index as JSON, properties in the specification's order."""
        raw: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            raw["artifactType"] = self.artifact_type
        raw["manifests"] = [manifest.to_dict() for manifest in self.manifests]
        if self.subject is not None:
            raw["subject"] = self.subject.to_dict()
        if self.annotations:
            raw["annotations"] = dict(sorted(self.annotations.items()))
        return raw

    def to_bytes(self) -> bytes:
        """Return the bytes whose digest is the index's: the same for equal indexes."""
        return canonical.to_bytes(self.to_dict())

    def images(self) -> list[Descriptor]:
        """Return the manifests but for attestations, which stand in an index beside the images they speak of."""
        return [one for one in self.manifests if DOCKER_REFERENCE_TYPE not in one.annotations]

    def choose(self, wanted: Platform, what: str = "the image", *, strict: bool = False) -> Descriptor:
        """Return the manifest that suits `wanted` best. Raises NotFound that lists the platforms there are."""
        images = self.images()
        position = platforms.choose(wanted, (image.platform for image in images), strict=strict)
        if position is None:
            there = sorted({str(image.platform.normalised()) for image in images if image.platform is not None})
            raise NotFound(
                f"{what} has no manifest for {wanted}",
                hint=f"it is there for {', '.join(there)}" if there else "it names no platform at all",
            )
        return images[position]


def from_bytes(data: bytes, *, media_type: str = "", what: str = "the index") -> Index:
    """Read an index or a manifest list. Raises ImageError."""
    raw = canonical.from_bytes(data, what)
    own = canonical.text(raw, "mediaType", what)
    if own and media_type and own != media_type:
        raise ImageError(f"{what} says that it is {own}, but it was announced as {media_type}")
    kind = own or media_type or media_types.OCI_INDEX
    if kind not in media_types.INDEXES or "layers" in raw:
        raise ImageError(f"{what} is not an index but {kind}")
    if canonical.number(raw, "schemaVersion", what) != 2:
        raise ImageError(f"{what} is of a schema that pybuild does not read")
    subject = raw.get("subject")
    return Index(
        manifests=tuple(
            descriptor.from_dict(manifest, f"{what}, manifest {number}")
            for number, manifest in enumerate(canonical.tables(raw, "manifests", what), 1)
        ),
        annotations=canonical.pairs(raw, "annotations", what),
        media_type=kind,
        artifact_type=canonical.text(raw, "artifactType", what),
        subject=None if subject is None else descriptor.from_dict(subject, f"{what}, subject"),
    )
