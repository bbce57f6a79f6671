"""The graph that a build file becomes, and the image config that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.steps import Step


class Input(NamedTuple):
    """A tree that a step reads: the result of node `node`, or of a build context by its `context` name.

    The main context is "". `name` is what a message calls the tree.
    """

    node: int | None = None
    context: str = ""
    name: str = "the build context"


@dataclass(frozen=True, slots=True)
class Node:
    """A step with what it runs on and reads; indices point to earlier nodes of the plan.

    `stage` is the stage's name for people, `number` its place in there from 1, `text` the instruction, `place` where
    that stands (`Buildfile:7`), `shown` the instruction with the values of its variables.
    """

    index: int
    step: Step
    parent: int | None
    inputs: tuple[Input, ...]
    stage: str
    number: int
    text: str
    place: str
    shown: str = ""

    @property
    def needs(self) -> tuple[int, ...]:
        """The nodes that it runs on and reads."""
        return tuple(index for index in (self.parent, *(one.node for one in self.inputs)) if index is not None)


class HistoryItem(NamedTuple):
    """A line of the image's history; `node` made its layer, None where there is none."""

    created_by: str
    node: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be executed for a target, in an order in which each node follows all that it needs.

    `config` is the target's image config but for what only execution tells: `history` and the diff_ids that belong to
    its nodes. `stages` gives each planned stage's number of nodes, `bases` the configs of base images by their name and
    the platform that was asked for.
    """

    nodes: tuple[Node, ...]
    target: int
    config: ImageConfig
    history: tuple[HistoryItem, ...]
    stages: dict[str, int]
    warnings: tuple[str, ...]
    bases: Mapping[tuple[str, str], ImageConfig]


class NeedsValue(NamedTuple):
    """The beginning of a plan: the rest depends on what the last of its nodes, a CaptureStep, prints."""

    nodes: tuple[Node, ...]
    stages: dict[str, int]
