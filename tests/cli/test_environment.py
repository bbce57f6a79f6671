"""Wishes of the environment, and of docker's configuration."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.cli import build, main, run
from buildah_py.cli.arguments import fill, make_parser
from buildah_py.cli.docker_config import proxies
from buildah_py.cli.environment import NOTED, without_effect
from buildah_py.errors import NotFound, UsageError
from buildah_py.progress.choose import renderer
from buildah_py.sources.secrets import parse_secrets

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have nothing but what a test says."""
    for name in list(os.environ):
        if name.startswith(("BUILD", "DOCKER_", "STORAGE_", "PYBUILD_", "XDG_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def parsed(*arguments: str, command: str = "build") -> argparse.Namespace:
    """Parse a command line, and fill in the defaults."""
    made = make_parser(command, "x")
    build.configure(made)
    args: argparse.Namespace = made.parse_args(list(arguments))
    fill(args, made.given, command, os.environ)
    return args


def test_defaults_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DOCKER_DEFAULT_PLATFORM": "linux/arm64",
        "BUILDKIT_PROGRESS": "tty",  # which a pipe is not
        "BUILDAH_FORMAT": "docker",
        "BUILDAH_ISOLATION": "chroot",
        "PYBUILD_CACHE_FROM": "a",
        "PYBUILD_COMPRESSION": "zstd",
    }.items():
        monkeypatch.setenv(name, value)
    asked = build.read_request(parsed())
    assert (asked.platform, asked.container.isolation, asked.caching.from_) == ("linux/arm64", "chroot", ("a",))
    assert asked.outputs.usual == "oci-mediatypes=false,compression=zstd"
    assert parsed().progress == "auto"
    given = parsed("--platform=linux/amd64", "--isolation=container", "--cache-from=b", "--format=oci")
    asked = build.read_request(given)
    assert (asked.platform, asked.container.isolation, asked.caching.from_) == ("linux/amd64", "container", ("b",))
    assert asked.outputs.usual == "oci-mediatypes=true,compression=zstd"
    assert build.read_request(parsed("--arch=s390x")).platform == "linux/s390x"
    monkeypatch.setenv("BUILDKIT_PROGRESS", "rawjson")
    assert parsed().progress == "rawjson"
    monkeypatch.setenv("BUILDAH_FORMAT", "tar")
    with pytest.raises(UsageError, match="BUILDAH_FORMAT is tar"):
        parsed()


@pytest.mark.parametrize("name", NOTED)
def test_a_variable_without_a_meaning_gets_a_word(name: str) -> None:
    fine, why = NOTED[name]
    assert list(without_effect({name: "other"}, {})) == [f"{name}=other has no effect: {why}"]
    for value in (*fine, "", *(["1"] if "true" in fine else ["0"] if "false" in fine else [])):
        assert list(without_effect({name: value}, {})) == []


def test_a_policy_is_never_passed_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PYBUILD_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", str(tmp_path / "policy.json"))
    assert main(["build", "/nowhere"]) == 2
    assert "policy.json cannot be read: No such file" in capsys.readouterr().err


def test_build_arguments_for_buildkit() -> None:
    assert build.read_request(parsed("--build-arg=BUILDKIT_INLINE_CACHE=1")).caching.to == ("type=inline",)
    given = parsed("--build-arg=BUILDKIT_INLINE_CACHE=1", "--cache-to=type=inline,x=y")
    assert build.read_request(given).caching.to == ("type=inline,x=y",)
    assert build.read_request(parsed("--build-arg=BUILDKIT_INLINE_CACHE=0")).caching.to == ()
    assert "BUILDKIT_MULTI_PLATFORM has no effect" in next(without_effect({}, {"BUILDKIT_MULTI_PLATFORM": "1"}))


def test_proxies_of_docker_s_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "docker/config.json"
    config.parent.mkdir()
    default = {"httpProxy": "http://p:1", "noProxy": "localhost"}
    config.write_text(json.dumps({"proxies": {"default": default, "tcp://other:2375": {"httpsProxy": "http://q:2"}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(config.parent))
    expected = {
        "HTTP_PROXY": "http://p:1",
        "http_proxy": "http://p:1",
        "NO_PROXY": "localhost",
        "no_proxy": "localhost",
    }
    assert build.read_request(parsed()).build_args == expected
    given = build.read_request(parsed("--build-arg=HTTP_PROXY=http://mine:1", "--build-arg=A=1")).build_args
    assert given == expected | {"HTTP_PROXY": "http://mine:1", "A": "1"}
    made = make_parser("run", "x")
    run.configure(made)
    assert run.environment(made.parse_args(["-e", "A=1", "image"])) == expected | {"A": "1"}
    assert proxies({"DOCKER_CONFIG": str(config.parent), "DOCKER_HOST": "tcp://other:2375"}) == {
        "HTTPS_PROXY": "http://q:2",
        "https_proxy": "http://q:2",
    }
    config.write_text('{"proxies": {"default": []}}')
    assert proxies({"DOCKER_CONFIG": str(config.parent)}) == {}
    config.write_text('{"proxies": {"default": ["x"]}}')
    with pytest.raises(UsageError, match="an object for each host"):
        proxies({"DOCKER_CONFIG": str(config.parent)})
    assert proxies({}) == {}


def test_a_secret_s_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="secret tok: /nowhere/tok cannot be read"):
        parse_secrets(["id=tok,src=/nowhere/tok"], {})
    (tmp_path / "tok").touch()
    assert parse_secrets([f"id=tok,src={tmp_path}/tok", "id=b,env=B"], {})["tok"].path == f"{tmp_path}/tok"


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_that_is_forced(environ: dict[str, str], coloured: bool, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as stream:
        plain: Any = renderer("plain", err=stream, out=stream, env=environ)
        assert plain.colour is coloured
