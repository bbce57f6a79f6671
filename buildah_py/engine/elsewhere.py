"""Executing steps on other machines: what a runner of steps asks of whoever has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.engine.ops.op import NOTHING_USED, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.cache import Made
    from buildah_py.engine.ops import Op, Task
    from buildah_py.plan import Node


class ElsewhereAnswer(NamedTuple):
    """Result of a step that another machine has, whose layer is promised to the store here.

    It was `executed` for this, or was a hit there; `seconds` is what the execution took, `created` when the step first
    had this result (ns since 1970). `learned` is as `Cache.save` takes it.
    """

    made: Made
    seconds: float
    created: int
    executed: bool = True
    usage: Usage = NOTHING_USED
    learned: tuple[str, bytes] | None = None


class Elsewhere(Protocol):
    """Other machines that execute the steps of a build. All of it may be called from several threads."""

    def expect(self, nodes: Sequence[Node]) -> None:
        """Hear of nodes that are to be executed, before any of them is."""

    def prepared(self, task: Task, op: Op) -> Op:
        """Give the operation of a step, which may have what its inputs hold looked at there."""

    def execute(self, task: Task, op: Op, key: str, *, anew: bool) -> ElsewhereAnswer:
        """Have a step executed; with `anew` even where a result of the key is known there.

        Raises StepFailed, LayersLost, Interrupted, or what stood in the way.
        """

    def cancel(self) -> None:
        """Have what runs end."""
