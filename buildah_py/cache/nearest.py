"""Which of the records that stand near a step without one it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.records import Record

_UNLIKE = 0.3
"""Texts that have less in common are of different instructions, unless they stand in the same place."""


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
