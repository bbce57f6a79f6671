from __future__ import annotations

import os
import select
import socket
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import Interrupted, NotFound, SourceError
from buildah_py.sources.git import Checkout, checkout
from buildah_py.sources.git_url import GitSource, parse
from tests.elsewhere import Elsewhere, elsewhere
from tests.git_server import ENVIRONMENT, STAMP, Backend, git, repo, serve, server

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["elsewhere", "repo", "server"]


def get(url: str, tmp_path: Path, **options: object) -> Checkout:
    number = len(list(tmp_path.glob("checkout*")))
    dest = tmp_path / f"checkout{number}"
    dest.mkdir()
    return checkout(parse(url), str(tmp_path / "cache"), str(dest), environment=ENVIRONMENT, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("", "two"), ("#main", "two"), ("#v1", "one"), ("#v1a", "one"), ("#refs/heads/old", "one"), ("?branch=old", "one"),
     ("?tag=v1", "one"), ("?ref=v1", "one")],
)  # fmt: skip
def test_what_is_checked_out(repo: Path, server: str, tmp_path: Path, suffix: str, content: str) -> None:
    found = get(f"{server}/app.git{suffix}", tmp_path)
    dest = tmp_path / "checkout0"
    assert found.path == str(dest)
    assert (dest / "sub/file").read_text() == content
    assert sorted(os.listdir(dest)) == ["link", "out", "run", "sub"]
    assert found.commit == git(repo, "rev-parse", "main" if content == "two" else "old")
    assert found.time == STAMP * 10**9


def test_modes_and_times(repo: Path, server: str, tmp_path: Path) -> None:
    assert repo
    previous = os.umask(0o077)
    try:
        get(f"{server}/app.git", tmp_path)
    finally:
        os.umask(previous)
    for name, mode in (("run", 0o755), ("sub", 0o755), ("sub/file", 0o644)):
        status = (tmp_path / "checkout0" / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (mode, STAMP)


def test_commits(repo: Path, server: str, tmp_path: Path) -> None:
    old, new = git(repo, "rev-parse", "old"), git(repo, "rev-parse", "main")
    assert get(f"{server}/app.git#{old}", tmp_path).commit == old
    assert get(f"{server}/app.git#{old[:9]}", tmp_path).commit == old
    assert get(f"{server}/app.git?checksum={new[:8]}", tmp_path).commit == new
    with pytest.raises(SourceError, match=f"is commit {new}, and {old} is asked for"):
        get(f"{server}/app.git?checksum={old}", tmp_path)
    with pytest.raises(NotFound, match="has no branch, tag or commit 'none'"):
        get(f"{server}/app.git#none", tmp_path)


def test_a_branch_that_moves_is_fetched_again(repo: Path, server: str, tmp_path: Path) -> None:
    before = get(f"{server}/app.git", tmp_path)
    (repo / "sub/file").write_text("three")
    git(repo, "commit", "-q", "-a", "-m", "three")
    after = get(f"{server}/app.git", tmp_path)
    assert before.commit != after.commit
    assert (tmp_path / "checkout1/sub/file").read_text() == "three"


def test_sub_directories(repo: Path, server: str, tmp_path: Path) -> None:
    assert repo
    assert get(f"{server}/app.git#main:sub", tmp_path).path == str(tmp_path / "checkout0/sub")
    for name in ("link", "out", "none", "run"):
        with pytest.raises(NotFound, match=f"has no directory {name}"):
            get(f"{server}/app.git#main:{name}", tmp_path)


def test_the_git_directory_is_kept_where_it_is_wanted(repo: Path, server: str, tmp_path: Path) -> None:
    found = get(f"{server}/app.git?keep-git-dir=1", tmp_path)
    dest = tmp_path / "checkout0"
    assert git(dest, "rev-parse", "HEAD") == found.commit == git(repo, "rev-parse", "main")
    assert git(dest, "status", "--porcelain") == ""
    assert git(dest, "remote", "get-url", "origin") == f"{server}/app.git"


def test_submodules(repo: Path, server: str, tmp_path: Path) -> None:
    outer = tmp_path / "remote/outer.git"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repo), "mods/app")
    git(outer, "config", "-f", ".gitmodules", "submodule.mods/app.url", "../app.git")
    git(outer, "commit", "-q", "-a", "-m", "outer")
    (repo / "sub/file").write_text("later")
    git(repo, "commit", "-q", "-a", "-m", "later")
    get(f"{server}/outer.git", tmp_path)
    assert (tmp_path / "checkout0/mods/app/sub/file").read_text() == "two"
    get(f"{server}/outer.git?submodules=false", tmp_path)
    assert os.listdir(tmp_path / "checkout1/mods/app") == []
    git(outer, "config", "-f", ".gitmodules", "submodule.mods/app.url", str(repo))
    git(outer, "commit", "-q", "-a", "-m", "a path of the server's machine")
    with pytest.raises(SourceError, match="transport 'file' not allowed"):
        get(f"{server}/outer.git", tmp_path)


