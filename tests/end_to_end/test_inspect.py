"""`pybuild inspect`: what it prints, as a template or byte by byte."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Pybuild

pytestmark = pytest.mark.root


def test_inspect(busybox: Pybuild) -> None:
    context = busybox.context('FROM busybox\nRUN echo 1 >/x\nENV A="1 2"\nLABEL a.b=c\nEXPOSE 80\n')
    busybox.build(context)

    def shown(template: str, *options: str) -> str:
        return busybox.run("inspect", "-f", template, *options, "test").stdout

    image = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]["id"]
    (docker,) = json.loads(busybox.run("inspect", "--type=image", "test").stdout)
    assert (docker["Id"], docker["RepoTags"], docker["Os"]) == (image, ["test:latest"], "linux")
    assert docker["RepoDigests"] == []
    assert docker["Config"]["Env"][-1] == "A=1 2"
    assert docker["Config"]["Labels"] == {"a.b": "c"}
    assert docker["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert docker["RootFS"] == {"Type": "layers", "Layers": docker["Pybuild"]["rootfs"]["diff_ids"]}
    assert docker["Size"] > 0
    assert docker["Created"] == docker["Pybuild"]["created"]
    rows = busybox.run("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout.splitlines()
    assert f"test:latest {image[7:19]}" in rows
    steps = busybox.run("history", "--format", "{{.CreatedBy}}", "test").stdout
    assert "RUN /bin/sh -c echo 1 >/x" in steps
    for command in (["du"], ["history", "test"], ["layers", "test"], ["images"]):
        assert max(map(len, busybox.run(*command).stdout.splitlines())) <= 80
    assert shown("{{.Id}} {{.RepoTags}}") == f"{image} [test:latest]\n"
    assert shown("{{index .Config.Env 1}}{{range .Config.Labels}}-{{.}}{{end}}") == "A=1 2-c\n"
    assert shown("{{.Os}}/{{.Architecture}} {{len .RootFS.Layers}} {{len .OCIv1.RootFS.DiffIDs}}").endswith(" 2 2\n")
    assert shown("{{json .Config.ExposedPorts}} {{.Config.User}}") == '{"80/tcp":{}} \n'
    assert json.loads(shown("json"))["Id"] == image
    assert "did you mean Config" in busybox.run("inspect", "-f", "{{.Confg}}", "test", status=2).stderr
    raw = busybox.run("inspect", "--raw", "test").stdout
    assert f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}" == image
    assert "no manifest yet" in busybox.run("inspect", "--type=manifest", "test", status=125).stderr
    busybox.build(context, "-o", "type=oci,dest=out,tar=false")
    manifest = busybox.run("inspect", "--raw", "--type=manifest", "test").stdout
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    assert (busybox.work / "out/blobs/sha256" / digest).read_text() == manifest
    assert shown("{{.mediaType}}", "--type=manifest").startswith("application/vnd.oci.image.manifest")
    assert shown("{{.architecture}}", "--type=config") == shown("{{.Architecture}}")
