"""Executes the graph of a plan: the scheduler with the runner of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from buildah_py.cache.records import ALL
from buildah_py.engine.runner import StepRunner, Workplace
from buildah_py.engine.scheduler import Scheduler
from buildah_py.errors import LayersLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache.records import CachePolicy
    from buildah_py.engine.results import Result
    from buildah_py.engine.runner import Observed
    from buildah_py.engine.worker import Worker
    from buildah_py.plan import Node

T = TypeVar("T")


class Engine:
    """Executes the nodes of one plan, or of several builds together, which may still be growing.

    `observe` is told of each step that is done but base images, from several threads. `jobs` is how many steps may be
    executed at once, 0 for what suits the machine. `runner` knows what came of the steps so far. `places` are those of
    several builds, in place of `worker` and `policy`.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        policy: CachePolicy = ALL,
        observe: Callable[[Observed], None] | None = None,
        jobs: int = 0,
        places: Sequence[Workplace] = (),
    ) -> None:
        self.runner = StepRunner(places or (Workplace(worker, policy),), observe)
        self._scheduler: Scheduler[Node, Result] = Scheduler(self.runner, jobs)

    def run(
        self,
        nodes: Sequence[Node],
        stages: Mapping[str, int],
        use: Callable[[Mapping[int, Result]], T],
        on_result: Callable[[Node, Result], object] = lambda _node, _result: None,
    ) -> T:
        """Execute the nodes that have no result yet; what `use` makes of the results of all, by their indices.

        Each node has to follow all that it needs. `stages` tells how many nodes a stage has. `on_result` is told of
        each new result as soon as it is there, by the thread that has it. Where `use` finds layers of steps to be lost,
        these are executed again, and it is called again.

        Raises StepFailed for a command that failed, Interrupted, whatever stood in the way of a step, and what `use`
        raises. All that was running has ended by then.
        """
        while True:
            self.runner.begin(nodes, stages)
            results = self._scheduler.run(nodes, on_result)
            self.runner.end()
            try:
                return use(results)
            except LayersLost as lost:
                if not self._scheduler.forget(lost):
                    raise
