"""The main context from elsewhere: standard input, git repositories, web servers; and how contexts are looked at."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.git_server import Backend, git, repo, server
from tests.web_server import Web, web

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .conftest import Pybuild

__all__ = ["repo", "server", "web"]
pytestmark = pytest.mark.root

BUILD_FILE = b"FROM scratch\nCOPY . /all/\n"
SECRET = "hidd3n-p4ss"


def packed(**files: bytes | str) -> bytes:
    """Give a tar; `a__b_txt` is the file a/b.txt. A text is what a symbolic link leads to."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for key, content in files.items():
            member = tarfile.TarInfo(key.replace("__", "/").replace("_", "."))
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def feed(pybuild: Pybuild, data: bytes, *arguments: object, status: int = 0) -> str:
    """Run `pybuild` with bytes on its standard input; what it says on stderr."""
    done = subprocess.run(
        [*pybuild.command, *map(str, arguments)],
        input=data,
        capture_output=True,
        check=False,
        env=pybuild.environ(),
        cwd=pybuild.work,
        timeout=60,
    )
    shown = done.stderr.decode("utf-8", "replace")
    assert "Traceback" not in shown, shown
    assert done.returncode == status, shown
    return shown + done.stdout.decode()


def files_of(pybuild: Pybuild, image: str = "test") -> list[str]:
    """List the regular files and links of an image by their paths."""
    out = pybuild.work / "out"
    pybuild.run("cp", f"{image}:/", out)
    found = [
        os.path.relpath(os.path.join(folder, name), out)
        for folder, folders, files in os.walk(out)
        for name in [*files, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]
    ]
    subprocess.run(["rm", "-rf", out], check=True)
    return sorted(found)


PACKINGS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress]


@pytest.mark.either_user
def test_a_tar_on_stdin(pybuild: Pybuild) -> None:
    plain = packed(Dockerfile=BUILD_FILE, a_txt=b"a", secret_key=b"s", _dockerignore=b"secret.key\n.dockerignore\n")
    for pack in PACKINGS:
        shown = feed(pybuild, pack(plain), "-t", "test", "-")
        assert ("HIT\n" in shown.split("COPY")[1]) == (pack is not bytes)
    assert files_of(pybuild) == ["all/Dockerfile", "all/a.txt"]
    assert "standard input" in pybuild.run("verify", "test", status=125).stderr
    assert "a.txt" in feed(pybuild, plain, "context", "ls", "-")
    assert "ignored by .dockerignore line 1" in feed(
        pybuild, plain, "context", "ls", "--why", "secret.key", "-", status=1
    )


def test_a_build_file_inside_of_the_tar(pybuild: Pybuild) -> None:
    tar = packed(docker__one=BUILD_FILE, docker__one_dockerignore=b"*\n!b.txt", a_txt=b"a", b_txt=b"b")
    feed(pybuild, tar, "-t", "test", "-f", "docker/one", "-")
    assert files_of(pybuild) == ["all/b.txt"]
    shown = feed(pybuild, tar, "-f", "docker/two", "-", status=125)
    assert "the context has no build file docker/two" in shown
    (pybuild.work / "here").write_bytes(BUILD_FILE)
    assert "-f - <here" in feed(pybuild, tar, "-f", "here", "-", status=125)


def test_a_lone_build_file_on_stdin(pybuild: Pybuild) -> None:
    feed(pybuild, b"FROM scratch\nCOPY <<E /x\nhi\nE\nCOPY . /\n", "-t", "test", "-")
    assert files_of(pybuild) == ["x"]
    assert "the same" in pybuild.run("verify", "test").stdout
    assert "has no a" in feed(pybuild, b"FROM scratch\nCOPY a /\n", "-", status=125)
    assert "no findings" in feed(pybuild, b"FROM scratch\nCOPY a /\n", "check", "-")
    assert "one" in feed(pybuild, b"FROM scratch AS one\n", "--call=targets", "-")


