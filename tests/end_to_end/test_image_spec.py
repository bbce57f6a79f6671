"""Whatever is written of an image, where and in what form it may be, is as the image-spec wants it."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from tests import image_spec
from tests.registry_server import Served, docker_registry

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild
    from tests.image_spec import Image

__all__ = ["docker_registry"]
pytestmark = pytest.mark.root

TEXT = r"""
FROM busybox AS base
LABEL z=1 a="two words" m=ö
EXPOSE 8080/udp 80 443
VOLUME /z /a
HEALTHCHECK --interval=5s --start-interval=1s --retries=3 CMD test -e /a.txt
SHELL ["/bin/sh", "-eu", "-c"]
USER 12:34
STOPSIGNAL SIGRTMIN+3
MAINTAINER anna
ENV EMPTY= A="b=c"
FROM base
USER 0
RUN mkdir -p /d/e && echo 1 > /d/one && ln /d/one /d/e/same && rm /bin/cp
ARG SAID=x
COPY a.txt /
WORKDIR /d
CMD cat one
ONBUILD RUN true
"""


def in_registry(registry: Served, name: str, tag: str) -> list[Image]:
    """Give the images that a tag of a registry leads to, read with nothing of ours."""
    accept = f"{image_spec.MANIFEST}, {image_spec.INDEX}, {image_spec.DOCKER_MANIFEST}, {image_spec.DOCKER_INDEX}"
    status, headers, data = registry.ask("HEAD", f"/v2/{name}/manifests/{tag}", Accept=accept)
    assert status == 200, data
    top = {
        "mediaType": headers["content-type"],
        "digest": headers["docker-content-digest"],
        "size": int(headers["content-length"]),
    }

    def blob(descriptor: dict[str, Any]) -> bytes:
        kind = descriptor["mediaType"]
        room = "manifests" if "manifest" in kind or "index" in kind else "blobs"
        status, _, data = registry.ask("GET", f"/v2/{name}/{room}/{descriptor['digest']}", Accept=kind)
        assert status == 200, data
        return data

    return image_spec.read(top, blob)


def layer_ends(image: Image) -> set[str]:
    return {layer["mediaType"].rpartition(".tar")[2] for layer in image.layers}


def test_all_forms(busybox: Pybuild, docker_registry: Served) -> None:
    host, work = docker_registry.host, busybox.work
    context = busybox.context(TEXT, a_txt="a\n")
    forms = {
        "plain": "",
        "zstd": ",compression=zstd",
        "tar": ",compression=uncompressed",
        "docker": ",oci-mediatypes=false",
        "notes": ",annotation.a=b,annotation-manifest-descriptor.c=d",
        "index": ",annotation-index.a=b,annotation-index-descriptor.c=d,annotation-manifest-descriptor.e=f",
    }
    outputs = []
    for name, form in forms.items():
        outputs += ["-o", f"type=registry,name={host}/{name}:1{form}"]
        outputs += ["-o", f"type=oci,dest={name},tar=false,name=app:1{form}", "-o", f"type=oci,dest={name}.tar{form}"]
    outputs += ["-o", "type=docker,dest=save.tar,name=app:1"]
    busybox.run("build", "-t", "test", *outputs, context)
    wanted = busybox.run("inspect", "--format={{.Id}}", "test").stdout.strip()
    for name in forms:
        found = [*in_registry(docker_registry, name, "1"), *image_spec.read_layout(work / name)]
        found += image_spec.read_layout(work / f"{name}.tar")
        assert len(found) == 3
        for image in found:
            assert image.manifest["config"]["digest"] == wanted
            assert layer_ends(image) == {{"zstd": "+zstd", "tar": "", "docker": ".gzip"}.get(name, "+gzip")}
            kind = image_spec.DOCKER_MANIFEST if name == "docker" else image_spec.MANIFEST
            assert image.descriptor["mediaType"] == kind
            assert image.manifest.get("annotations") == ({"a": "b"} if name == "notes" else None)
    (image,) = image_spec.read_layout(work / "save.tar")
    with tarfile.open(work / "save.tar") as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        (said,) = json.load(file)
    assert said["RepoTags"] == ["app:1"]
    assert [name.rpartition("/")[2] for name in said["Layers"]] == [one["digest"][7:] for one in image.layers]


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        (("--squash",), 2),
        (("--squash-all", "--omit-history"), 1),
        (("--timestamp=5", "--identity-label", "--unsetenv=A", "--unsetlabel=z"), 4),
        (("--source-date-epoch=1000000000", "--rewrite-timestamp"), 4),
    ],
)
def test_all_shapes(busybox: Pybuild, docker_registry: Served, options: tuple[str, ...], layers: int) -> None:
    context = busybox.context(TEXT, a_txt="a\n")
    name = f"{docker_registry.host}/app:1"
    busybox.run("build", *options, "-o", f"type=registry,name={name}", "-o", "type=oci,dest=l,tar=false", context)
    pushed, written = *in_registry(docker_registry, "app", "1"), *image_spec.read_layout(busybox.work / "l")
    assert pushed.manifest == written.manifest
    assert len(pushed.layers) == layers
    assert ("history" in pushed.config) is ("--omit-history" not in options)


def test_an_image_without_layers(pybuild: Pybuild, docker_registry: Served) -> None:
    context = pybuild.context("FROM scratch\nENV A=b\n")
    pybuild.run("build", "-t", f"{docker_registry.host}/none:1", "--push", "-o", "type=oci,dest=x", context)
    for image in (*in_registry(docker_registry, "none", "1"), *image_spec.read_layout(pybuild.work / "x")):
        assert image.layers == []


def test_commands(busybox: Pybuild, docker_registry: Served) -> None:
    """What `save` and `push` write of images, built and pulled, in either's media types."""
    work, host = busybox.work, docker_registry.host
    context = busybox.context("FROM busybox\nCOPY a.txt /\n", a_txt="a\n")
    busybox.build(context)
    for kind in ("oci-archive", "oci-dir", "docker-archive"):
        busybox.run("save", "--format", kind, "-o", f"save-{kind}", "test", "busybox")
        found = image_spec.read_layout(work / f"save-{kind}")
        assert sorted(len(image.layers) for image in found) == [1, 2]
    for kind in ("oci", "docker"):
        for name in ("test", "busybox"):
            busybox.run("push", "-q", f"--format={kind}", name, f"{host}/{name}:{kind}")
            (image,) = in_registry(docker_registry, name, kind)
            assert image.descriptor["mediaType"].startswith(f"application/vnd.{kind}")
    busybox.run("push", "-q", "test", "oci:layout:tag")
    busybox.run("push", "-q", "--compression-format=zstd", "test", "oci-archive:archive")
    (plain,), (zstd,) = image_spec.read_layout(work / "layout"), image_spec.read_layout(work / "archive")
    assert plain.config == zstd.config
    assert layer_ends(zstd) == {"+zstd"}


