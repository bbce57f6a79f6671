"""What is written is read back by the tools that others use: skopeo, umoci, podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.outputs.oci import write_oci
from tests.outputs.images import config_of, source, tar_of
from tests.podman import Podman, podman

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildah_py.outputs.layer_source import LayerSource

__all__ = ["podman"]

BUSYBOX = shutil.which("busybox")
COMPRESSIONS = ("gzip", "zstd", "uncompressed")
# Older layers are below; the second one's `hello` has to win.
SCRIPT = b'#!/bin/sh\necho "hello $1"\n'


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def needs(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")


@pytest.fixture(scope="module")
def layers() -> list[LayerSource]:
    if BUSYBOX is None:
        pytest.skip("needs busybox-static")
    with open(BUSYBOX, "rb") as file:
        shell = file.read()
    first = tar_of(
        {"bin": None, "bin/hello": b"old", "bin/sh": shell, "etc": None, "proc": None, "dev": None, "sys": None}
    )
    second = tar_of({"bin/hello": SCRIPT})
    return [source(first), source(second), source(tar_of({"big": os.urandom(3 << 20)}))]


def written(path: Path, layers: Sequence[LayerSource], compression: str, **options: Any) -> Path:
    if compression == "zstd":
        pytest.importorskip("zstandard", reason="needs zstandard")
    write_oci(str(path), config_of(list(layers)), layers, compression=compression, **options)
    return path


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_skopeo(tmp_path: Path, layers: list[LayerSource], compression: str, docker: bool) -> None:
    needs("skopeo")
    image = written(tmp_path / "x.tar", layers, compression, names=["localhost/try:1"], docker=docker)
    tree = written(tmp_path / "x", layers, compression, names=["localhost/try:1"], tar=False)
    places = [f"oci-archive:{image}", f"oci-archive:{image}:1", f"oci:{tree}:1", f"oci:{tree}"]
    if docker:
        places += [f"docker-archive:{image}", f"docker-archive:{image}:localhost/try:1"]
    for number, place in enumerate(places):
        config = json.loads(run("skopeo", "inspect", "--config", place))
        assert config["config"] == {"Env": ["PATH=/bin"], "Cmd": ["/bin/hello", "you"]}
        assert config["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
        assert len(config["history"]) == 3
        # Copying reads every blob and checks its digest.
        run("skopeo", "--insecure-policy", "copy", place, f"dir:{tmp_path}/copy{number}")


def test_skopeo_reads_docker_media_types(tmp_path: Path, layers: list[LayerSource]) -> None:
    needs("skopeo")
    image = written(tmp_path / "x.tar", layers, "gzip", names=["try"], docker=True, oci_media_types=False)
    run("skopeo", "--insecure-policy", "copy", f"docker-archive:{image}", f"dir:{tmp_path}/copy")
    raw = json.loads(run("skopeo", "inspect", "--raw", f"oci-archive:{image}"))
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


@pytest.mark.root
@pytest.mark.parametrize("compression", ["gzip", "uncompressed"])
def test_umoci(tmp_path: Path, layers: list[LayerSource], compression: str) -> None:
    needs("umoci")
    image = written(tmp_path / "x", layers, compression, names=["one:1", "two:1", "two:2"], tar=False)
    assert run("umoci", "ls", "--layout", image).split() == ["1", "2"]
    rootless = ["--rootless"] if os.geteuid() else []
    for tag in ("1", "2"):
        bundle = tmp_path / f"bundle{tag}"
        run("umoci", "unpack", *rootless, "--image", f"{image}:{tag}", bundle)
        assert (bundle / "rootfs/bin/hello").read_bytes() == SCRIPT
        assert json.loads((bundle / "config.json").read_bytes())["process"]["args"] == ["/bin/hello", "you"]


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_podman(tmp_path: Path, layers: list[LayerSource], podman: Podman, compression: str, docker: bool) -> None:
    image = written(tmp_path / "x.tar", layers, compression, names=["localhost/try:1"], docker=docker)
    assert "localhost/try:1" in podman("load", "-i", image)
    (inspected,) = json.loads(podman("inspect", "localhost/try:1"))
    assert "sha256:" + inspected["Id"] == config_of(layers).digest()
    assert podman.execute("localhost/try:1") == "hello you\n"
    assert podman.execute("localhost/try:1", "/bin/hello", "me") == "hello me\n"
