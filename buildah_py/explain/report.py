"""Findings of `pybuild why`, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.cache.differences import Difference
    from buildah_py.engine.dry_run import DryStep
    from buildah_py.plan import Node

HIT = "hit"
MISS = "miss"
FOLLOWS = "follows"
UNKNOWN_YET = "unknown"
SAME = "same"
DIFFERS = "differs"
ONLY_HERE = "only here"
ONLY_THERE = "only there"


class Nearest(NamedTuple):
    """The record that a step was compared with: `made` is when, in ns since 1970; `pybuild` by which version."""

    key: str
    made: int
    seconds: float
    pybuild: str
    text: str
    source: str


class StepReport(NamedTuple):
    """Verdict on a step, and the reasons.

    `verdict` is HIT, MISS, FOLLOWS (its own ingredients are known ones, and it depends on a step that misses) or
    UNKNOWN_YET; when compared with another build SAME, DIFFERS, FOLLOWS, UNKNOWN_YET, ONLY_HERE or ONLY_THERE.
    """

    id: int
    stage: str
    number: int
    total: int
    text: str
    place: str
    verdict: str
    reason: str = ""
    key: str | None = None
    nearest: Nearest | None = None
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Findings on all steps. `against` is the file of the other build, whose `facts` differ beside the steps.

    `note` says why steps are missing at the end.
    """

    steps: tuple[StepReport, ...]
    note: str = ""
    against: str = ""
    facts: tuple[Difference, ...] = ()


def head_of(one: DryStep, totals: Mapping[str, int]) -> StepReport:
    """Say of a step what it is, as if it hit."""
    node = one.node
    return StepReport(
        node.index + 1, node.label, node.number, totals.get(node.label, 0), node.text, node.place, HIT, "", one.key
    )


def follows(one: DryStep, steps: Sequence[DryStep]) -> str:
    """Say which steps have to run before the key of this one is known."""
    labels = [_label(steps[root].node) for root in one.roots]
    return f"follows from step {' and step '.join(labels)}" if labels else one.unknown


def _label(node: Node) -> str:
    return f"{node.number} of {node.label}" if node.label else str(node.number)
