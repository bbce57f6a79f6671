"""Builders on other machines that share the steps of a build, as the runner of steps sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.plan.steps import CaptureStep, RunStep
from buildah_py.store.cache_mounts import CacheName

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.cache import Record
    from buildah_py.plan import Node

    Tell = Callable[[Callable[[], object]], object]
    """Is given what to call once something is worth another try."""


class StepClaim(NamedTuple):
    """A step that is about to be executed: the id of its events, and how others may show it.

    `mounts` are cache mounts that it needs for itself. Others do not get to see the output of a
    `private` one. A `quick` one is worth no claim that takes long.
    """

    id: int
    text: str
    mounts: tuple[CacheName, ...] = ()
    private: bool = False
    quick: bool = False


class StepSharing(Protocol):
    """Claims of steps, and results that are handed on. Nothing here raises but Interrupted."""

    def begin(self, key: str, doing: StepClaim) -> bool | Tell:
        """Claim a step: false for one to be executed here, after which `done` or `failed` is called.

        True for one that another builder has done: its record is to be looked up again. Else another builder is at it.
        """
        ...

    def done(self, key: str, record: Record, *, anew: bool = False) -> None:
        """Hand on what a step led to, claimed or not; `anew` in place of an earlier result."""
        ...

    def failed(self, key: str) -> None:
        """Let others try a step that was claimed."""
        ...


def doing(node: Node) -> StepClaim:
    """Say how a step is claimed."""
    step = node.step.run if isinstance(node.step, CaptureStep) else node.step
    if not isinstance(step, RunStep):
        return StepClaim(node.index + 1, node.shown, quick=True)
    mounts = {
        CacheName.of(one.id, one.uid, one.gid, one.mode)
        for one in step.mounts
        if one.type == "cache" and one.sharing == "locked" and one.input is None
    }
    private = any(one.type in ("secret", "ssh") for one in step.mounts)
    return StepClaim(node.index + 1, node.shown, tuple(sorted(mounts)), private)