def test_credentials_are_in_no_message(
    server: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo
    monkeypatch.setattr(Backend, "password", "Basic bWU6aGlkZGVu")
    url = server.replace("//", "//me:hidden@")
    found = get(f"{url}/app.git?keep-git-dir=1", tmp_path)
    assert "hidden" not in (tmp_path / "checkout0/.git/config").read_text()
    assert get(f"{server}/app.git", tmp_path, authorization=lambda _: "Basic bWU6aGlkZGVu").commit == found.commit
    for bad in (f"{url}/none.git", url.replace("hidden", "hidden-too") + "/app.git#v1", f"{url}/app.git#none"):
        with pytest.raises((SourceError, NotFound)) as caught:
            get(bad, tmp_path)
        assert "hidden" not in str(caught.value)
        assert "wrong-one" not in str(caught.value)


def test_a_redirect_is_followed_where_one_of_a_file_would_be(server: str, repo: Path, tmp_path: Path) -> None:
    commit = git(repo, "rev-parse", "main")
    with serve(tmp_path, redirect=server) as moved:
        assert get(f"{moved}/app.git", tmp_path).commit == commit
        assert get(f"{moved}/app.git#{commit}", tmp_path).commit == commit
    for target, message in (
        (f"file://{tmp_path}/remote", "not an address of a web server"),
        ("ftp://127.0.0.1", "not an address"),
    ):
        with serve(tmp_path, redirect=target) as moved, pytest.raises(SourceError, match=message):
            get(f"{moved}/app.git", tmp_path)


def test_no_redirect_and_no_submodule_leads_from_elsewhere_to_this_machine(
    server: str, repo: Path, tmp_path: Path, elsewhere: Elsewhere
) -> None:
    with (
        serve(tmp_path, elsewhere, redirect=server) as moved,
        pytest.raises(SourceError, match="which is this machine"),
    ):
        get(f"{moved}/app.git", tmp_path)
    with serve(tmp_path, elsewhere, redirect=server) as moved:
        assert get(f"{moved}/app.git", tmp_path, local_redirects=True).commit
    outer = tmp_path / "remote/outer.git"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repo), "app")
    git(outer, "config", "-f", ".gitmodules", "submodule.app.url", f"{server}/app.git")
    git(outer, "commit", "-q", "-a", "-m", "outer")
    with serve(tmp_path / "remote", elsewhere) as there:
        with pytest.raises(SourceError, match=r"has a submodule at .* which is this machine"):
            get(f"{there}/outer.git", tmp_path)
        get(f"{there}/outer.git?submodules=0", tmp_path)
        get(f"{there}/outer.git", tmp_path, local_redirects=True)
    get(f"{server}/outer.git", tmp_path)


