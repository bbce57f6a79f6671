"""A cache in a server of the Remote Execution API: a CI runner and a laptop, and what happens to the server between."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests import reapi_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.end_to_end.conftest import Pybuild
    from tests.reapi_server import Server

TEXT = """\
FROM busybox AS tools
RUN mkdir /out && echo made > /out/made && head -c 3000000 /dev/urandom > /out/large

FROM busybox
COPY --from=tools /out /out
COPY file /file
RUN cat /out/made /file > /all
"""


@pytest.fixture
def ci(busybox: Pybuild, tmp_path: Path) -> Pybuild:
    """Give another store with the same base image."""
    shutil.copytree(busybox.root, tmp_path / "ci", symlinks=True)
    return replace(busybox, root=tmp_path / "ci")


@pytest.fixture
def server() -> Iterator[Server]:
    with reapi_server.serve() as served:
        yield served


def _large(pybuild: Pybuild) -> str:
    return pybuild.sh("sha256sum < /out/large")


@pytest.mark.skipif(reapi_server.BUILDGRID is None, reason=reapi_server.WITHOUT)
def test_another_store_hits_through_buildgrid_until_that_is_killed(
    ci: Pybuild, busybox: Pybuild, tmp_path: Path
) -> None:
    context = busybox.context(TEXT, file="one\n")
    with reapi_server.buildgrid(tmp_path) as grid:
        assert ci.build(context, f"--cache-to={grid.spec},mode=max").outcomes() == ["RAN"] * 4
        third = replace(busybox, root=tmp_path / "third")
        shutil.copytree(busybox.root, third.root, symlinks=True)
        for one in (busybox, third):
            assert one.build(context, f"--cache-from={grid.spec}").outcomes() == ["HIT"] * 4
        assert _large(busybox) == _large(ci)
        grid.kill()
        # What it promised and does not give any more is made; who must have it there is told.
        (context / "file").write_text("two\n")
        built = third.build(context, f"--cache-from={grid.spec}", f"--cache-to={grid.spec},ignore-error=true")
        assert third.sh("cat /all") == "made\ntwo\n"
        assert f"warning: the cache is not exported: reapi 127.0.0.1:{grid.port}/main pybuild" in built.shown
        assert "cannot be reached" in built.shown
        failed = third.build(context, f"--cache-to={grid.spec}", status=125).shown
        assert "tried twice" in failed
        other = replace(busybox, root=tmp_path / "ci2")
        shutil.copytree(ci.root, other.root, symlinks=True)
        assert "warning: the cache is not used" in other.build(context, f"--cache-from={grid.spec}").shown
        assert other.sh("cat /all") == "made\ntwo\n"


@pytest.mark.skipif(reapi_server.BUILDGRID is None, reason=reapi_server.WITHOUT)
def test_a_buildgrid_that_takes_no_updates_is_no_failure(busybox: Pybuild, tmp_path: Path) -> None:
    context = busybox.context(TEXT, file="one\n")
    with reapi_server.buildgrid(tmp_path, writable=False) as grid:
        built = busybox.build(context, f"--cache-from={grid.spec}", f"--cache-to={grid.spec}")
    assert "--cache-to: nothing is sent: reapi" in built.shown
    assert "warning" not in built.shown


@pytest.mark.parametrize("damage", ["other", "short", "layers gone", "all gone", "denied"])
def test_what_a_server_gives_instead_changes_no_image(
    damage: str, ci: Pybuild, busybox: Pybuild, server: Server
) -> None:
    context = busybox.context(TEXT, file="one\n")
    ci.build(context, f"--cache-to={server.spec},mode=max")
    if damage == "other":
        server.lie = lambda data: data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 2_000_000 else data
    elif damage == "short":
        server.lie = lambda data: data[:-1] if len(data) > 2_000_000 else data
    elif damage == "layers gone":
        server.blobs = {name: data for name, data in server.blobs.items() if len(data) < 2_000_000}
    elif damage == "all gone":
        server.blobs.clear()
    else:
        server.secret = ("authorization", "Bearer t0ken")
    (context / "Buildfile").write_text(TEXT + "RUN sha256sum < /out/large > /sum\n")
    built = busybox.build(context, f"--cache-from={server.spec}")
    assert busybox.sh("cat /all; sha256sum < /out/large | cmp - /sum && echo same") == "made\none\nsame\n"
    assert built.outcomes().count("HIT") == 0 if damage in ("all gone", "denied") else True
    said = {"other": "has other bytes", "short": "ends after", "layers gone": "not there (any more)", "all gone": ""}
    assert said.get(damage, "answered UNAUTHENTICATED") in built.shown
    assert ("warning" in built.shown) is (damage != "all gone")
    server.lie, server.secret = (lambda data: data), None
    assert busybox.build(context, f"--cache-to={server.spec},mode=max").outcomes() == ["HIT"] * 5


def test_a_server_that_keeps_silent_does_not_keep_the_program(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo made > /made\n")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        spec = f"type=reapi,endpoint=grpc://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen(
            [*busybox.command, "--progress=plain", f"--cache-from={spec}", context],
            env=busybox.environ(), stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(signal.SIGINT)
            _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert shown.endswith("pybuild: interrupted\n")