def test_all_tags(busybox: Pybuild, docker_registry: Served) -> None:
    host = docker_registry.host
    context = busybox.context("FROM busybox\nCOPY a.txt /\n", a_txt="a\n")
    busybox.run("build", "-t", f"{host}/me/app:1", "-t", f"{host}/me/app", "-t", f"{host}/me/other:1", context)
    busybox.run("build", "-t", f"{host}/me/app:two", busybox.context("FROM busybox\nENV A=b\n", "second"))
    shown = busybox.run("push", "--all-tags", f"{host}/me/app")
    assert shown.stdout.count("sha256:") == 1
    for tag, layers in (("1", 2), ("latest", 2), ("two", 1)):
        (image,) = in_registry(docker_registry, "me/app", tag)
        assert len(image.layers) == layers
        assert f"{host}/me/app:{tag}@{image.descriptor['digest']}" in shown.stderr.replace("app@", "app:latest@")
    assert docker_registry.ask("GET", "/v2/me/other/tags/list")[0] == 404
    tags = json.loads(docker_registry.ask("GET", "/v2/me/app/tags/list")[2])["tags"]
    assert sorted(tags) == ["1", "latest", "two"]
    assert "there is no image" in busybox.run("push", "--all-tags", f"{host}/me/none", status=125).stderr
    for wrong in ((f"{host}/me/app:1",), (f"{host}/me/app", "elsewhere")):
        assert "--all-tags" in busybox.run("push", "-a", *wrong, status=2).stderr