def test_the_time_of_the_context(pybuild: Pybuild, server: str, repo: Path) -> None:
    def epoch() -> tuple[str, str]:
        image = json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]
        return image["created"], image["config"]["Labels"].get("when", "")

    text = b"FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL when=$SOURCE_DATE_EPOCH\nCOPY a.txt /\n"
    (repo / "Dockerfile").write_bytes(text.replace(b"a.txt", b"run"))
    git(repo, "add", "Dockerfile")
    git(repo, "commit", "-q", "-m", "a build file")
    pybuild.run("build", "-t", "test", "--source-date-epoch=context", f"{server}/app.git")
    assert epoch() == ("2017-07-14T02:40:00Z", "1500000000")
    tar = packed(Dockerfile=b"ARG SOURCE_DATE_EPOCH=context\n" + text, a_txt=b"a")
    feed(pybuild, tar, "-t", "test", "-")
    assert epoch() == ("1970-01-01T00:00:00Z", "0")
    context = pybuild.context(text.decode(), a_txt="a")
    shown = pybuild.build(context, SOURCE_DATE_EPOCH="context").shown
    assert "this context has no time of its own" in shown
    assert epoch()[1] == ""


def test_a_default_of_the_build_file_is_the_epoch(pybuild: Pybuild) -> None:
    context = pybuild.context(
        "ARG E=1_6\nARG SOURCE_DATE_EPOCH=${E/_/}00000000\nFROM scratch\nCOPY a.txt /\n", a_txt="a"
    )
    pybuild.build(context, "--rewrite-timestamp", "-o", "type=oci,dest=out.tar")
    assert json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]["created"] == "2020-09-13T12:26:40Z"
    pybuild.build(context, "--source-date-epoch=1500000000")
    assert json.loads(pybuild.run("inspect", "test").stdout)[0]["Pybuild"]["created"] == "2017-07-14T02:40:00Z"
    wrong = pybuild.context("ARG SOURCE_DATE_EPOCH=yesterday\nFROM scratch\n", "wrong")
    shown = pybuild.build(wrong, status=125).shown
    assert "Buildfile:1:23: SOURCE_DATE_EPOCH is `yesterday`" in shown
    assert "yesterday" in pybuild.run("check", wrong, status=1).stderr