def test_credentials_are_in_no_list_of_processes(
    server: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo
    monkeypatch.setattr(Backend, "password", "Basic bWU6aGlkZGVu")
    seen: list[str] = []
    start = subprocess.Popen

    def note(arguments: list[str], **options: Any) -> Any:
        seen.extend(arguments)
        return start(arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", note)
    get(server.replace("//", "//me:hidden@") + "/app.git?keep-git-dir=1", tmp_path)
    assert "fetch" in seen
    assert not [argument for argument in seen if "hidden" in argument or "aGlkZGVu" in argument]


def test_nothing_of_the_repository_runs(server: str, repo: Path, tmp_path: Path) -> None:
    (repo / ".gitattributes").write_text("* filter=evil\n")
    (repo / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = touch {tmp_path}/ran\n')
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "evil")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text((repo / ".gitconfig").read_text())
    dest = tmp_path / "checkout0"
    dest.mkdir()
    environment = {**ENVIRONMENT, "HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig")}
    checkout(parse(f"{server}/app.git"), str(tmp_path / "cache"), str(dest), environment=environment)
    assert not (tmp_path / "ran").exists()


def test_local_repositories_only_where_they_are_allowed(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "dest").mkdir()
    with pytest.raises(SourceError, match="transport 'file' not allowed"):
        checkout(GitSource(str(repo)), str(tmp_path / "cache"), str(tmp_path / "dest"), environment=ENVIRONMENT)
    checkout(
        GitSource(str(repo)), str(tmp_path / "cache"), str(tmp_path / "dest"), environment=ENVIRONMENT, allow_file=True
    )
    assert (tmp_path / "dest/run").exists()


HOSTILE = {
    "https://h/r.git#--upload-pack=touch x": "has a blank",
    "https://h/r.git#--upload-pack=x": "is not a name",
    "https://h/r.git#-x": "is not a name",
    "https://h/r.git#a..b": "is not a name",
    "https://h/r.git#a@{1}": "is not a name",
    "https://h/r.git#a:../b": "leads out",
    "https://h/r.git#a:/x/../..": "leads out",
    "https://h/r.git#:.git": "is git's own",
    "https://h/r.git?ref=a&tag=b": "gives ref and tag",
    "https://h/r.git?what=x": "'what' means nothing",
    "https://h/r.git?checksum=xyz": "is not a commit id",
    "https://h/r.git?submodules=maybe": "neither true nor false",
    "ssh://-oProxyCommand=x/r.git": "begins with -",
    "ext::sh -c x": "has a blank",
    "ext::x": "is not a repository",
    "fd::17": "is not a repository",
    "-x.git": "is not a repository",
    "--upload-pack=x://h/r": "is not a repository",
    "https://h/a b.git": "has a blank",
}


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls(url: str) -> None:
    with pytest.raises(SourceError, match=HOSTILE[url]):
        parse(url)


def test_no_repository_of_this_machine(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="transport 'file' not allowed"):
        get("file:///x", tmp_path)


@pytest.mark.parametrize("name", ["-x", "--upload-pack=false"])
def test_a_remote_whose_branch_is_called_like_an_option(server: str, repo: Path, tmp_path: Path, name: str) -> None:
    """Only names that the build file gives are asked for, never those that a server gives."""
    commit = git(repo, "rev-parse", "main")
    (repo / ".git" / "refs" / "heads" / name).write_text(commit + "\n")
    (repo / ".git" / "HEAD").write_text(f"ref: refs/heads/{name}\n")
    assert get(f"{server}/app.git", tmp_path).commit == commit


@pytest.mark.parametrize(
    "url", ["-x", "--upload-pack=touch ran", "ext::touch ran", "file:///etc", "fd::7", "ssh://-oProxyCommand=touch/x"]
)
def test_hostile_submodules(server: str, repo: Path, tmp_path: Path, url: str) -> None:
    outer = tmp_path / "remote/outer.git"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repo), "app")
    git(outer, "config", "-f", ".gitmodules", "submodule.app.url", url)
    git(outer, "commit", "-q", "-a", "-m", "outer")
    with pytest.raises(SourceError):
        get(f"{server}/outer.git", tmp_path, agent="/lent")
    assert not list(tmp_path.rglob("ran"))


def test_parse() -> None:
    assert parse("https://h/r.git#v1:a//b/") == GitSource("https://h/r.git", "v1", "a/b")
    assert parse("git@h:o/r.git?branch=x&keep-git-dir&mtime=checkout&submodules=0") == GitSource(
        "git@h:o/r.git", "refs/heads/x", "", "", keep_git_dir=True, submodules=False, mtime="checkout"
    )


