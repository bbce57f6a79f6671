"""Naming a step and its inputs beside its key, so that a later build can say how its own differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cache.ingredients import About, InputNote, StepBelow
from buildah_py.engine.results import chain_above
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep
from buildah_py.sources.urls import redact
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.engine.ops import Op
    from buildah_py.plan import Node

_MAX_TEXT = 4096


def describe(node: Node, nodes: Sequence[Node], op: Op | None, *, on: str = "", content: str = "") -> About:
    """Say what is known of a step beside what enters its key.

    `on` is the chain digest of the file system that it runs on, `content` the digest of what it made, where known.
    """
    step = node.step.run if isinstance(node.step, CaptureStep) else node.step
    below = StepBelow()
    if node.parent is not None:
        parent = nodes[node.parent]
        if isinstance(parent.step, BaseStep):
            below = StepBelow(name=parent.step.name, image=parent.step.image)
        else:
            below = StepBelow(stage=parent.stage, number=parent.number, text=parent.text[:_MAX_TEXT])
    return About(
        stage=node.stage,
        number=node.number,
        text=node.text[:_MAX_TEXT],
        arguments=step.arguments if isinstance(step, RunStep) else (),
        sources=" ".join(map(redact, step.sources)) if isinstance(step, CopyStep) else "",
        inputs={name: InputNote(one.where, one.context, one.bases) for name, one in (op.lists() if op else {}).items()},
        below=below,
        on=on,
        chain=chain_above(node.step, on, content) if content else "",
        pybuild=__version__,
    )
