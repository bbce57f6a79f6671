"""Rights of `--allow`, and what is not done without them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.api.request import BuildRequest
from buildah_py.api.rights import DELETE, check_rights, refuse_deletion
from buildah_py.cli import main
from buildah_py.errors import UsageError
from buildah_py.outputs.spec import parse

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a working directory with a context, a build file elsewhere, and an output of another build."""
    work = tmp_path / "work"
    for name in ("app/src", "files", "out/bin", "named"):
        (work / name).mkdir(parents=True)
    for name in ("app/Dockerfile", "files/Other", "out/bin/tool", "out/a", "out/b", "out/c", "precious.txt"):
        (work / name).write_text("FROM scratch\n")
    (work / "link").symlink_to("app")
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize(
    ("dest", "words"),
    [
        (".", "is the working directory"),
        ("..", "holds the working directory"),
        ("out/..", "is the working directory"),
        ("/", "holds the working directory"),
        ("../elsewhere", "lies outside of the working directory"),
        ("app", "holds the build context"),
        ("link", "holds the build context"),
        ("files", "holds the build file"),
        ("named", "holds the build context data"),
    ],
)
def test_what_is_not_of_the_build_is_not_emptied(project: Path, dest: str, words: str) -> None:
    request = BuildRequest(context="app", file="files/Other", contexts=("data=named",))
    outputs = [parse(f"type=local,dest={dest},mode=delete")]
    with pytest.raises(UsageError, match=words) as raised:
        refuse_deletion(outputs, request)
    assert f"--allow {DELETE}" in raised.value.hint
    allowed = BuildRequest(context="app", file="files/Other", allow=frozenset({DELETE}))
    refuse_deletion(outputs, allowed)


@pytest.mark.parametrize(
    "spec", ["type=local,dest=out,mode=delete", "type=local,dest=.", "type=local,dest=app/new,mode=delete"]
)
def test_outputs_below_the_working_directory_are_the_builds_own(project: Path, spec: str) -> None:
    refuse_deletion([parse(spec)], BuildRequest(context="app", file="files/Other"))


def test_the_refusal_says_what_would_go(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir("out")
    arguments = ["-o", "type=local,dest=.,mode=delete", "-f", f"{project}/files/Other", f"{project}/app"]
    assert main(arguments) == 2
    assert capsys.readouterr().err == (
        "pybuild: --output mode=delete: . is the working directory, and of the 4 files there (a, b, c, …) "
        "it would delete all that the build does not make\n"
        "  hint: name a directory that is for this output alone, or add --allow buildx.local.delete\n"
    )
    assert sorted(os.listdir()) == ["a", "b", "bin", "c"]


def test_a_right_that_does_not_exist() -> None:
    check_rights(["network.host", "security.insecure", "device", "device=vendor.com/class", DELETE])
    with pytest.raises(
        UsageError, match=r"network\.hots: there is no such right\n  hint: did you mean network\.host\?"
    ):
        check_rights(["network.hots"])
    with pytest.raises(UsageError, match=r"the rights are network\.host, "):
        check_rights(["bogus"])
