"""docs/schema/bake.json says what bake files in YAML may hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from buildah_py.bake.reading import Inputs, evaluate_files
from buildah_py.bake.resolving import resolve
from buildah_py.bake.schema import schema
from buildah_py.bake.targets import ATTRIBUTES
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Source

PUBLISHED = Path(__file__).parents[2] / "docs/schema/bake.json"
FULL = """\
x-note: of nobody's interest
variables:
  TAG: v1
  WIDE:
    type: list(string)
    default: [a, b]
    description: some
    validation: {condition: "${length(WIDE) > 0}", error_message: none}
functions:
  shout: {params: [word], result: "${upper(word)}"}
groups:
  default: [app, all]
  all: {targets: [tool], description: all tools}
targets:
  _base: {labels: {a: 1, b: true}}
  app:
    inherits: [_base]
    tags: ["app:${TAG}", "${shout(TAG)}"]
    cache-from: ["type=local,src=c", {type: registry, ref: r}]
    pull: true
    args: {WIDE: "${join(\\"-\\", WIDE)}", NONE: null}
  tool:
    name: "tool-${size}"
    matrix: {size: [s, l]}
    secret: [{id: x, src: y}]
  bare:
"""


def load(text: str) -> Any:
    """Read a file as pybuild does: the targets by name."""
    inputs = Inputs({}, {}, {}, "", lambda _: Source("", ""))
    evaluated = evaluate_files([Source("pybuild-bake.yaml", text)], inputs)
    return resolve(evaluated, [name for name in evaluated.targets if not name.startswith("_")], []).targets


def test_the_published_schema_is_that_of_the_program() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema(), "run scripts/make_pages.py"
    Draft202012Validator.check_schema(schema())
    described = set(
        schema()["properties"]["targets"]["patternProperties"]["^[a-zA-Z0-9_-]+$"]["oneOf"][0]["properties"]
    )
    assert described == {*ATTRIBUTES, "name", "matrix"}


def test_a_file_with_everything_is_valid_and_read() -> None:
    Draft202012Validator(schema()).validate(yaml.safe_load(FULL))
    targets = load(FULL)
    assert set(targets) == {"app", "bare", "tool-s", "tool-l"}
    assert targets["app"].values["tags"] == ["app:v1", "V1"]
    assert targets["app"].values["labels"] == {"a": "1", "b": "true"}
    assert targets["app"].values["args"]["WIDE"] == "a-b"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("targets: [a]\n", "pybuild-bake.yaml:1:1"),
        ("target:\n  a: {}\n", "`target` is not a part of a bake file"),
        ("targets:\n  a b: {}\n", "`a b` cannot be the name"),
        ("targets:\n  a: {tags: x}\n", "`tags`: a list of strings is needed"),
        ("targets:\n  a: {cache-from: x}\n", "`cache-from`: a list is needed"),
        ("functions:\n  f: {result: x}\ntargets:\n  a: {}\n", "misses `params`"),
    ],
)
def test_both_refuse(text: str, said: str) -> None:
    assert not Draft202012Validator(schema()).is_valid(yaml.safe_load(text))
    with pytest.raises(BuildFileError) as caught:
        load(text)
    assert said in str(caught.value)
