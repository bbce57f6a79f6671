"""Look through a plan, before any of it is executed, for commands that nothing here can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cache.records import NEAR
from buildah_py.engine.describe import describe
from buildah_py.engine.emulation import check_runnable
from buildah_py.errors import PybuildError
from buildah_py.image import platform as platforms
from buildah_py.plan.steps import CaptureStep, RunStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.cache import Cache
    from buildah_py.plan import Node


def check_nodes(nodes: Sequence[Node], cache: Cache) -> None:
    """Raise PybuildError for the first step that is certain to be executed and cannot be, before anything is built.

    That is a command for a platform that nothing here runs, where nobody knows a result of it.
    """
    checked: dict[str, PybuildError | None] = {}
    host = str(platforms.host())
    for node in nodes:
        step = node.step.run if isinstance(node.step, CaptureStep) else node.step
        if not isinstance(step, RunStep) or step.platform == host:
            continue
        if step.platform not in checked:
            checked[step.platform] = _fault(step.platform)
        fault = checked[step.platform]
        if fault is not None and not _may_hit(node, step, nodes, cache):
            fault.message = f"{node.place}: {fault.message}"
            raise fault


def _fault(platform: str) -> PybuildError | None:
    try:
        check_runnable(platform)
    except PybuildError as error:
        return error
    return None


def _may_hit(node: Node, step: RunStep, nodes: Sequence[Node], cache: Cache) -> bool:
    """Whether a result of a step may be known: in a shared cache, or where it was executed or fetched once."""
    if cache.remote is not None:
        return True
    kind = str(node.step.canonical()["op"])
    near = cache.near(describe(node, nodes, None), kind)
    return len(near) >= NEAR or any(record.canonical.get("platform") == step.platform for record, _ in near)