def test_nothing_of_the_current_directory_runs(
    server: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    here = tmp_path / "here"
    here.mkdir()
    git(here, "init", "-q")
    for name in ("core.askPass", "core.gitProxy", "core.sshCommand", "core.fsmonitor", "credential.helper"):
        git(here, "config", name, str(evil))
    monkeypatch.chdir(here)
    monkeypatch.setattr(Backend, "password", "Basic bWU6aGlkZGVu")
    (tmp_path / "dest").mkdir()
    environment = {**ENVIRONMENT, "HOME": str(tmp_path)}
    for url in (f"{server}/app.git", "git://127.0.0.1:1/x.git", "ssh://127.0.0.1:1/x.git"):
        with pytest.raises(SourceError):
            checkout(
                parse(url), str(tmp_path / "cache"), str(tmp_path / "dest"), environment=environment, own_access=True
            )
    assert not (tmp_path / "ran").exists()


def test_no_password_of_this_user_is_sent(
    server: str, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo
    asked: list[str] = []
    serve_it = Backend.serve

    def note(self: Backend, body: bytes) -> None:
        asked.append(self.headers.get("Authorization") or "")
        serve_it(self, body)

    monkeypatch.setattr(Backend, "serve", note)
    monkeypatch.setattr(Backend, "password", "Basic bWU6aGlkZGVu")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password hidden\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "dest").mkdir()
    for own in (False, True):
        with pytest.raises(SourceError, match="ls-remote failed"):
            checkout(parse(f"{server}/app.git"), str(tmp_path / "cache"), str(tmp_path / "dest"), own_access=own)
    assert asked == ["", ""]


@pytest.fixture
def ssh(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a user with an agent, and with an ssh that notes what it is given."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\necho "$SSH_AUTH_SOCK $*" >> {tmp_path}/said\nexit 1\n')
    (programs / "ssh").chmod(0o755)
    return {**ENVIRONMENT, "PATH": f"{programs}:{ENVIRONMENT['PATH']}", "SSH_AUTH_SOCK": "/of/the/user"}


@pytest.mark.parametrize("url", ["git@host.invalid:secret.git", "ssh://git@host.invalid/secret.git"])
def test_ssh_only_with_what_was_lent(url: str, ssh: dict[str, str], tmp_path: Path) -> None:
    def said(url: str, **options: Any) -> str:
        (tmp_path / "dest").mkdir(exist_ok=True)
        (tmp_path / "said").write_text("")
        with pytest.raises(SourceError) as caught:
            checkout(parse(url), str(tmp_path / "cache"), str(tmp_path / "dest"), environment=ssh, **options)
        return (tmp_path / "said").read_text() or str(caught.value)

    assert "no keys were given" in said(url)
    assert "--ssh default" in said(url)
    lent = said(url, agent="/lent")
    assert lent.startswith("/lent -o BatchMode=yes ")
    assert " -F none -o IdentityFile=none -o IdentityAgent=SSH_AUTH_SOCK " in lent
    own = said(url, own_access=True, agent="/lent")
    assert own.startswith("/of/the/user -o BatchMode=yes ")
    assert "IdentityFile" not in own


def test_submodules_by_ssh_only_with_what_was_lent(
    server: str, repo: Path, ssh: dict[str, str], tmp_path: Path
) -> None:
    outer = tmp_path / "remote/outer.git"
    outer.mkdir()
    git(outer, "init", "-q")
    git(outer, "submodule", "add", "-q", str(repo), "app")
    git(outer, "config", "-f", ".gitmodules", "submodule.app.url", "git@host.invalid:secret.git")
    git(outer, "commit", "-q", "-a", "-m", "outer")
    options: dict[str, Any] = {"environment": ssh, "own_access": True}
    (tmp_path / "dest").mkdir()
    for message in ("no keys were given", "fetch failed"):
        with pytest.raises(SourceError, match=message):
            checkout(parse(f"{server}/outer.git"), str(tmp_path / "cache"), str(tmp_path / "dest"), **options)
        options["agent"] = "/lent"
    assert (tmp_path / "said").read_text().startswith("/lent ")


def test_a_git_that_waits_is_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/app.git"
        with pytest.raises(SourceError, match=r"git ls-remote was ended: it took longer than 0\.3 s"):
            get(url, tmp_path, longest=0.3)
        connection, _ = silent.accept()
        connection.recv(1)
        connection.close()

        def asked() -> bool:
            """Whether git has come as far as to ask."""
            return bool(select.select([silent], [], [], 0)[0])

        with pytest.raises(Interrupted):
            get(url, tmp_path, cancelled=asked)
        connection, _ = silent.accept()
        with connection:
            while connection.recv(4096):  # until the last process that has the connection is gone
                pass


def test_what_a_killed_git_left_is_in_nobodys_way(repo: Path, server: str, tmp_path: Path) -> None:
    get(f"{server}/app.git", tmp_path)
    (store,) = (tmp_path / "cache").iterdir()
    for left in ("shallow.lock", "refs/pybuild/head.lock", "HEAD.lock", "objects/pack/tmp_pack_x"):
        (store / left).touch()
    (repo / "sub/file").write_text("three")
    git(repo, "commit", "-q", "-a", "-m", "three")
    get(f"{server}/app.git", tmp_path)
    assert (tmp_path / "checkout1/sub/file").read_text() == "three"
    assert not list(store.rglob("*.lock"))
    assert not list(store.rglob("tmp_*"))
