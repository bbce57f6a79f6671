"""The pages for contributors: what they name is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "buildah_py"


def defined() -> set[str]:
    """The names of all classes, functions and methods of the package, methods with and without their class."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.add(node.name)
                found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
            elif isinstance(node, ast.FunctionDef):
                found.add(node.name)
    return found


def missing(text: str) -> list[str]:
    """What a page names that is not there: modules and packages by their paths, names in code marks."""
    known, absent = defined(), []
    for marked in re.findall(r"`([^`\n]+)`", text):
        path, _, name = marked.partition(": ")
        if re.fullmatch(r"[a-z_/]+(\.py|/)", path):
            if not (PACKAGE / path).exists() and not (ROOT / path).exists():
                absent.append(path)
            marked = name
        name = re.sub(r"\(.*\)", "", marked)
        if (
            re.fullmatch(r"_?[A-Z][a-z]\w*(\.\w+)?s?|[a-z]+(_[a-z]+)+|\w+\.\w+\(\)", name)
            and not {name, name.removesuffix("s")} & known
        ):
            absent.append(name)
    return absent


def test_the_life_of_a_build_names_what_is_there() -> None:
    text = (ROOT / "docs/dev/life-of-a-build.md").read_text()
    wrong = missing(text)
    assert [one for one in wrong if one != "pivot_root"] == []


def test_names_that_are_gone_are_found() -> None:
    assert missing("`engine/nothing.py: Engine`, `NoSuchClass`, `Engine.fly`, `make_nothing`, `Engine`, `Node`s") == [
        "engine/nothing.py",
        "NoSuchClass",
        "Engine.fly",
        "make_nothing",
    ]
