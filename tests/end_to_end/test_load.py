"""Images streamed into a running Podman."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from tests.podman import Podman, podman, service

if TYPE_CHECKING:
    from .conftest import Pybuild

__all__ = ["podman"]
pytestmark = pytest.mark.root

TEXT = "FROM busybox\nRUN echo loaded >/x\nCMD cat /x\n"


def test_podman_takes_it(busybox: Pybuild, podman: Podman) -> None:
    context, path = busybox.context(TEXT), busybox.work / "s"
    with service(podman, path):
        host = f"unix://{path}"
        busybox.build(context, "--load", "--metadata-file=told", CONTAINER_HOST=host)
        shown = busybox.build(context, "-o", "type=docker,name=other:2,compression=gzip", CONTAINER_HOST=host).shown
        busybox.run("push", "test", "docker-daemon:third:3", CONTAINER_HOST=host)
    assert "the engine has the image already" in shown
    assert podman.execute("other:2") == "loaded\n"
    image = json.loads(podman("inspect", "test"))[0]
    told = json.loads((busybox.work / "told").read_bytes())
    assert f"sha256:{image['Id']}" == told["containerimage.config.digest"]
    assert json.loads(podman("inspect", "third:3"))[0]["Id"] == image["Id"]


def test_there_is_nobody_to_take_it(busybox: Pybuild) -> None:
    context, path = busybox.context(TEXT), busybox.work / "s"
    refused = busybox.run(context, "--load", "-t", "x", status=125, DOCKER_HOST=f"unix://{path}")
    assert f"{path} cannot be reached" in refused.stderr
    assert "RUN echo" not in refused.stderr, "that is known before anything is built"
    assert "ssh://" in busybox.run(context, "--load", "-t", "x", status=125, DOCKER_HOST="ssh://host").stderr


def test_it_hangs_up(busybox: Pybuild) -> None:
    context, path = busybox.context(TEXT), busybox.work / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.shutdown(socket.SHUT_RDWR)
        result = busybox.run(context, "--load", "-t", "x", status=125, DOCKER_HOST=f"unix://{path}")
    assert str(path) in result.stderr
