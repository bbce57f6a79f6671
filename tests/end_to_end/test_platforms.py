"""Images for other machines than this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildah_py.image import platform as platforms
from buildah_py.linux.binfmt import find_interpreter

if TYPE_CHECKING:
    from .conftest import Pybuild

pytestmark = pytest.mark.root

CROSS = """
FROM --platform=$BUILDPLATFORM busybox AS tools
ARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDPLATFORM
RUN echo "$BUILDPLATFORM for $TARGETPLATFORM: $TARGETARCH $TARGETVARIANT" >/told
FROM scratch
COPY --from=tools /told /
"""


def test_a_stage_of_this_machine_makes_an_image_for_another(busybox: Pybuild) -> None:
    busybox.build(busybox.context(CROSS), "--platform=linux/arm/v7", "-o", "out")
    config = json.loads(busybox.run("inspect", "test").stdout)[0]["Pybuild"]
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm", "v7")
    host = platforms.host()
    assert (busybox.work / "out/told").read_text() == f"{host} for linux/arm/v7: arm v7\n"
    again = busybox.build(busybox.context(CROSS), "--platform=linux/arm/v7")
    assert set(again.outcomes()) == {"HIT"}


def test_a_foreign_command_says_what_is_missing(busybox: Pybuild) -> None:
    if find_interpreter("s390x"):
        pytest.skip("needs a kernel without an emulator for s390x")
    context = busybox.context("FROM scratch\nCOPY a.txt /\nRUN echo\n", a_txt="a")
    refused = busybox.build(context, "--platform=linux/s390x", status=125).shown
    assert "Buildfile:3: a command for linux/s390x cannot run" in refused
    assert "qemu-user-static" in refused
    assert "runs linux" in busybox.build(context, "--platform=windows/amd64", status=125).shown


def test_one_platform_at_a_time(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\n")
    refused = busybox.run("--platform=linux/amd64,linux/arm64", context, status=2).stderr
    assert "one platform" in refused
    assert "manifest create" in refused
