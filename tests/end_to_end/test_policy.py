"""A source policy, which holds before anything is fetched."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from tests.web_server import Web, web

if TYPE_CHECKING:
    from .conftest import Pybuild

__all__ = ["web"]
pytestmark = pytest.mark.root


def policy(store: Pybuild, *rules: tuple[str, str, dict[str, Any]]) -> str:
    path = store.work / "policy.json"
    written = [{"action": action, "selector": {"identifier": about}, **more} for action, about, more in rules]
    path.write_text(json.dumps({"rules": written}))
    return str(path)


def test_images(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo built\n")
    file = policy(busybox, ("DENY", "docker-image://*", {}))
    denied = busybox.build(context, EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=file, status=125).shown
    assert "Buildfile:1" in denied
    assert "docker-image://docker.io/library/busybox:latest is denied by the source policy" in denied
    assert "#1" not in denied, "nothing was built"
    elsewhere = busybox.context("FROM registry.invalid/base:1 AS a\nRUN echo built >/told\n", "elsewhere")
    updates = {"updates": {"identifier": "docker-image://docker.io/library/busybox:latest"}}
    file = policy(busybox, ("CONVERT", "docker-image://registry.invalid/*", updates))
    busybox.build(elsewhere, f"--source-policy-file={file}")
    assert busybox.sh("cat /told") == "built\n"
    copies = busybox.context("FROM busybox\nCOPY --from=registry.invalid/base:1 /bin/sh /copied\n", "copies")
    busybox.build(copies, f"--source-policy-file={file}")
    file = policy(busybox, ("DENY", "docker-image://registry.invalid/*", {}))
    refused = busybox.build(copies, f"--source-policy-file={file}", status=125).shown
    assert "Buildfile:2" in refused
    assert "registry.invalid/base:1 is denied" in refused


def test_files_of_web_servers_and_directories(busybox: Pybuild, web: Web) -> None:
    (web.files / "a").write_bytes(b"right")
    (web.files / "b").write_bytes(b"other")
    context = busybox.context(f"FROM scratch\nADD {web.url}/a /\n")
    file = policy(busybox, ("DENY", f"{web.url}/*", {}))
    denied = busybox.build(context, f"--source-policy-file={file}", status=125).shown
    assert f"{web.url}/a is denied" in denied
    assert web.asked == []
    wanted = f"sha256:{sha256(b'right').hexdigest()}"
    file = policy(busybox, ("CONVERT", f"{web.url}/*", {"updates": {"attrs": {"http.checksum": wanted}}}))
    busybox.build(context, f"--source-policy-file={file}", "-o", "out")
    assert (busybox.work / "out/a").read_bytes() == b"right"
    wrong = busybox.context(f"FROM scratch\nADD {web.url}/b /\n", "wrong")
    assert "has the digest" in busybox.build(wrong, f"--source-policy-file={file}", status=125).shown
    file = policy(busybox, ("CONVERT", f"{web.url}/a", {"updates": {"identifier": f"{web.url}/b"}}))
    busybox.build(context, f"--source-policy-file={file}", "-o", "out")
    assert (busybox.work / "out/a").read_bytes() == b"other"
    file = policy(busybox, ("DENY", "local://context", {}))
    assert "local://context is denied" in busybox.build(context, f"--source-policy-file={file}", status=None).shown
