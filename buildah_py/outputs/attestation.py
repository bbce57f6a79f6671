"""Attestations of an image as BuildKit stores them: in-toto statements as the layers of a manifest beside the image's.

See BuildKit's docs/attestations/attestation-storage.md, and the in-toto attestation framework for statements.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.image import canonical, media_types
from buildah_py.image import descriptor as descriptors
from buildah_py.image.digest import split
from buildah_py.image.index import DOCKER_REFERENCE_DIGEST, DOCKER_REFERENCE_TYPE
from buildah_py.image.manifest import Manifest
from buildah_py.image.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.image.descriptor import Descriptor

IN_TOTO: Final = "application/vnd.in-toto+json"
PREDICATE_TYPE: Final = "in-toto.io/predicate-type"
ATTESTATION: Final = "attestation-manifest"
_STATEMENT: Final = "https://in-toto.io/Statement/v0.1"
_ARTIFACT: Final = "application/vnd.docker.attestation.manifest.v1+json"
_EMPTY: Final = "application/vnd.oci.empty.v1+json"
_UNKNOWN: Final = Platform("unknown", "unknown")


class Predicate(NamedTuple):
    """Statement about an image: `body` is plain data of that type. `file` is its name where an image has no manifest.

    With `inline`, it is not said there.
    """

    type: str
    body: Mapping[str, Any]
    file: str
    inline: bool = False


class Subject(NamedTuple):
    """Something that a statement is about: its name and its digest (`sha256:<hex>`)."""

    name: str
    digest: str


class Attached(NamedTuple):
    """The manifest of an image's attestations, as an index has it, and the bytes of all that belongs to it."""

    descriptor: Descriptor
    manifest: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]


def statement(predicate: Predicate, subjects: Iterable[Subject]) -> bytes:
    """Return the statement of a predicate about its subjects."""
    about = []
    for subject in subjects:
        algorithm, value = split(subject.digest)
        about.append({"name": subject.name, "digest": {algorithm: value}})
    return canonical.to_bytes(
        {"_type": _STATEMENT, "predicateType": predicate.type, "subject": about, "predicate": predicate.body}
    )


def attach(
    image: Descriptor, predicates: Sequence[Predicate], names: Iterable[str], *, artifact: bool = False
) -> Attached:
    """Make the manifest that holds the predicates about the image whose manifest `image` describes.

    `names` are what statements call it. With `artifact` the manifest is an artifact with the image as its subject,
    which registries list as one that refers to the image; else it looks like an image, as tools of before expect.
    """
    subjects = [Subject(name, image.digest) for name in names] or [Subject("_", image.digest)]
    blobs = []
    for predicate in predicates:
        data = statement(predicate, subjects)
        described = descriptors.of(IN_TOTO, data)._replace(annotations={PREDICATE_TYPE: predicate.type})
        blobs.append((described, data))
    layers = tuple(described for described, _ in blobs)
    if artifact:
        config = b"{}"
        own = descriptors.of(_EMPTY, config)._replace(data="e30=")
        about = image._replace(annotations={}, platform=None)
        manifest = Manifest(own, layers, artifact_type=_ARTIFACT, subject=about)
    else:
        config = canonical.to_bytes(
            {
                "architecture": _UNKNOWN.architecture,
                "os": _UNKNOWN.os,
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
            }
        )
        own = descriptors.of(media_types.OCI_CONFIG, config)
        manifest = Manifest(own, layers)
    data = manifest.to_bytes()
    top = descriptors.of(manifest.media_type, data)._replace(
        platform=_UNKNOWN,
        annotations={DOCKER_REFERENCE_DIGEST: image.digest, DOCKER_REFERENCE_TYPE: ATTESTATION},
    )
    return Attached(top, data, ((own, config), *blobs))


def file_bytes(predicate: Predicate, subjects: Iterable[Subject]) -> bytes:
    """Return a statement as it is written beside files, for people to read as well."""
    return json.dumps(json.loads(statement(predicate, subjects)), indent=2, ensure_ascii=False).encode() + b"\n"


def clean(value: Any) -> Any:
    """Return plain data whose texts are all UTF-8: names of files need not be."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, list | tuple) else value
