"""A naive variant: pybuild without one protection, and the tests that have to notice.

They are data: variants/*.toml, a file for each part of docs/security.md. proofs.toml breaks the program altogether.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]


class Edit(NamedTuple):
    """A text that stands once in the package, in whichever module, and what a naive author writes instead."""

    old: str
    new: str


class Variant(NamedTuple):
    """A protection that is taken away; where two layers hold an attack, both, by several edits."""

    name: str
    attack: str
    """The beginning of a row of docs/security.md, as much as tells it from the others."""
    tests: tuple[str, ...]
    """Ids below tests/, each of which has to fail: of a test with parameters but without brackets, in one case."""
    edits: tuple[Edit, ...]


class MisfitError(Exception):
    """A variant does not apply: an old text is not found exactly once."""


def variants() -> list[Variant]:
    """Read all variants of attacks."""
    return [variant for path in sorted((HERE / "variants").glob("*.toml")) for variant in _read(path)]


def proofs() -> list[Variant]:
    """Read those which show that a test runs what was changed."""
    return _read(HERE / "proofs.toml")


def _read(path: Path) -> list[Variant]:
    return [_variant(**words) for words in tomllib.loads(path.read_text())["variant"]]


def _variant(name: str, attack: str, tests: list[str], edit: list[dict[str, Any]]) -> Variant:
    return Variant(name, attack, tuple(tests), tuple(Edit(**words) for words in edit))


@cache
def _sources() -> Mapping[str, str]:
    """Give the text of every module of the package by its path in the tree."""
    return {str(path.relative_to(TREE)): path.read_text() for path in sorted((TREE / "buildah_py").rglob("*.py"))}


def changed(variant: Variant) -> dict[str, str]:
    """Give the texts of the modules that a variant changes, by their paths in the tree. Raises MisfitError."""
    texts: dict[str, str] = {}
    for edit in variant.edits:
        found = {path: text.count(edit.old) for path, text in _sources().items() if edit.old in text}
        if sum(found.values()) != 1:
            places = ", ".join(f"{path} ({count})" for path, count in found.items()) or "nowhere"
            raise MisfitError(f"{variant.name}: to be found once, but found in {places}:\n{edit.old}")
        (path,) = found
        texts[path] = texts.get(path, _sources()[path]).replace(edit.old, edit.new)
    return texts
