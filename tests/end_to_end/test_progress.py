"""What programs read of a build, and that commands which are not builds say nothing where they are quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.web_server import Web, web

if TYPE_CHECKING:
    from .conftest import Pybuild

__all__ = ["web"]
pytestmark = pytest.mark.root
SCHEMA = Path(__file__).resolve().parents[2] / "docs/schema/progress.json"


def lines(text: str) -> list[dict[str, Any]]:
    """Read lines of JSON, each as the schema has it."""
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        validator.validate(one)
    return found


def test_json_of_a_build_that_succeeds_and_of_one_that_fails(busybox: Pybuild, web: Web) -> None:
    (web.files / "data").write_bytes(b"x" * 100_000)
    text = f"FROM busybox AS a\nADD {web.url}/data /\nFROM a\nRUN echo out; echo err >&2\nCMD x\n"
    context = busybox.context(text)
    told = lines(busybox.run("--progress=json", "--rm", "-t", "test", context).stderr)
    names = [one["event"] for one in told]
    assert names[-1] == "build-done"
    assert {"warning", "build-started", "step-started", "step-output", "step-done", "transfer"} <= set(names)
    (build,) = {one["build"] for one in told[names.index("build-started") :]}
    assert "out\n" in busybox.run("logs", build).stdout
    assert [one["depends"] for one in told if one["event"] == "step-started"] == [[], [1], [2]]
    moved = [one for one in told if one["event"] == "transfer" and one["id"] == 2 and one["what"].startswith("downlo")]
    assert (moved[0]["done"], moved[-1]["done"], moved[-1]["total"], moved[-1]["ended"]) == (0, 100_000, 100_000, True)
    assert names.index("transfer") > names.index("step-started")

    busybox.context(text + "RUN exit 7\n")
    told = lines(busybox.run("--progress=json", context, status=7).stderr)
    assert [one["event"] for one in told][-2:] == ["build-failed", "error"]
    assert (told[-1]["file"].rpartition("/")[2], told[-1]["line"], told[-1]["status"]) == ("Buildfile", 6, 7)
    assert "status 7" in told[-1]["message"]
    context = busybox.context("FROM busybox\nRUN --nope true\n")
    (error,) = lines(busybox.run("--progress=json", context, status=125).stderr)
    assert (error["event"], error["line"], error["column"]) == ("error", 2, 5)


@pytest.mark.parametrize(
    "words", ["--progress=json --bogus .", ". a b --progress json", "--progress=json --jobs=0 .", "--memory=1x ."]
)
def test_what_is_said_before_a_build_begins_is_an_event(pybuild: Pybuild, words: str) -> None:
    (error,) = lines(pybuild.run("build", *words.split(), status=2, BUILDKIT_PROGRESS="json").stderr)
    assert (error["event"], error["status"]) == ("error", 2)
    assert error["message"]
    assert pybuild.run("build", "-q", "--progress=json", "--jobs=0", status=2).stderr.startswith("pybuild: ")


def test_quick_commands_say_nothing_of_how_far_they_are(busybox: Pybuild) -> None:
    archive = busybox.work / "busybox.tar"
    assert busybox.run("save", "-o", archive, "busybox").stderr == ""
    assert busybox.run("load", "-i", archive).stderr == ""
    assert busybox.run("fsck").stderr == ""
