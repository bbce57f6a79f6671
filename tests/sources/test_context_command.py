from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from buildah_py.cli import main
from buildah_py.sources.context_lint import inspect
from buildah_py.sources.directory import DirectoryContext

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for path in ("app/x.py", "app/debug.log", "build/out", "build/keep/me", "bad\nname"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("12345")
    (tmp_path / ".dockerignore").write_text("**/*.log\nbuild\n!build/keep\n")
    return tmp_path


def test_list(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["context", "ls", str(context)]) == 0
    lines = [line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ".dockerignore", "app/", "app/x.py", r"bad\nname", "build/", "build/keep/", "build/keep/me",
        "in 4 files, after .dockerignore",
    ]  # fmt: skip
    assert main(["context", "ls", "--depth", "1", "--json", str(context)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["path"]: row["size"] for row in shown["entries"]} == {
        ".dockerignore": 27, "app": 5, "bad\nname": 5, "build": 5,
    }  # fmt: skip


def test_ignored(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["context", "ls", "--ignored", str(context)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "app/debug.log  (.dockerignore line 1: **/*.log)",
        "build/out  (.dockerignore line 2: build)",
    ]


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("app/debug.log", 1, "app/debug.log: ignored by .dockerignore line 1: **/*.log"),
        ("/build/none", 1, "build/none: ignored by .dockerignore line 2: build (and it does not exist)"),
        ("build/keep/me", 0, "build/keep/me: seen, brought back by .dockerignore line 3: !build/keep"),
        ("build", 0, "build: seen, because something in it is; .dockerignore line 2: build ignores the rest"),
        ("app/./x.py", 0, "app/x.py: seen, no line of .dockerignore matches it"),
        ("../../none", 1, "none: does not exist"),
    ],
)
def test_why(context: Path, capsys: pytest.CaptureFixture[str], path: str, status: int, sentence: str) -> None:
    assert main(["context", "ls", "--why", path, str(context)]) == status
    assert capsys.readouterr().out == sentence + "\n"


def test_an_ignore_file_beside_the_build_file(context: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (context / "web.Dockerfile").write_text("FROM scratch")
    (context / "web.Dockerfile.dockerignore").write_text("app")
    arguments = ["-f", str(context / "web.Dockerfile"), "--why", "app/x.py", str(context)]
    assert main(["context", "ls", *arguments]) == 1
    assert "web.Dockerfile.dockerignore line 1: app" in capsys.readouterr().out


def test_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (".git/objects/x", "web/node_modules/a/node_modules/b", "env/pyvenv.cfg", "env/bin/python", ".env"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "tls.key").write_text("-----BEGIN PRIVATE KEY-----")
    (tmp_path / "public.pem").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "disk.img").touch()
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(300_000_000)
    with DirectoryContext(str(tmp_path)) as tree:
        entries = [entry for folder in _folders(tree) for entry in tree.children(folder)]
        found = {finding.path: finding.what for finding in inspect(tree, sorted(entries))}
    assert found == {
        ".git": "git's own data",
        "web/node_modules": "installed Node packages",
        "env": "a Python virtual environment",
        ".env": "settings that often hold passwords",
        "tls.key": "a private key",
        "": found[""],
    }
    assert found[""].startswith("300 MB in all: disk.img 300 MB")
    assert main(["context", "ls", str(tmp_path)]) == 0
    assert "add the line tls.key to .dockerignore" in capsys.readouterr().err


def _folders(tree: DirectoryContext, path: str = "") -> list[str]:
    found = [path]
    for entry in tree.children(path):
        if entry.kind == "dir":
            found += _folders(tree, entry.path)
    return found
