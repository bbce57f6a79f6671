"""Bake files that nobody means: they end with an error that has a place, and soon."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.bake.test_print import CASES, answer

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = range(60)
DEEP = "stand too deep in one another"
HOSTILE = {
    "parentheses": ("x = " + "(" * 20_000 + "1" + ")" * 20_000, DEEP),
    "lists": ("x = " + "[" * 20_000, DEEP),
    "signs": ("x = " + "-" * 20_000 + "1", DEEP),
    "templates": ('x = "' + '${"' * 5_000, DEEP),
    "conditions": ("x = " + "true ? 1 : " * 20_000 + "1", DEEP),
    "blocks": ("a {\n" * 20_000, DEEP),
    "sums": ("x = " + "+".join("1" * 20_000), "call one another without end"),
    "loops": ("x = [for a in range(999): [for b in range(999): [for c in range(999): 1 if false]]]", "takes too long"),
    "texts that double": ("\n".join(['a0 = "x"', *(f'a{n + 1} = "${{a{n}}}${{a{n}}}"' for n in LAYERS)]), "too large"),
    "lists that double": ("\n".join(["a0 = [1]", *(f"a{n + 1} = [a{n}, a{n}]" for n in LAYERS)]), "too large"),
    "calls that double": (
        "\n".join(
            [f'function "f{n}" {{\n  params = []\n  result = f{n + 1}() + f{n + 1}()\n}}' for n in LAYERS]
            + ['function "f60" {\n  params = []\n  result = 1\n}', "x = f0()"]
        ),
        "takes too long",
    ),
    "a matrix": ('target "a" {\n  matrix = { a = range(1000), b = range(1000) }\n}', "makes 1000000 targets"),
    "variables": ("\n".join([*(f"v{n} = v{n + 1}" for n in range(3000)), "v3000 = 1"]), "call one another without end"),
    "a number": ("x = 1e99999999", "is not a number"),
    "inheritance": (
        "\n".join([*(f'target "t{n}" {{ inherits = ["t{n + 1}"] }}' for n in range(3000)), 'target "t3000" {}',
                   'target "default" { inherits = ["t0"] }']),
        "more than 200 targets and groups lead to one another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_too_much_is_refused(name: str, tmp_path: Path) -> None:
    text, said = HOSTILE[name]
    found, error = answer({"files": {"docker-bake.hcl": text + "\n"}}, tmp_path)
    assert found is None
    assert said in error
    assert error.startswith("pybuild: docker-bake.hcl:")


def test_what_leads_to_the_same_targets_in_many_ways_is_gone_through_once(tmp_path: Path) -> None:
    groups = [f'group "{one}{n}" {{ targets = ["g{n + 1}", "h{n + 1}"] }}' for n in LAYERS for one in "gh"]
    ends = ['target "g60" {}', 'target "h60" {}', 'group "default" { targets = ["g0"] }']
    (tmp_path / "groups").mkdir()
    found, error = answer({"files": {"docker-bake.hcl": "\n".join([*groups, *ends, ""])}}, tmp_path / "groups")
    assert found is not None, error
    contexts = [
        f'target "{one}{n}" {{ contexts = {{ a = "target:g{n + 1}", b = "target:h{n + 1}" }} }}'
        for n in LAYERS
        for one in "gh"
    ]
    (tmp_path / "contexts").mkdir()
    found, error = answer({"files": {"docker-bake.hcl": "\n".join([*contexts, *ends, ""])}}, tmp_path / "contexts")
    assert found is not None, error


@pytest.mark.parametrize("text", ["services: " + "[" * 5_000, "services:\n  a\x00b: {}\n", "a: &a [x]\nb: *c\n"])
def test_yaml_that_is_not_is_refused(text: str, tmp_path: Path) -> None:
    found, error = answer({"files": {"compose.yaml": text}}, tmp_path)
    assert found is None
    assert error.startswith(("pybuild: compose.yaml:1:", "pybuild: compose.yaml:2:"))


PIECES = ("${", "%{", "}", "{", "(", "[", "]", '"', "<<E\n", "\n", "null", "*", "...", "=>", "for x in ", "if ", "-",
          "1e999", "\\u", "\x00", "é", ":", "&a", "*a", "<<: ", ",", "#", "/*", "*/", "\t", "\\")  # fmt: skip


def test_files_with_mistakes_end_with_an_error(tmp_path: Path) -> None:
    chosen = random.Random(20)
    cases = [*CASES.read("cases.json"), *CASES.read("expressions.json")]
    for number in range(1500):
        directory = tmp_path / str(number)
        directory.mkdir()
        case = chosen.choice(cases)
        files = case.get("files") or {"docker-bake.hcl": CASES.text_of(case)}
        for name, text in files.items():
            for _ in range(chosen.randint(1, 3)):
                at = chosen.randrange(len(text) + 1)
                text = text[:at] + chosen.choice(PIECES) + text[at + chosen.randint(0, 5) :]
            files = {**files, name: text}
        mistaken = {"files": files, "args": case.get("args", []), "env": case.get("env", {})}
        found, error = answer(mistaken, directory)
        assert found is not None or error.startswith("pybuild: "), mistaken
