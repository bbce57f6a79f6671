"""Further contexts: directories, images, stages, archives and repositories by name."""

from __future__ import annotations

import http.server
import json
import shutil
import tarfile
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.git_server import repo, server

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["repo", "server"]
pytestmark = [pytest.mark.root, pytest.mark.either_user]


def test_a_directory(busybox: Pybuild) -> None:
    other = busybox.context("", "other", a_txt="from there", hidden_txt="no")
    (other / ".dockerignore").write_text("hidden.txt\nBuildfile\n.dockerignore\n")
    context = busybox.context(
        "FROM busybox\nCOPY --from=assets . /assets/\n"
        "RUN --mount=type=bind,from=assets,target=/m cat /m/a.txt > /seen\n",
        hidden_txt="the main context has rules of its own",
    )
    named = f"assets={other}"
    busybox.build(context, "--build-context", named)
    assert busybox.sh("ls /assets; cat /seen") == "a.txt\nfrom there"
    assert busybox.build(context, "--build-context", named).outcomes() == ["HIT", "HIT"]
    (other / "a.txt").write_text("changed")
    assert busybox.build(context, "--build-context", named).outcomes() == ["RAN", "RAN"]
    assert "assets" in busybox.build(context, status=125).shown


def test_an_image_and_a_stage_in_place_of_a_name(busybox: Pybuild) -> None:
    base = busybox.context("FROM busybox\nRUN echo other > /which\n", "base")
    busybox.run("-t", "other", base)
    context = busybox.context(
        "FROM nowhere:1 AS base\nFROM busybox AS stage\nRUN echo stage > /which\nFROM base\nCOPY --from=x /which /x\n"
    )
    named = ["--build-context", "base=docker-image://other", "--build-context", "x=target:stage"]
    busybox.build(context, *named)
    assert busybox.sh("cat /which /x") == "other\nstage\n"
    files = ["--build-context", f"base={base}", "--build-context", "x=target:stage"]
    archive = busybox.work / "out.tar"
    busybox.build(context, *files, "-o", f"type=tar,dest={archive}")
    with tarfile.open(archive) as tar:
        assert sorted(member.name for member in tar) == ["Buildfile", "x"], "a directory's files are the stage"


def test_a_repository(busybox: Pybuild, server: str, repo: Path) -> None:
    context = busybox.context("FROM busybox\nCOPY --from=code sub/file /\n")
    busybox.build(context, "--build-context", f"code={server}/app.git#v1")
    assert busybox.sh("cat /file") == "one"


def test_an_archive_on_a_web_server(busybox: Pybuild, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/x").write_text("archived")
    shutil.make_archive(str(tmp_path / "a"), "gztar", tmp_path / "inner")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        context = busybox.context("FROM busybox\nCOPY --from=far x /\n")
        busybox.build(context, "--build-context", f"far=http://127.0.0.1:{web.server_port}/a.tar.gz")
        web.shutdown()
        thread.join()
    assert busybox.sh("cat /x") == "archived"


def test_a_layout_by_tag_and_digest_and_a_name_that_nothing_uses(busybox: Pybuild) -> None:
    layout = busybox.work / "layout"
    busybox.run("-t", "made:1", "-o", f"type=oci,tar=false,dest={layout}", busybox.context("FROM busybox\n", "base"))
    (made,) = json.loads((layout / "index.json").read_text())["manifests"]
    context = busybox.context("FROM other\n")
    source = f"oci-layout://{layout}:1@{made['digest']}"
    shown = busybox.build(
        context, "--build-context", f"docker.io/library/other:latest={source}", "--build-context", f"typo={context}"
    ).shown
    assert "the context typo was given, but nothing in the build file names it" in shown
    assert "the context other" not in shown
    twice = busybox.build(
        context, "--build-context", "a=target:b", "--build-context", "a:latest=target:c", status=2
    ).shown
    assert "--build-context a:latest=target:c: a is b already" in twice


@pytest.mark.parametrize("spec", ["nothing", "=x", "a=", "a=docker-image://", "a=oci-layout://"])
def test_what_is_refused(busybox: Pybuild, spec: str) -> None:
    assert (
        "--build-context" in busybox.build(busybox.context("FROM busybox\n"), "--build-context", spec, status=2).shown
    )
