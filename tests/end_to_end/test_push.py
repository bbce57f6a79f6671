"""Images pushed to a real registry, read back by other tools; and what is not sent because it is there."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.podman import Podman, podman
from tests.registry_server import FaultProxy, Served, docker_registry

if TYPE_CHECKING:
    from .conftest import Pybuild

__all__ = ["docker_registry", "podman"]
pytestmark = pytest.mark.root

TEXT = "FROM busybox\nRUN mkdir /d && echo 1 >/d/one\nCOPY a.txt /\nENV A=1\nCMD cat /d/one /a.txt\n"


@pytest.fixture
def built(busybox: Pybuild) -> Pybuild:
    busybox.build(busybox.context(TEXT, a_txt="a\n"))
    return busybox


def manifest_of(registry: Served, name: str, tag: str) -> tuple[dict[str, Any], str, str]:
    kinds = ("vnd.oci.image.manifest.v1", "vnd.oci.image.index.v1", "vnd.docker.distribution.manifest.v2")
    accept = ", ".join(f"application/{kind}+json" for kind in kinds)
    status, headers, data = registry.ask("GET", f"/v2/{name}/manifests/{tag}", Accept=accept)
    assert status == 200, data
    return json.loads(data), headers["content-type"], headers["docker-content-digest"]


def test_build_and_push(busybox: Pybuild, docker_registry: Served, podman: Podman) -> None:
    context = busybox.context(TEXT, a_txt="a\n")
    name = f"{docker_registry.host}/me/app:1"
    busybox.run(context, "-t", name, "--push", "--annotation=k=v", "--metadata-file=told", "--progress=plain")
    manifest, kind, digest = manifest_of(docker_registry, "me/app", "1")
    assert kind == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["annotations"] == {"k": "v"}
    assert len(manifest["layers"]) == 3
    told = json.loads((busybox.work / "told").read_bytes())
    assert told["containerimage.digest"] == digest
    assert told["image.name"] == name
    podman("pull", "--tls-verify=false", name)
    assert podman.execute(name) == "1\na\n"


def test_what_is_there_is_not_sent_again(built: Pybuild, docker_registry: Served) -> None:
    with FaultProxy(docker_registry) as proxy:
        shown = built.run("push", "test", f"{proxy.host}/app:1").stderr
        assert "3 layers sent" in shown
        first = len(proxy.asked("PUT"))
        again = built.run("push", "test", f"{proxy.host}/app:2", "--digestfile=digest")
        assert "3 layers there already" in again.stderr
        assert len(proxy.asked("PUT")) == first + 1, "only the tag is new"
        assert len(proxy.asked("POST")) == 4, "three layers and a config, once"
        assert again.stdout.strip() == (built.work / "digest").read_text()
        other = built.run("push", "test", f"{proxy.host}/other/app:1").stderr
        assert "3 layers mounted" in other
    _, _, digest = manifest_of(docker_registry, "app", "2")
    assert digest == again.stdout.strip()
    assert manifest_of(docker_registry, "other/app", "1")[2] == digest


def test_forms(built: Pybuild, docker_registry: Served) -> None:
    host = docker_registry.host
    built.run("push", "test", f"{host}/zstd:1", "--compression-format=zstd", "--compression-level=1")
    built.run("push", "test", f"{host}/docker:1", "--format=docker")
    built.run("push", "test", f"docker://{host}/plain:1", "--compression-format=uncompressed")
    kinds = {}
    for name in ("zstd", "docker", "plain"):
        manifest, _, _ = manifest_of(docker_registry, name, "1")
        kinds[name] = {layer["mediaType"].rpartition(".tar")[2] for layer in manifest["layers"]}
        place = f"docker://{host}/{name}:1"
        copy = (
            "skopeo",
            "--insecure-policy",
            "copy",
            "-q",
            "--src-tls-verify=false",
            place,
            f"dir:{built.work}/{name}",
        )
        subprocess.run(copy, check=True)
    assert kinds == {"zstd": {"+zstd"}, "docker": {".gzip"}, "plain": {""}}
    assert (
        "cannot be compressed as `xz`"
        in built.run("push", "test", f"{host}/x", "--compression-format=xz", status=125).stderr
    )


def test_outputs_with_names(built: Pybuild, docker_registry: Served) -> None:
    context, host = built.work / "context", docker_registry.host
    built.run(
        context, "-o", f"type=image,push=true,name={host}/by,push-by-digest=true,annotation-index.a=b", "--iidfile=id"
    )
    status, _, data = docker_registry.ask("GET", "/v2/by/tags/list")
    assert status == 404 or not json.loads(data)["tags"]
    built.run(context, "-o", f'type=registry,"name={host}/x:1,{host}/x:2",annotation-index.a=b', "--metadata-file=told")
    index, kind, digest = manifest_of(docker_registry, "x", "2")
    assert kind == "application/vnd.oci.image.index.v1+json"
    assert index["annotations"] == {"a": "b"}
    assert json.loads((built.work / "told").read_bytes())["containerimage.digest"] == digest
    raw = ("skopeo", "inspect", "--tls-verify=false", f"docker://{host}/x:1")
    assert json.loads(subprocess.run(raw, check=True, capture_output=True).stdout)["Env"][-1] == "A=1"
    assert "under a name" in built.run(context, "--push", status=2).stderr


def test_other_places(built: Pybuild) -> None:
    built.run("push", "test", "oci:layout:v1")
    built.run("push", "test", "oci-archive:image.tar")
    built.run("push", "test", "docker-archive:docker.tar:app:1")
    for place in ("oci:layout:v1", "oci-archive:image.tar", "docker-archive:docker.tar:app:1"):
        subprocess.run(["skopeo", "inspect", place], check=True, capture_output=True, cwd=built.work)


def test_a_registry_that_refuses(built: Pybuild, docker_registry: Served) -> None:
    with FaultProxy(docker_registry) as proxy:
        proxy.fault("PUT", "/manifests/", lambda request: request.reply(403), times=9)
        result = built.run("push", "test", f"{proxy.host}/app:1", status=125)
    assert f"{proxy.host}/app:1" in result.stderr
    assert docker_registry.ask("GET", "/v2/app/manifests/1")[0] == 404
    assert "there is no image" in built.run("push", "tset", status=125).stderr
    assert "pinned to a digest" in built.run("push", "test", f"{proxy.host}/app@sha256:{'0' * 64}", status=2).stderr