@pytest.mark.parametrize(
    ("data", "arguments", "status", "message"),
    [
        (b"FROM scratch\n", ["-f", "-", "-"], 2, "cannot be both"),
        (b"FROM scratch\n", ["-f", "x", "-"], 2, "is a build file, and -f x names another one"),
        (b"", ["-"], 125, "nothing came from standard input"),
        (b"\1\2\0", ["-"], 125, "neither a tar archive nor a build file"),
        (gzip.compress(b"FROM scratch\n", mtime=0), ["-"], 125, "neither a tar archive nor a build file"),
        (packed(Dockerfile=BUILD_FILE)[:520], ["-"], 125, "standard input"),
        (packed(**{"../x": b"x"}), ["-"], 125, "'..'"),
        (packed(l="../../etc", l__passwd=b"x"), ["-"], 125, "no build file"),
        (packed(Dockerfile="/etc/hostname"), ["-"], 125, "leads to nothing inside of the context"),
        (packed(Dockerfile=BUILD_FILE, Dockerfile_dockerignore="/etc/passwd"), ["-"], 125, "inside of the context"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "",
)
def test_what_is_refused_on_stdin(
    pybuild: Pybuild, data: bytes, arguments: list[str], status: int, message: str
) -> None:
    assert message in feed(pybuild, data, *arguments, status=status)


def test_a_repository(pybuild: Pybuild, server: str, repo: Path) -> None:
    (repo / "sub/Dockerfile").write_bytes(BUILD_FILE)
    (repo / "sub/.dockerignore").write_text("Dockerfile\n.dockerignore\nescape\n")
    (repo / "sub/escape").symlink_to("../run")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "a build file")
    pybuild.run("-t", "test", f"{server}/app.git#main:sub")
    assert files_of(pybuild) == ["all/file"]
    pybuild.run("-t", "query", f"{server}/app.git?ref=main&subdir=sub")
    assert files_of(pybuild, "query") == ["all/file"]
    git(repo, "rm", "-q", "-r", ".")
    git(repo, "commit", "-q", "-m", "all gone")
    # The record holds the commit that was built, not the branch.
    assert "the same" in pybuild.run("verify", "test").stdout
    assert "has no build file" in pybuild.run(f"{server}/app.git", status=125).stderr
    assert "has no branch, tag or commit" in pybuild.run(f"{server}/app.git#nowhere", status=125).stderr


def test_a_build_file_for_a_repository(pybuild: Pybuild, server: str, repo: Path, web: Web) -> None:
    (repo / "docker").mkdir()
    (repo / "docker/one.Dockerfile").write_text("FROM scratch\nCOPY sub/file /one\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "a build file")
    url = f"{server}/app.git"
    pybuild.run("-t", "one", "-f", "docker/one.Dockerfile", url)
    assert files_of(pybuild, "one") == ["one"]
    pybuild.run("-t", "two", "-f", "-", url, stdin="FROM scratch\nCOPY sub/file /two\n")
    assert files_of(pybuild, "two") == ["two"]
    (web.files / "three").write_text("FROM scratch\nCOPY sub/file /three\n")
    pybuild.run("-t", "three", "-f", f"{web.url}/three", url)
    assert files_of(pybuild, "three") == ["three"]
    pybuild.run("-t", "kept", "-f", "-", "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1", url,
                stdin="FROM scratch\nCOPY .git/HEAD /\n")  # fmt: skip
    assert files_of(pybuild, "kept") == ["HEAD"]
    assert "sub/file" in pybuild.run("context", "ls", url).stdout
    assert pybuild.run("--check", "-f", "docker/one.Dockerfile", url).returncode == 0


def test_from_a_web_server(pybuild: Pybuild, web: Web) -> None:
    (web.files / "c.tar.gz").write_bytes(
        gzip.compress(packed(Dockerfile=BUILD_FILE, a=b"a", b=b"b", _dockerignore=b"[^a]*"))
    )
    (web.files / "lone").write_text("FROM scratch\nCOPY <<E /x\nhi\nE\n")
    pybuild.run("-t", "test", f"{web.url}/c.tar.gz")
    assert files_of(pybuild) == ["all/a"]
    pybuild.run("-t", "lone", f"{web.url}/lone")
    assert files_of(pybuild, "lone") == ["x"]
    assert "the same" in pybuild.run("verify", "lone").stdout
    assert "404" in pybuild.run(f"{web.url}/none", status=125).stderr
    (web.files / "private").mkdir()
    (web.files / "private/lone").write_text("FROM scratch\nCOPY <<E /y\nhi\nE\n")
    assert "401" in pybuild.run(f"{web.url}/private/lone", status=125).stderr
    pybuild.run("--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=T", f"{web.url}/private/lone", T="t0ken")


def test_credentials_are_shown_and_kept_nowhere(
    pybuild: Pybuild, server: str, repo: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert repo
    monkeypatch.setattr(Backend, "password", "Basic bWU6aGlkZDNuLXA0c3M=")
    (web.files / "f").write_text("fetched")
    private, far = (url.replace("//", f"//me:{SECRET}@") for url in (server, web.url))
    (pybuild.work / "Dockerfile").write_text(f"FROM scratch\nADD {far}/f /\nADD {private}/app.git /app\n")
    options = [
        "-t",
        "test",
        "-f",
        "Dockerfile",
        "--build-context",
        f"more={private}/app.git",
        "-o",
        "type=oci,dest=o.tar",
    ]
    shown = [
        pybuild.run(*options, "--progress", "json", f"{private}/app.git", status=None),
        pybuild.run("-t", "test", "--progress", "plain", "."),
        pybuild.run("history", "test"),
        pybuild.run("inspect", "test"),
        pybuild.run("-f", "-", f"{private}/none.git", stdin="FROM scratch\n", status=125),
        pybuild.run(f"{far}/none", status=125),
        pybuild.run("--build-context", f"x={far}/no", "-f", "-", stdin="FROM scratch\nCOPY --from=x a /\n", status=125),
    ]  # fmt: skip
    for one in shown:
        assert SECRET not in one.stdout + one.stderr
    grep = subprocess.run(["grep", "-rla", SECRET, pybuild.root], capture_output=True, text=True, check=False)
    assert grep.stdout == ""
    wrong = pybuild.run("-f", "-", server.replace("//", "//me:wr0ng@") + "/app.git", stdin="FROM scratch\n", status=125)
    assert "wr0ng" not in wrong.stderr


def test_a_token_for_a_repository(pybuild: Pybuild, server: str, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert repo
    monkeypatch.setattr(Backend, "password", "Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=")
    arguments = ["-f", "-", f"{server}/app.git"]
    pybuild.run("--secret", "id=GIT_AUTH_TOKEN,env=T", *arguments, stdin="FROM scratch\nCOPY run /\n", T="t0ken")
    pybuild.run(
        "--secret", "id=GIT_AUTH_TOKEN.127.0.0.1,env=T", *arguments, stdin="FROM scratch\nCOPY run /\n", T="t0ken"
    )
    pybuild.run("--secret", "id=GIT_AUTH_TOKEN.other,env=T", *arguments, stdin="FROM scratch\n", status=125, T="t0ken")


def test_modes(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch\nCOPY a run d /x/\n", a="a", run="r", d__e="e")

    def modes(file: int, program: int, directory: int) -> None:
        for name, mode in (("a", file), ("d/e", file), ("run", program), ("d", directory)):
            (context / name).chmod(mode)

    modes(0o644, 0o755, 0o755)
    pybuild.build(context)
    modes(0o600, 0o700, 0o700)
    assert pybuild.build(context).outcomes() == ["RAN"]
    assert pybuild.build(context, "--context-modes=git").outcomes() == ["HIT"]
    modes(0o664, 0o775, 0o775)
    assert pybuild.build(context, "--context-modes=git").outcomes() == ["HIT"]
    (pybuild.work / "config.yaml").write_text("context-modes: git\n")
    assert pybuild.build(context, PYBUILD_CONFIG="config.yaml").outcomes() == ["HIT"]
    assert pybuild.build(context, "--context-modes=exact", PYBUILD_CONFIG="config.yaml").outcomes() == ["RAN"]
    for text in ("context-modes: both\n", "modes: git\n", "- git\n", "context-modes: [git]\n"):
        (pybuild.work / "config.yaml").write_text(text)
        assert "config" in pybuild.build(context, status=2, PYBUILD_CONFIG="config.yaml").shown


def test_an_ignore_file_by_name(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch\nCOPY . /x/\n", a_txt="a", b_txt="b", _dockerignore="b.txt\n")
    (pybuild.work / "mine").write_text("*\n!b.txt\n")
    pybuild.build(context, "--ignorefile", "mine")
    assert files_of(pybuild) == ["x/b.txt"]
    assert "does not exist" in pybuild.build(context, "--ignorefile", "none", status=125).shown


def spoil(context: Path) -> None:
    """Put into a context what hardly belongs into an image."""
    for path, text in {
        ".git/HEAD": "x", "web/node_modules/x/index.js": "x", "env/pyvenv.cfg": "",
        "tls/server.key": "-----BEGIN PRIVATE KEY-----", ".env": "PASSWORD=x", "docs/public.key": "a public key",
    }.items():  # fmt: skip
        (context / path).parent.mkdir(parents=True, exist_ok=True)
        (context / path).write_text(text)


def test_a_build_file_is_warned_of_each_time(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch as base\nCOPY a.txt /\n", a_txt="1")
    for outcome in ("RAN", "HIT"):
        built = pybuild.build(context)
        assert built.outcomes() == [outcome]
        assert built.shown.count("Buildfile:1: FromAsCasing") == 1
    assert "FromAsCasing" in pybuild.run("--progress=plain", context).stderr
    fixed = pybuild.context("FROM scratch AS base\nCOPY a.txt /\n", a_txt="1")
    assert "FromAsCasing" not in pybuild.build(fixed).shown


def test_warnings_of_what_hardly_belongs_into_an_image(pybuild: Pybuild) -> None:
    context = pybuild.context("FROM scratch\nCOPY . /x/\nCOPY . /y/\n")
    spoil(context)
    warnings = [line for line in pybuild.build(context).shown.splitlines() if line.startswith("warning")]
    assert len(warnings) == 1
    for name in (".git", "env (", ".env", "tls/server.key", "and 1 more", "lines in .dockerignore"):
        assert name in warnings[0]
    assert "public.key" not in warnings[0]
    assert "warning" not in pybuild.build(context).shown
    named = pybuild.context("FROM scratch\nCOPY --from=more . /z/\n", "named")
    assert "warning" not in pybuild.build(named, f"--build-context=more={context}").shown
    (context / "Buildfile.dockerignore").write_text("**/.git\n**/node_modules\nenv\n.env\n*/*.key\n")
    assert "warning" not in pybuild.build(context, "--no-cache").shown
    (context / "Buildfile.dockerignore").write_text("*\n!tls\n")
    assert "lines in Buildfile.dockerignore keep them out: tls/server.key" in pybuild.build(context).shown


@pytest.mark.parametrize(
    "instruction", ["COPY .git/HEAD /", "COPY web/node_modules /n", "COPY tls/server.key /", "COPY docs /d"]
)
def test_what_is_named_is_meant(pybuild: Pybuild, instruction: str) -> None:
    context = pybuild.context(f"FROM scratch\n{instruction}\n")
    spoil(context)
    assert "warning" not in pybuild.build(context).shown


def test_what_was_fetched_goes_with_prune(pybuild: Pybuild, server: str, repo: Path, web: Web) -> None:
    assert repo
    (web.files / "a.tar").write_bytes(packed(a=b"a"))
    arguments = ["-f", "-", "--build-context", f"far={web.url}/a.tar", f"{server}/app.git"]
    text = "FROM scratch\nCOPY run /\nCOPY --from=far a /\n"
    pybuild.run(*arguments, stdin=text)
    rooms = [pybuild.root / "fetched", pybuild.root / "git"]
    assert [len(os.listdir(room)) for room in rooms] == [2, 1]
    assert json.loads(pybuild.run("du", "--format=json").stdout)["parts"]["fetched"] > 0
    pybuild.run("prune", "--filter", "until=1h")
    assert [len(os.listdir(room)) for room in rooms] == [2, 1]
    pybuild.run("prune")
    assert [os.listdir(room) for room in rooms] == [[], []]
    pybuild.run(*arguments, stdin=text)


@pytest.mark.either_user
def test_device_nodes_in_an_archive(busybox: Pybuild) -> None:
    """Root gets them; others are told that they are left out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        build_file = b"FROM busybox\nCOPY . /all/\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(build_file)
        tar.addfile(member, io.BytesIO(build_file))
        for name, kind in (("null", tarfile.CHRTYPE), ("loop", tarfile.BLKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.devmajor, member.devminor, member.mode = kind, 1, 3, 0o640
            tar.addfile(member)
    shown = feed(busybox, out.getvalue(), "build", "--progress=plain", "-t", "test", "-")
    seen = busybox.sh("ls /all")
    if busybox.owner:
        assert "standard input has device nodes, which only root can make: null and 1 more left out" in shown
        assert seen == "Dockerfile\n"
    else:
        assert "device nodes" not in shown
        assert busybox.sh("stat -c '%F %t:%T %a' /all/null /all/loop").splitlines() == [
            "character special file 1:3 640",
            "block special file 1:3 640",
        ]
