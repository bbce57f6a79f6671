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
        ("buildx version", "version"),
        ("--storage-driver=vfs bud -t x .", "build -t x ."),
        ("--log-level debug push x", "push x"),
        ("buildx", "buildx"),
        ("src", "src"),
        ("missing/dir", "missing/dir"),
        ("missing.d", "missing.d"),
        ("-t x .", "-t x ."),
        ("build .", "build ."),
    ],
)
def test_what_means_a_command(typed: str, means: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "buildx").mkdir()
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
        ("buildx create --use", "`buildx create` is not supported: pybuild has one builder", "leave it out"),
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
    assert said("-v") == said("--version") == said("buildx", "version") == f"pybuild {version}"
    assert said("version", "--format", "{{.Server.Version}}") == version
    assert json.loads(said("version", "--format=json"))["Client"]["Version"] == version
    assert said("info", "--format", "{{.OSType}} {{.ServerVersion}}") == f"linux {version}"
    assert json.loads(said("info", "--format=json"))["NCPU"] > 0
    shown = said("buildx", "inspect", "--bootstrap", "default").splitlines()
    assert shown[:2] == ["Name:   default", "Driver: pybuild"]
    assert any(line.startswith("Platforms: linux/") for line in shown)
    assert said("buildx", "ls").splitlines()[1].startswith("default*")
