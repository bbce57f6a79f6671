"""Which record a step without one is compared with: where such records are looked for, and which is the nearest.

A record is filed under places: the build that it belongs to, and in there the stage with its kind of step, its
position, and its text. So a search looks at a few dozen records at most, however many there are.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from buildah_py.cache.keys import canonical_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from buildah_py.cache.ingredients import About, Ingredients
    from buildah_py.cache.records import Record

_UNLIKE = 0.3
"""Texts that have less in common are of different instructions, unless they stand in the same place."""


def places(builds: Iterable[str], about: About, kind: str) -> list[str]:
    """Name the places of a step, the closest first, for each name of its build."""
    found: list[list[object]] = []
    names = list(builds)
    found += (["says", name, about.stage, about.text] for name in names)
    found += (["at", name, about.stage, about.number, kind] for name in names)
    found += (["in", name, about.stage, kind] for name in names)
    return [*map(_place, found)]


def build_place(name: str) -> str:
    """Name the place of all of a build's steps."""
    return _place(["of", name])


def _place(what: list[object]) -> str:
    return hashlib.sha256(canonical_json(what)).hexdigest()[:24]


def choose(candidates: Sequence[Record], wanted: Ingredients, others: Collection[tuple[str, str]]) -> Record | None:
    """Find the record that differs in the fewest ingredients; among equals the first.

    `others` are stage and text of the build's other steps: a record of one of these is not that of this step.
    """
    best, least = None, float("inf")
    for candidate in candidates:
        about = candidate.about
        same_text = about.text == wanted.about.text
        if (about.stage, about.text) in others and not same_text:
            continue
        distance = float(_differing(candidate, wanted))
        if not same_text:
            likeness = _likeness(about.text, wanted.about.text)
            if likeness < _UNLIKE and about.number != wanted.about.number:
                continue
            distance += 2 * (1 - likeness)
        if about.number != wanted.about.number:
            distance += 0.5
        if about.stage != wanted.about.stage:
            distance += 1
        if str(candidate.canonical.get("op")) != wanted.kind:
            distance += 4
        if distance < least:
            best, least = candidate, distance
    return best


def _differing(record: Record, wanted: Ingredients) -> int:
    """Count the ingredients that differ; unknown ones count as equal."""
    found = int(wanted.parent is not None and record.parent != wanted.parent)
    canonical = wanted.canonical
    for name in record.canonical.keys() | canonical.keys():
        one, other = record.canonical.get(name), canonical.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += sum(one.get(part) != other.get(part) for part in one.keys() | other.keys())
        else:
            found += 1
    for name in record.inputs.keys() | wanted.inputs.keys():
        digest = wanted.inputs.get(name, "")
        found += digest is not None and record.inputs.get(name) != digest
    return found


def _likeness(one: str, other: str) -> float:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, one[:400], other[:400], autojunk=False).quick_ratio()
