"""The page about security, the tests that it names, and the variants which show that these can fail, fit together."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from tests.naive.variant import HERE, TREE, Variant, changed, proofs, variants

ALL = variants()
PAGE = (TREE / "docs/security.md").read_text()


def rows() -> dict[str, set[str]]:
    """Give the attacks that the page's tables list, each with the ids of the tests named there."""
    found = {}
    for table in re.findall(r"^\| attack \| .*\n\|---.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for line in table.splitlines():
            attack, *_, tests = line.strip("| ").split(" | ")
            file, ids = "", set()
            for named, test in re.findall(r"`([\w/]+\.py)?(?:::)?(test_\w+)?`", tests):
                file = named or file
                if file and (named or test):
                    ids.add(f"{file}::{test}" if test else file)
            found[attack] = ids
    return found


def exceptions() -> list[dict[str, Any]]:
    return list(tomllib.loads((HERE / "without.toml").read_text())["row"])


def named_by(variant: Variant) -> set[str]:
    return {test.partition("[")[0] for test in variant.tests}


def test_each_attack_has_a_row() -> None:
    attacks = rows()
    assert len(attacks) > 80
    for begun in [variant.attack for variant in ALL] + [one["attack"] for one in exceptions()]:
        assert len([attack for attack in attacks if attack.startswith(begun)]) == 1, begun


@pytest.mark.parametrize("attack", rows())
def test_each_test_of_a_row_was_seen_to_fail(attack: str) -> None:
    """By a variant; or there is a reason why that cannot be."""
    shown: set[str] = set()
    for variant in ALL:
        if attack.startswith(variant.attack):
            shown |= named_by(variant)
    said = [one for one in exceptions() if attack.startswith(one["attack"])]
    assert shown or said
    assert all(one["reason"] for one in said)
    assert rows()[attack] == shown.union(*(one.get("tests", ()) for one in said))


@pytest.mark.parametrize("variant", [*proofs(), *ALL], ids=lambda variant: variant.name)
def test_a_variant_applies(variant: Variant) -> None:
    """Its old texts stand in the package once each, what comes of it can be executed, and its tests are there."""
    for path, text in changed(variant).items():
        if variant in ALL:
            compile(text, path, "exec")
    for test in named_by(variant):
        file, _, name = test.partition("::")
        tree = ast.parse((TREE / "tests" / file).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_cases_of_tests_are_there() -> None:
    """One that is not there would keep pytest from running any of a variant's tests."""
    cases = sorted({f"tests/{test}" for variant in (*proofs(), *ALL) for test in variant.tests if "[" in test})
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *cases]
    done = subprocess.run(collect, cwd=TREE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_names_are_given_once() -> None:
    names = [variant.name for variant in (*proofs(), *ALL)]
    assert len(set(names)) == len(names)
