"""What `--format=json` prints is what docs/schema says: every property of it, and no other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

if TYPE_CHECKING:
    from tests.end_to_end.conftest import Pybuild

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/schema"
CALLED = """\
FROM busybox AS b
# A is the first.
ARG A=1
ARG B
FROM b AS c
RUN --mount=type=secret,id=tok --mount=type=ssh --mount=type=bind,from=busybox,target=/b true
COPY --from=b /x /
COPY f /f
"""
TEXT = """\
FROM busybox AS b
RUN echo 1 >/x
RUN --mount=type=cache,target=/c echo 2 >/c/y; echo h >/z
FROM busybox
COPY --from=b /x /
COPY f /f
"""
_OF_OTHERS = {"bake", "bake-call", "config", "progress"}
"""Schemas of files that are read, of lines that `build` writes, and of what `bake` looks at (test_bake.py)."""
BAKED = """\
target "default" { dockerfile-inline = "FROM busybox\\nRUN echo 1 >/x" }
target "copied" { dockerfile-inline = "FROM busybox\\nRUN cp /x /y || exit 0" }
"""


def closed(schema: Any) -> Any:
    """Return a schema that allows no property that it does not describe, where it describes any."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(value) for name, value in schema.items()}
    return found | ({"additionalProperties": False} if "properties" in schema and "type" in schema else {})


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(closed(schema))


@pytest.fixture
def used(busybox: Pybuild) -> Pybuild:
    """Give a store in which there is something to say about everything."""
    context = busybox.context(TEXT, f="f\n", node__modules_x="x" * 200)
    (context / ".dockerignore").write_text("*.log\n")
    (context / "a.log").write_text("log\n")
    busybox.run("-t", "one", context)
    busybox.context(TEXT + "LABEL a=b\nRUN rm /f; echo 2 >/x; exit 0\n", f="g\n")
    busybox.run("-t", "two", context)
    busybox.context(TEXT + "RUN exit 3\n", f="h\n")
    busybox.run("-t", "three", context, status=3)
    (busybox.work / "bad").mkdir()
    (busybox.work / "bad/old").write_text(TEXT.replace("echo 1", "echo 3"))
    (busybox.work / "bad/Buildfile").write_text("FROM busybox\nRUM x\n")
    (busybox.work / "two").mkdir()
    (busybox.work / "two/Buildfile").write_text("FROM busybox\nCOPY . /w\nRUN cat /w/a && sleep 0.6\n")
    for name in "abcde":
        (busybox.work / "two" / name).write_text(name)
    (busybox.work / "called").mkdir()
    (busybox.work / "called/Buildfile").write_text(CALLED)
    busybox.run("-t", "four", busybox.work / "two")
    (busybox.work / "baked.hcl").write_text(BAKED)
    busybox.run("bake", "-f", "baked.hcl", "--no-cache", "default", "copied")
    busybox.run("run", "--network=none", "-d", "--name=ended", "-l", "a=b", "busybox", "sh", "-c", "exit 3")
    busybox.run("wait", "ended")
    return busybox


def test_every_form(used: Pybuild) -> None:
    calls = {
        "images": ["images"],
        "history": ["history two"],
        "cache-mounts": ["cache mounts ls"],
        "du": ["du"],
        "layers": ["layers two"],
        "why": ["why context", "why -f bad/old context"],
        "check": ["check context", "check bad"],
        "doctor": ["doctor --json"],
        "fsck": ["fsck"],
        "prune": ["prune --dry-run", "prune --dry-run --all"],
        "diff": ["diff one two"],
        "verify": ["verify two"],
        "info": ["info"],
        "version": ["version"],
        "config-list": ["config list"],
        "context": ["context ls context", "context ls --ignored context", "context ls --why a.log context"],
        "builds": ["builds"],
        "trend": ["builds --trend"],
        "ps": ["ps --all"],
        "advice": ["advice two"],
        "outline": ["--call=outline called"],
        "targets": ["--call=targets called"],
        "graph": ["--call=graph called"],
        "shard-plan": ["bake -f baked.hcl --shard-plan=3 --durations=history default copied"],
    }
    described = {path.stem for path in SCHEMAS.glob("*.json")} - _OF_OTHERS
    assert described == set(calls)
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        del calls["advice"]  # nothing is known here of what steps read
    for name, lines in calls.items():
        for line in lines:
            words = line.split()
            if words[0].startswith("--call"):
                words[0] += ",format=json"
            elif "--json" not in words and words[0] != "bake":
                words.append("--format=json")
            result = used.run(*words, status=None)
            assert result.stdout, (line, result.stderr)
            value = json.loads(result.stdout)
            validator(name).validate(value)
            objects = list(value.values()) if name == "config-list" else value if isinstance(value, list) else [value]
            assert objects, line
            assert {one["schema"] for one in objects} == {1}, line
