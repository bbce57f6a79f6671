"""Command lines that docker's and buildah's users type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.cli import COMMANDS, GLOBAL, aliases, main
from buildah_py.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def translated(line: str) -> str:
    """Translate a command line."""
    return " ".join(aliases.translate(line.split(), COMMANDS, lambda _: None))


def test_options_before_the_command_are_known_to_both() -> None:
    assert set(GLOBAL) == set(aliases.GLOBAL)


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("buildx build --push=false .", "build --push=false ."),
        ("buildx b .", "build ."),
        ("buildx bake --print app", "bake --print app"),
        ("builder build -t x .", "build -t x ."),
        ("image build .", "build ."),
        ("bud --format=oci .", "build --format=oci ."),
        ("build-using-dockerfile .", "build ."),
        ("image ls -q", "images -q"),
        ("image rm x", "rmi x"),
        ("image inspect x", "inspect --type=image x"),
        ("image history x", "history x"),
        ("image prune -f", "prune --images -f"),
        ("image push x", "push x"),
        ("image pull x", "pull x"),
        ("image tag x y", "tag x y"),
        ("image save x", "save x"),
        ("image load -i x", "load -i x"),
        ("container run --rm x ls", "run --rm x ls"),
        ("container ls -a", "ps -a"),
        ("container inspect x", "inspect --type=container x"),
        ("container prune -f", "prune --containers -f"),
        ("builder prune -af", "prune --cache -af"),
        ("system df", "du"),
        ("--storage-driver=vfs bud -t x .", "build -t x ."),
        ("--log-level debug push x", "push x"),
        ("src", "src"),
        ("missing/dir", "missing/dir"),
        ("missing.d", "missing.d"),
        ("-t x .", "-t x ."),
        ("build .", "build ."),
        ("buildx --builder x build .", "build --builder x ."),
        ("--log-level debug buildx b .", "build ."),
        ("buildx du --builder=x --verbose", "du --verbose"),
        ("buildx prune --builder x -af --verbose", "prune --cache -af"),
        ("buildx ls --no-trunc", "buildx ls --no-trunc"),
        ("buildx history ls --no-trunc --format json", "builds --format json"),
        ("buildx history logs default/default/b1234 --progress=plain", "logs b1234"),
        ("buildx history inspect", "builds ^0"),
        ("buildx history inspect ^1", "builds ^1"),
        ("buildx imagetools inspect --raw x", "buildx imagetools inspect --raw x"),
        ("buildx", "buildx --help"),
        ("buildx help", "buildx --help"),
    ],
)
def test_what_means_a_command(typed: str, means: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    assert translated(typed) == means


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("imags", "imags is neither a command nor a directory here", "did you mean images?"),
        ("buidl .", "buidl is neither a command nor", "did you mean build?"),
        ("image lss", "there is no command image lss", "did you mean ls?"),
        ("compose build", "`compose` is not supported: pybuild runs no services", "`pybuild bake` builds those"),
        ("pause x", "`pause` is not supported: pybuild starts a container once", "docker-daemon:NAME"),
        ("buildx dial-stdio", "`buildx dial-stdio` is not supported: there is no BuildKit", "pybuild serve"),
        ("buildx debug build .", "`buildx debug build` is not supported", "--on-error=shell"),
        ("buildx history inspect attachment x", "`buildx history inspect attachment` is not", "imagetools inspect"),
        ("buildx inspekt x", "there is no command `buildx inspekt`", "did you mean inspect"),
        ("buildx history show", "there is no command `buildx history show`", "history logs"),
        ("swarm", "`swarm` is not supported", "docker or podman does that"),
        ("--root /x images", "--root: the state directory is named by the environment", "PYBUILD_ROOT=/x"),
        ("qqqqqq", "qqqqqq is neither", "`pybuild help` lists the commands"),
    ],
)
def test_what_is_no_command(typed: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        translated(typed)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_options_that_are_dropped_are_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["buildx", "history", "ls", "--filter=status=error", "--no-trunc"]) == 0
    assert "--filter has no effect: all builds are listed" in capsys.readouterr().err
    assert main(["buildx", "history", "ls", "--no-trunc"]) == 0
    assert capsys.readouterr().err == ""


def test_a_missing_directory_is_still_a_context(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["./nowhere"]) == 125
    assert "the build context ./nowhere does not exist" in capsys.readouterr().err
    assert main(["imags"]) == 2
    assert "imags is neither a command nor a directory here" in capsys.readouterr().err


def test_versions_and_facts(capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str) -> Any:
        assert main(arguments) == 0
        return capsys.readouterr().out.strip()

    version = said("version").removeprefix("pybuild ")
    assert said("-v") == said("--version") == f"pybuild {version}"
    assert said("buildx", "version").startswith("github.com/docker/buildx v0.")
    assert version in said("buildx", "version")
    assert said("version", "--format", "{{.Server.Version}}") == version
    assert json.loads(said("version", "--format=json"))["Client"]["Version"] == version
    assert said("info", "--format", "{{.OSType}} {{.ServerVersion}}") == f"linux {version}"
    assert json.loads(said("info", "--format=json"))["NCPU"] > 0
    shown = said("buildx", "inspect", "--bootstrap", "default").splitlines()
    assert [line.split() for line in shown[:2]] == [["Name:", "default"], ["Driver:", "docker"]]
    assert any(line.split()[:2] == ["Platforms:", "linux/amd64,"] for line in shown)
    assert said("buildx", "ls").splitlines()[1].startswith("default*")
