"""ADD from the network: a real web server and a real git server, on loopback."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.elsewhere import Elsewhere, elsewhere
from tests.git_server import git, repo, server
from tests.web_server import Web, serve, web

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["elsewhere", "repo", "server", "web"]
pytestmark = [pytest.mark.root, pytest.mark.either_user]


def test_a_file_from_a_web_server(busybox: Pybuild, web: Web) -> None:
    (web.files / "a.txt").write_text("fetched")
    context = busybox.context(
        f"FROM busybox\nADD {web.url}/a.txt /files/\nADD --chmod=644 {web.url}/a.txt local.txt /both/\n", local_txt="l"
    )
    busybox.build(context)
    assert busybox.sh("cat /files/a.txt /both/local.txt; stat -c %a /files/a.txt /both/a.txt") == "fetchedl600\n644\n"
    assert busybox.build(context).outcomes() == ["HIT", "HIT"]
    (web.files / "a.txt").write_text("changed")
    os.utime(web.files / "a.txt", (2_000_000_000, 2_000_000_000))
    assert busybox.build(context).outcomes() == ["RAN", "RAN"]
    assert busybox.sh("cat /files/a.txt") == "changed"


def test_a_checksum(busybox: Pybuild, web: Web) -> None:
    (web.files / "a.txt").write_text("right")
    digest = hashlib.sha256(b"right").hexdigest()
    context = busybox.context(f"FROM busybox\nADD --checksum=sha256:{digest} {web.url}/a.txt /\n")
    busybox.build(context)
    (web.files / "a.txt").write_text("wrong")
    os.utime(web.files / "a.txt", (2_000_000_000, 2_000_000_000))
    assert busybox.build(context).outcomes() == ["HIT"], "what is known to be right is not asked for again"
    other = busybox.context(f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {web.url}/a.txt /\n")
    shown = busybox.build(other, status=125).shown
    assert "Buildfile:2" in shown
    assert "--checksum" in shown


def test_an_archive_is_unpacked_only_when_told(busybox: Pybuild, web: Web) -> None:
    (web.files / "inner").mkdir()
    (web.files / "inner/x").write_text("x")
    shutil.make_archive(str(web.files / "a"), "gztar", web.files / "inner")
    context = busybox.context(
        f"FROM busybox\nADD {web.url}/a.tar.gz /kept/\nADD --unpack=true {web.url}/a.tar.gz /unpacked/\n"
    )
    busybox.build(context)
    assert busybox.sh("ls /kept /unpacked") == "/kept:\na.tar.gz\n\n/unpacked:\nx\n"


def test_a_token_by_secret(busybox: Pybuild, web: Web) -> None:
    (web.files / "private").write_text("for members")
    context = busybox.context(f"FROM busybox\nADD {web.url}/private /\n")
    assert "401" in busybox.build(context, status=125).shown
    busybox.build(context, "--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOKEN", TOKEN="t0ken")
    assert busybox.sh("cat /private") == "for members"
    assert "t0ken" not in busybox.run("inspect", "test").stdout


def test_what_is_not_there(busybox: Pybuild, web: Web) -> None:
    context = busybox.context(f"FROM busybox\nADD {web.url}/missing /\n")
    shown = busybox.build(context, status=125).shown
    assert "404" in shown
    assert "/missing" in shown
    gone = busybox.context("FROM busybox\nADD http://user:pass-word@127.0.0.1:9/x /\n", "gone")
    shown = busybox.build(gone, status=125).shown
    assert "127.0.0.1:9" in shown
    assert "pass-word" not in shown


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_git_repository(busybox: Pybuild, server: str, repo: Path) -> None:
    first = git(repo, "rev-parse", "v1^{commit}")
    context = busybox.context(
        f"FROM busybox\nADD {server}/app.git /new\nADD {server}/app.git#v1:sub /old\n"
        f"ADD --checksum={first} {server}/app.git#v1 /checked\nADD --keep-git-dir=true {server}/app.git /kept\n"
    )
    assert "git's own data" not in busybox.build(context).shown, "the one .git was asked for"
    assert busybox.sh(
        "cat /new/sub/file /old/file /checked/sub/file; ls -A /new; stat -c %a:%u /new/run; readlink /new/out"
    ) == ("twooneonelink\nout\nrun\nsub\n755:0\n/etc\n")
    assert busybox.sh("ls -d /kept/.git") == "/kept/.git\n"
    assert busybox.build(context).outcomes() == ["HIT"] * 4
    (repo / "sub/file").write_text("three")
    git(repo, "commit", "-q", "-a", "-m", "three")
    assert busybox.build(context).outcomes()[0] == "RAN"
    assert busybox.sh("cat /new/sub/file") == "three"
    wrong = busybox.context(f"FROM busybox\nADD {server}/app.git#nothing /\n", "wrong")
    assert "nothing" in busybox.build(wrong, status=125).shown
    option = busybox.context(f"FROM busybox\nADD {server}/app.git#--upload-pack=touch${{IFS}}/tmp/x /\n", "option")
    assert busybox.build(option, status=125).status == 125


def test_a_redirect_to_this_machine_only_where_it_is_allowed(busybox: Pybuild, web: Web, elsewhere: Elsewhere) -> None:
    (web.files / "a.txt").write_text("local")
    with serve(web.files, elsewhere) as there:
        context = busybox.context(f"FROM busybox\nADD {there.url}/to/{web.url}/a.txt /files/a.txt\n")
        refused = busybox.build(context, status=125)
        assert "which is this machine or its link" in refused.shown
        assert "--allow-local-redirects" in refused.shown
        assert web.asked == []
        busybox.build(context, "--allow-local-redirects")
        assert busybox.sh("cat /files/a.txt") == "local"
        remote = f"{there.url}/to/{web.url}/Buildfile"
        (web.files / "Buildfile").write_text("FROM busybox\n")
        assert "which is this machine" in busybox.run("build", remote, status=125).stderr
        busybox.run("build", "--allow-local-redirects", remote)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "file"), (signal.SIGINT, "app.git")])
def test_a_server_that_keeps_silent_does_not_keep_the_program(pybuild: Pybuild, number: int, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        port = silent.getsockname()[1]
        context = pybuild.context(f"FROM scratch\nADD http://127.0.0.1:{port}/{name} /\n")
        process = subprocess.Popen(
            [*pybuild.command, "--progress=plain", context], env=pybuild.environ(), stderr=subprocess.PIPE, text=True
        )
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            process.send_signal(number)
            _, shown = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "CANCELLED" in shown
    assert shown.endswith("pybuild: interrupted\n")


def test_a_repository_by_ssh_only_with_what_was_lent(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch\nADD git@127.0.0.1:secret.git /\n")
    shown = pybuild.build(context, status=125, SSH_AUTH_SOCK="/nowhere").shown
    assert "no keys were given to this build\n  hint: lend it an agent or a key: --ssh default" in shown


def test_what_comes_has_a_bound(pybuild: Pybuild, web: Web) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        info = tarfile.TarInfo("large")
        info.size = 100_000
        made.addfile(info, io.BytesIO(bytes(info.size)))
    (web.files / "large").write_bytes(bytes(100_000))
    pybuild.context("", "tar", x_tar=archive.getvalue())
    for text in ("ADD x.tar /\n", f"ADD {web.url}/large /\n"):
        context = pybuild.context(f"FROM scratch\n{text}", "tar")
        shown = pybuild.build(context, "--max-layer-size=50KB", status=125).shown
        assert "than the allowed 50000 bytes" in shown
        assert "--max-layer-size=SIZE allows more" in shown
        pybuild.build(context, "--max-layer-size=1MB")
    refused = pybuild.run("import", "-t", "x", "--max-layer-size=50KB", "tar/x.tar", status=125)
    assert "than the allowed 50000 bytes\n  hint: --max-layer-size=SIZE allows more" in refused.stderr
