"""Defaults: from the environment, from the configuration file, and what they are otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from buildah_py.api.config import KEYS, SETTINGS, effective, named, parse, read_config
from buildah_py.cli import main
from buildah_py.cli.config import schema
from buildah_py.errors import UsageError

VALID = {
    "ca-bundle": "host", "cache-from": ["a", "type=local,src=b"], "cache-to": "type=inline", "compression": "zstd",
    "share": "type=local,dest=d",
    "compression-level": 3, "context-modes": "git", "format": "docker", "isolation": "rootless", "jobs": 4,
    "max-used-space": "20GB", "memory": "512m", "min-free-space": 1000, "network": "none", "observe": "on",
    "platform": "linux/arm64",
    "progress": "rawjson", "pull": "always",
}  # fmt: skip


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the place of this user's configuration file."""
    for setting in SETTINGS:
        for variable in setting.variables():
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("PYBUILD_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "pybuild/config.yaml"


def value(name: str, **environ: str) -> tuple[str, str]:
    """Give what a setting is in that environment, and where from."""
    found = effective(named(name), environ, read_config(environ))
    return found.value, found.origin


def test_every_setting_is_in_the_schema_and_read_alike() -> None:
    page = Path(__file__).parents[2] / "docs/schema/config.json"
    assert json.loads(page.read_text()) == schema()  # else: scripts/run python scripts/make_pages.py
    assert set(VALID) == set(KEYS)
    jsonschema.validate(VALID, schema())
    read = parse(yaml.safe_dump(VALID), "config.yaml")
    assert read["cache-from"] == "a\ntype=local,src=b"
    assert parse("max_used_space: 1GB", "x") == {"max-used-space": "1GB"}
    jsonschema.validate({"max_used_space": "1GB"}, schema())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("progress: loud", "progress is loud, which means nothing\n  hint: there are auto, tty"),
        ("progres: plain", "there is no setting progres\n  hint: did you mean progress?"),
        ("jobs: many", "jobs is many, which means nothing"),
        ("memory: lots", "`lots` is not a size"),
        ("platform: ''", "is not a platform"),
        ("pull: [always]", "pull is to be one value"),
        ("- pull", "is not a mapping"),
        ("pull: {", "cannot be read"),
    ],
)
def test_what_means_nothing(text: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text, "config.yaml")
    assert words in str(raised.value)
    found = yaml.safe_load(text) if "{" not in text else []
    if text != "platform: ''":
        assert not jsonschema.Draft202012Validator(schema()).is_valid(found)


def test_variables_come_before_the_file(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("progress: plain\npull: never\n")
    at = {"XDG_CONFIG_HOME": str(file.parents[1])}
    assert value("pull", **at) == ("never", str(file))
    assert value("progress", **at, BUILDKIT_PROGRESS="rawjson") == ("rawjson", "BUILDKIT_PROGRESS")
    assert value("progress", **at, BUILDKIT_PROGRESS="tty", PYBUILD_PROGRESS="quiet") == ("quiet", "PYBUILD_PROGRESS")
    assert value("isolation", BUILDAH_ISOLATION="oci") == ("container", "BUILDAH_ISOLATION")
    assert value("network") == ("default", "")
    with pytest.raises(UsageError, match="BUILDKIT_PROGRESS is loud, which means nothing"):
        value("progress", BUILDKIT_PROGRESS="loud")


def test_the_command_shows_and_changes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str, status: int = 0) -> Any:
        assert main(["config", *arguments]) == status
        return capsys.readouterr()

    assert said("path").out == f"{file}\n"
    assert said("get", "progress").out == "auto\n"
    file.parent.mkdir()
    file.write_text("# mine\nprogress: plain  # in CI\ncache_from:\n  - a\n  - b\npull: never\n")
    said("set", "cache-from", "type=local,src=x", "y")
    said("set", "pull", "always")
    said("unset", "progress")
    assert file.read_text() == "# mine\ncache-from: ['type=local,src=x', y]\npull: always\n"
    assert json.loads(said("--format=json").out)["cache-from"] == {
        "schema": 1,
        "value": ["type=local,src=x", "y"],
        "from": str(file),
    }
    lines = said().out.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
    assert [line.split() for line in lines if line.startswith(("pull", "jobs"))] == [
        ["jobs", "-", "default"],
        ["pull", "always", str(file)],
    ]
    assert "did you mean pull?" in said("set", "pul", "always", status=2).err
    assert "there are missing, always" in said("set", "pull", "perhaps", status=2).err
    assert "`config set` takes NAME VALUE" in said("set", "pull", status=2).err
    assert "pull has one value" in said("set", "pull", "a", "b", status=2).err
    assert "always" in file.read_text()
    assert json.loads(said("schema").out) == schema()
