"""`alias docker=pybuild`: command lines of other programs' users."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Pybuild

pytestmark = pytest.mark.root


@pytest.mark.either_user
def test_scripts_for_docker_and_buildah_do(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nARG HTTP_PROXY\nRUN echo proxy $HTTP_PROXY\nCMD a\n")
    (busybox.work / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://p:1"}}}')
    own: Any = {"DOCKER_CONFIG": str(busybox.work), "BUILDKIT_PROGRESS": "plain", "NO_COLOR": "1"}

    ran = busybox.run(
        "buildx", "build", "--network=none", "--provenance=false", "--push=false", "--load=0", "--builder=default",
        "--attest", "type=sbom", "-t", "web", context, **own, BUILDX_BUILDER="remote",
    )  # fmt: skip
    assert "proxy http://p:1" in ran.stderr
    assert [line for line in ran.stderr.splitlines() if "has no effect" in line] == [
        "warning: BUILDX_BUILDER=remote has no effect: there is one builder, and it is this process",
    ]
    busybox.run(
        "--storage-driver=vfs", "bud", "--layers", "--format=docker", "--iidfile-raw=id", "-t", "web:2", context
    )
    (image,) = json.loads(busybox.run("image", "inspect", "web:2").stdout)
    assert image["Id"] == f"sha256:{(busybox.work / 'id').read_text()}"
    names = busybox.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    assert {"web:latest", "web:2"} <= set(names)
    said = busybox.run(
        "container", "run", "--rm=true", "--network=none", "busybox", "sh", "-c", "echo $http_proxy", **own
    )
    assert said.stdout == "http://p:1\n"
    busybox.run("image", "rm", "web")
    assert busybox.run("imags", status=2).stderr.splitlines()[1] == "  hint: did you mean images?"


def test_nothing_is_asked_for_in_vain(busybox: Pybuild) -> None:
    context = busybox.context("# syntax=example.com/other:1\nFROM scratch\nCOPY Buildfile /\n")
    assert "the front end example.com/other:1 is not run" in busybox.build(context).shown
    if not any(map(os.path.exists, ("/var/run/docker.sock", "/run/podman/podman.sock"))):
        nobody: Any = {"DOCKER_HOST": "", "CONTAINER_HOST": "", "XDG_RUNTIME_DIR": str(busybox.work)}
        assert "--load: neither Docker nor Podman runs here" in busybox.build(context, "--load", **nobody).shown
    shown = busybox.build(context, DOCKER_DEFAULT_PLATFORM="linux/arm64,linux/amd64").shown
    assert "linux/arm64: sha256:" in shown
    busybox.build(context, DOCKER_DEFAULT_PLATFORM="linux/arm64")
    assert json.loads(busybox.run("inspect", "test").stdout)[0]["Architecture"] == "arm64"
    busybox.build(context, "--platform=local", DOCKER_DEFAULT_PLATFORM="linux/arm64")
    assert json.loads(busybox.run("inspect", "test").stdout)[0]["Architecture"] != "arm64"
    assert "secret tok: /none cannot be read" in busybox.build(context, "--secret=id=tok,src=/none", status=125).shown
    (busybox.work / "keep").write_text("mine")
    refused = busybox.build(context, "-o", "type=local,dest=.,mode=delete", status=2).shown
    assert "is the working directory" in refused
    assert (busybox.work / "keep").exists()
