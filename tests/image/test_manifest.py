from __future__ import annotations

import json

import pytest

from buildah_py.errors import ImageError, NotFound
from buildah_py.image import descriptor, digest, index, manifest, media_types
from buildah_py.image.descriptor import Descriptor
from buildah_py.image.index import Index
from buildah_py.image.manifest import Manifest
from buildah_py.image.platform import Platform

ONE = "sha256:" + "1" * 64
CONFIG = Descriptor(media_types.OCI_CONFIG, ONE, 10)
LAYER = Descriptor(
    media_types.OCI_LAYER_GZIP, ONE, 11, {"b": "2", "a": "1"}, urls=("https://x",), artifact_type="t", data="e30="
)


def test_a_manifest_comes_back() -> None:
    made = Manifest(CONFIG, (LAYER,), {"z": "1", "a": "2"}, subject=CONFIG, artifact_type="x/y")
    data = made.to_bytes()
    assert manifest.from_bytes(data) == made
    assert manifest.from_bytes(data).to_bytes() == data
    assert list(json.loads(data)) == [
        "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations",
    ]  # fmt: skip
    assert made.descriptor() == Descriptor(media_types.OCI_MANIFEST, digest.sha256_of(data), len(data))


@pytest.mark.parametrize("size", ["9223372036854775808", "1e300", "1" * 5000, "[" * 100_000, "1e999", "-1"])
def test_sizes_that_nothing_has(size: str) -> None:
    data = Manifest(CONFIG, (LAYER,)).to_bytes().replace(b'"size":11', f'"size":{size}'.encode())
    with pytest.raises(ImageError) as caught:
        manifest.from_bytes(data)
    assert len(str(caught.value)) < 200


def test_the_smallest_manifest() -> None:
    assert Manifest(CONFIG, ()).to_bytes() == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":'
        b'"application/vnd.oci.image.config.v1+json","digest":"' + ONE.encode() + b'","size":10},"layers":[]}'
    )


def test_a_manifest_without_its_media_type() -> None:
    data = json.dumps({"schemaVersion": 2, "config": CONFIG.to_dict(), "layers": None}).encode()
    assert manifest.from_bytes(data).media_type == media_types.OCI_MANIFEST
    assert manifest.from_bytes(data, media_type=media_types.DOCKER_MANIFEST).media_type == media_types.DOCKER_MANIFEST


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schemaVersion": 1}, "schemaVersion 1"),
        ({"config": None}, "config: a descriptor is not"),
        ({"config": {"digest": "x"}}, "not a digest"),
        ({"config": {"digest": ONE, "size": -1}}, "size is -1"),
        ({"config": {"digest": ONE, "size": "1"}}, "not an integer"),
        ({"layers": {}}, "`layers` is not a list"),
        ({"layers": [{"digest": ONE, "annotations": {"a": 1}}]}, "layer 1: `annotations`"),
        ({"manifests": []}, "not an image manifest"),
        ({"mediaType": media_types.OCI_INDEX}, "not an image manifest"),
        ({"mediaType": media_types.DOCKER_MANIFEST}, "announced as"),
    ],
)
def test_what_is_no_manifest(change: dict[str, object], said: str) -> None:
    data = json.dumps({**Manifest(CONFIG, ()).to_dict(), **change}).encode()
    announced = media_types.OCI_MANIFEST if said == "announced as" else ""
    with pytest.raises(ImageError, match=said):
        manifest.from_bytes(data, media_type=announced, what="the manifest of busybox")


def test_verify() -> None:
    assert manifest.verify(b"x", digest.sha256_of(b"x"), "it") == b"x"
    with pytest.raises(ImageError, match="it is damaged"):
        manifest.verify(b"y", digest.sha256_of(b"x"), "it")


def entry(platform: Platform | None, size: int, **annotations: str) -> Descriptor:
    return Descriptor(media_types.OCI_MANIFEST, ONE, size, annotations, platform)


def test_an_index_comes_back() -> None:
    made = Index((entry(Platform("windows", "amd64", "", "10.0", ("f",)), 1),), {"a": "b"}, subject=CONFIG)
    assert index.from_bytes(made.to_bytes()) == made
    assert index.from_bytes(Index(()).to_bytes()) == Index(())
    with pytest.raises(ImageError, match="not an index"):
        index.from_bytes(Manifest(CONFIG, ()).to_bytes())


def test_an_index_chooses() -> None:
    attestation = Descriptor(
        media_types.OCI_MANIFEST, ONE, 9, {index.DOCKER_REFERENCE_TYPE: "attestation-manifest"}, Platform()
    )
    made = Index((attestation, entry(Platform("linux", "arm64", "v8"), 1), entry(Platform("linux", "amd64"), 2)))
    assert made.choose(Platform("linux", "amd64")).size == 2
    assert made.choose(Platform("linux", "arm64")).size == 1
    with pytest.raises(NotFound, match="busybox has no manifest for linux/s390x") as raised:
        made.choose(Platform("linux", "s390x"), "busybox")
    assert raised.value.hint == "it is there for linux/amd64, linux/arm64"


def test_media_types() -> None:
    for compression in media_types.COMPRESSIONS:
        for docker in (False, True):
            name = media_types.layer(compression, docker=docker)
            assert media_types.compression_of(name) == compression
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    assert media_types.is_nondistributable(foreign)
    assert media_types.distributable(foreign) == media_types.DOCKER_LAYER_GZIP
    nondistributable = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    assert media_types.distributable(nondistributable) == media_types.OCI_LAYER
    assert not media_types.is_nondistributable(media_types.OCI_LAYER)
    assert media_types.compression_of("application/vnd.in-toto+json") is None
    assert descriptor.of("x/y", b"{}").size == 2
