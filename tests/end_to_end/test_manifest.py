"""Manifest lists: put together of images of the store and of registries, pushed, and read back by other tools."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.foreign_images import Layout, tar_of
from tests.registry_server import PASSWORD, USER, FaultProxy, Served, docker_registry, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild

__all__ = ["docker_registry"]

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")


def build_for(pybuild: Pybuild, *platforms: str) -> None:
    """Build an image `app:ARCH` for each platform, which share a layer and have one of their own."""
    context = pybuild.context("FROM scratch\nARG TARGETARCH\nCOPY same.txt /\nCOPY $TARGETARCH.txt /arch\n")
    (context / "same.txt").write_text("same\n")
    for platform in platforms:
        name = platform.split("/")[1]
        (context / f"{name}.txt").write_text(f"{platform}\n")
        pybuild.run("-t", f"app:{name}", f"--platform={platform}", context)


def skopeo(*arguments: object) -> str:
    return subprocess.run(["skopeo", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def raw(place: str) -> dict[str, Any]:
    """What skopeo finds under a name in a registry."""
    found: dict[str, Any] = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{place}"))
    return found


def platforms_of(index: dict[str, Any]) -> list[str]:
    """The platforms of an index, in their order."""
    return [
        "/".join(filter(None, (one["os"], one["architecture"], one.get("variant"))))
        for one in (child["platform"] for child in index["manifests"])
    ]


def others(layout: Layout, host: str, name: str, *, docker: bool = False) -> dict[str, Any]:
    """Push an index as others make them, for amd64 and s390x, with an attestation; its descriptor."""
    images = [
        layout.image([layout.layer(tar_of({"arch": name}), docker=docker)], architecture=name, docker=docker)
        for name in ("amd64", "s390x")
    ]
    noted = {**images[1], "annotations": {"of": "s390x"}} if not docker else images[1]
    more = [] if docker else [layout.attestation(images[0])]
    index = layout.index([images[0], noted, *more], docker=docker)
    layout.push(host, name, index)
    return index


@pytest.mark.either_user
def test_created_pushed_and_pulled_again(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    build_for(pybuild, *PLATFORMS)
    name = f"{docker_registry.host}/me/app:1"
    assert pybuild.run("manifest", "create", name, "app:amd64", "app:arm64").stdout == f"{name}\n"
    assert pybuild.run("manifest", "add", name, "app:arm").stdout.startswith("sha256:")
    shown = json.loads(pybuild.run("manifest", "inspect", name).stdout)
    assert platforms_of(shown) == list(PLATFORMS)
    digest = pybuild.run("manifest", "push", name).stdout.strip()
    index = raw(name)
    assert index == shown
    assert index["mediaType"] == OCI_INDEX
    assert digest == docker_registry.ask("HEAD", "/v2/me/app/manifests/1", Accept=OCI_INDEX)[1]["docker-content-digest"]
    copied = tmp_path / "copied"
    skopeo("--insecure-policy", "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}", f"dir:{copied}")
    assert json.loads((copied / "manifest.json").read_bytes()) == index
    fresh = f"{pybuild.root}/fresh"
    for platform in PLATFORMS:
        pybuild.run("pull", "-q", f"--platform={platform}", name, PYBUILD_ROOT=fresh)
        assert pybuild.run("cat", f"{name}:/arch", PYBUILD_ROOT=fresh).stdout == f"{platform}\n"


@pytest.mark.either_user
def test_imagetools_of_buildx(pybuild: Pybuild, docker_registry: Served) -> None:
    host = docker_registry.host
    build_for(pybuild, *PLATFORMS)
    for platform in PLATFORMS:
        name = platform.split("/")[1]
        pybuild.run("push", f"app:{name}", f"{host}/app:{name}")

    def tools(*words: object) -> str:
        return pybuild.run("buildx", "imagetools", *words).stdout

    sources = [f"{host}/app:amd64", f"{host}/app:arm64"]
    dry = tools("create", "--dry-run", "-t", f"{host}/all:1", *sources)
    tools("create", "-t", f"{host}/all:1", "-t", f"{host}/all:2", "--annotation=a=b", "--metadata-file=m", *sources)
    index = raw(f"{host}/all:1")
    assert index == {**json.loads(dry), "annotations": {"a": "b"}} == raw(f"{host}/all:2")
    assert platforms_of(index) == list(PLATFORMS[:2])
    told = json.loads((pybuild.work / "m").read_text())
    assert told["image.name"] == f"{host}/all:1,{host}/all:2"
    assert json.loads(tools("inspect", "--raw", f"{host}/all@{told['containerimage.descriptor']['digest']}")) == index
    tools("create", "--append", "-t", f"{host}/all:1", f"{host}/app:arm")
    assert platforms_of(raw(f"{host}/all:1")) == list(PLATFORMS)
    tools("create", "-t", f"{host}/some:1", "--platform", ",".join(PLATFORMS[1:]), f"{host}/all:1")
    assert platforms_of(raw(f"{host}/some:1")) == list(PLATFORMS[1:])
    shown = tools("inspect", f"{host}/some:1")
    assert all(text in shown for text in ("linux/arm64", "linux/arm/v7", index["manifests"][1]["digest"]))
    assert tools("inspect", "--format", "{{.Manifest.MediaType}}", f"{host}/some:1").strip() == OCI_INDEX
    missing = pybuild.run(
        "buildx", "imagetools", "create", "--platform=s390x", "-t", f"{host}/no:1", *sources, status=125
    )
    assert "none of the images is for linux/s390x" in missing.stderr


@pytest.mark.root
def test_nothing_is_sent_twice(pybuild: Pybuild, docker_registry: Served) -> None:
    build_for(pybuild, *PLATFORMS[:2])
    with FaultProxy(docker_registry) as proxy:
        pybuild.run("push", "app:amd64", f"{proxy.host}/me/app:amd64")
        pybuild.run("manifest", "create", "list", "app:amd64", "app:arm64")
        before = len(proxy.asked("PUT")), len(proxy.asked("POST"))
        pybuild.run("manifest", "push", "list", f"docker://{proxy.host}/me/app:1")
        # Of arm64 its own layer and its config (uploads), its manifest; and the index. The shared layer is there.
        assert len(proxy.asked("POST")) - before[1] == 2
        manifests = [one.path.rpartition("/")[2] for one in proxy.asked("PUT", "/manifests/")[1:]]
        assert len(manifests) == 2
        assert manifests[0].startswith("sha256:")
        assert manifests[1] == "1", "the tag is moved last"
        sent = len(proxy.asked("PUT"))
        again = pybuild.run("manifest", "push", "--all", "--rm", "list", f"{proxy.host}/me/app:1", "--digestfile=told")
        assert len(proxy.asked("PUT")) == sent + 1, "only the tag"
        assert (pybuild.work / "told").read_text() == again.stdout.strip()
    assert pybuild.run("manifest", "exists", "list", status=1).stdout == ""
    assert pybuild.run("manifest", "ls").stdout == ""
    assert "app" in pybuild.run("images").stdout


@pytest.mark.root
def test_images_of_registries(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    host = docker_registry.host
    layout = Layout(tmp_path / "layout")
    others(layout, host, "base:1")
    with FaultProxy(docker_registry) as proxy:
        pybuild.run("manifest", "create", "--all", "all", f"{proxy.host}/base:1")
        pybuild.run("manifest", "create", "some")
        pybuild.run("manifest", "add", "some", f"docker://{proxy.host}/base:1", "--arch=s390x", "--annotation=a=b")
        pybuild.run("manifest", "push", "all", f"{proxy.host}/base:copy")
        assert not proxy.asked("POST"), "all of it is there"
        pybuild.run("manifest", "push", "all", f"{proxy.host}/moved:1")
        pybuild.run("manifest", "push", "some", f"{proxy.host}/other:1")
        assert len(proxy.asked("POST", "mount=")) >= 1, "layers come from the repository that has them"
    there = raw(f"{host}/base:1")["manifests"]
    assert len(there) == 3, "two images and an attestation"
    assert raw(f"{host}/base:copy")["manifests"] == there
    assert raw(f"{host}/moved:1")["manifests"] == there
    assert raw(f"{host}/moved@{there[2]['digest']}") == raw(f"{host}/base@{there[2]['digest']}")
    assert raw(f"{host}/other:1")["manifests"] == [{**there[1], "annotations": {"a": "b", "of": "s390x"}}]
    shown = pybuild.run("manifest", "inspect", f"{host}/base:1").stdout
    assert json.loads(shown) == raw(f"{host}/base:1")
    missing = pybuild.run("manifest", "inspect", f"{host}/nothing:1", status=125).stderr
    assert "there is no manifest list" in missing


@pytest.mark.root
def test_an_index_goes_whole_to_another_registry(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    tar = tar_of({"a": "a"})
    first, second = (layout.image([layout.layer(tar, form)]) for form in ("gzip", "zstd"))
    other = layout.image([layout.layer(tar_of({"a": "b"}))], architecture="arm64")
    children = [first, second, other, layout.attestation(first), layout.index([other])]
    layout.push(docker_registry.host, "base:1", layout.index(children))
    with serving(tmp_path / "second") as target:
        pybuild.run("manifest", "create", "--all", "list", f"{docker_registry.host}/base:1")
        pybuild.run("manifest", "push", "list", f"{target.host}/a/b:1")
        assert raw(f"{target.host}/a/b:1")["manifests"] == children
        place = f"docker://{target.host}/a/b:1"
        skopeo("--insecure-policy", "copy", "-q", "--src-tls-verify=false", place, f"dir:{tmp_path}/copied")
        pushed = pybuild.run("manifest", "push", "list", f"{target.host}/a/b:2", "--compression-format=zstd")
        assert "warning" not in pushed.stderr, "what came from elsewhere stays as it is"
        forced = ("--compression-format=zstd", "--force-compression")
        changed = pybuild.run("manifest", "push", "list", f"{target.host}/a/b:3", *forced).stderr
        assert f"speaks of {first['digest']}" in changed, "the attestation does not fit any more"
    assert list(pybuild.root.glob("staging/*")) == []


@pytest.mark.root
def test_credentials_are_for_the_destination_alone(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout")
    layout.push(docker_registry.host, "base:1", layout.image([layout.layer(tar_of({"a": "a"}))]))
    with serving(tmp_path / "second", basic=True) as target, FaultProxy(docker_registry) as proxy:
        pybuild.run("manifest", "create", "list", f"{proxy.host}/base:1")
        context = pybuild.context(f"FROM {proxy.host}/base:1\nLABEL a=b\n")
        pybuild.build(context)
        asking = 'Basic realm="x"'
        proxy.fault("GET", "/blobs/", lambda request: request.reply(401, WWW_Authenticate=asking), -1)
        creds = f"--creds={USER}:{PASSWORD}"
        for pushed in (["manifest", "push", creds, "list"], ["push", creds, "test"]):
            refused = pybuild.run(*pushed, f"{target.host}/base:1", status=125).stderr
            assert f"{proxy.host}/base" in refused
        assert len(proxy.asked("GET", "/blobs/")) > 2
        assert all("authorization" not in request.headers for request in proxy.requests)
    assert "registries alone" in pybuild.run("manifest", "push", "list", "oci:dir", status=2).stderr


@pytest.mark.root
def test_what_a_list_says_of_images(pybuild: Pybuild, docker_registry: Served) -> None:
    build_for(pybuild, *PLATFORMS[:2])
    pybuild.run("manifest", "create", "list", "--annotation", "k=v", "app:amd64")
    pybuild.run("manifest", "add", "list", "--os=linux", "app:arm64", "--arch=aarch64", "--variant", "v9")
    pybuild.run("manifest", "annotate", "list", "app:amd64", "--annotation=x=y", "--os-features=a,b")
    pybuild.run("manifest", "annotate", "--index", "list", "--annotation=more=1")
    shown = json.loads(pybuild.run("manifest", "inspect", "list").stdout)
    assert platforms_of(shown) == ["linux/amd64", "linux/arm64/v9"]
    assert shown["annotations"] == {"k": "v", "more": "1"}
    assert shown["manifests"][0]["annotations"] == {"x": "y"}
    assert shown["manifests"][0]["platform"]["os.features"] == ["a", "b"]
    digest = shown["manifests"][1]["digest"]
    pybuild.run("manifest", "annotate", "list", digest, "--arch=riscv64")
    assert platforms_of(json.loads(pybuild.run("manifest", "inspect", "list").stdout))[1] == "linux/riscv64"
    refused = pybuild.run("manifest", "push", "--format=v2s2", "list", f"{docker_registry.host}/x", status=2).stderr
    assert "no annotations" in refused
    pybuild.run("manifest", "remove", "list", digest)
    assert platforms_of(json.loads(pybuild.run("manifest", "inspect", "list").stdout)) == ["linux/amd64"]
    assert "already" in pybuild.run("manifest", "create", "list", status=2).stderr
    pybuild.run("manifest", "create", "--amend", "list", "app:arm64")
    assert len(json.loads(pybuild.run("manifest", "inspect", "list").stdout)["manifests"]) == 2


@pytest.mark.root
def test_dockers_media_types(pybuild: Pybuild, docker_registry: Served, tmp_path: Path) -> None:
    host = docker_registry.host
    build_for(pybuild, "linux/amd64")
    pybuild.run("manifest", "create", "list", "app:amd64")
    pybuild.run("manifest", "push", "list", f"{host}/one:1", "--format", "v2s2")
    index = raw(f"{host}/one:1")
    assert index["mediaType"] == DOCKER_INDEX
    assert raw(f"{host}/one@{index['manifests'][0]['digest']}")["mediaType"] == index["manifests"][0]["mediaType"]
    assert index["manifests"][0]["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    others(Layout(tmp_path / "layout"), host, "docker:1", docker=True)
    pybuild.run("manifest", "create", "--all", "copy", f"{host}/docker:1")
    pybuild.run("manifest", "push", "copy", f"{host}/docker:2")
    assert raw(f"{host}/docker:2")["manifests"] == raw(f"{host}/docker:1")["manifests"]
    assert raw(f"{host}/docker:2")["mediaType"] == DOCKER_INDEX


@pytest.mark.root
def test_images_of_lists_stay(pybuild: Pybuild) -> None:
    build_for(pybuild, "linux/amd64")
    pybuild.run("manifest", "create", "list", "app:amd64")
    removed = pybuild.run("rmi", "app:amd64").stdout
    assert removed == "untagged app:amd64\n"
    pybuild.run("prune", "--all")
    index = json.loads(pybuild.run("manifest", "inspect", "list").stdout)
    assert platforms_of(index) == ["linux/amd64"]
    image = json.loads(pybuild.run("images", "--format=json").stdout)[0]["id"]
    assert "manifest list list:latest" in pybuild.run("rmi", image, status=2).stderr
    assert pybuild.run("manifest", "rm", "list").stdout == "removed list:latest\n"
    assert "no manifest list" in pybuild.run("manifest", "push", "list", status=125).stderr
    pybuild.run("prune")
    assert json.loads(pybuild.run("images", "--format=json").stdout) == []
