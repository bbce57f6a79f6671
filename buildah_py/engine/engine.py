"""Runs the graph of a plan: looks each step up, executes what is not known, several at once where the graph allows.

Hits are found in the calling thread first: a build in which nothing changed starts no thread and no container.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache import Made, step_key
from buildah_py.cache.records import drop_lies
from buildah_py.engine.executions import NOTHING_USED, make_execution
from buildah_py.engine.reasons import LookUp, Reason, describe
from buildah_py.engine.results import NOTHING, Result, base_result, chain_below, result_of
from buildah_py.errors import Interrupted, LayersLost, NotFound, PybuildError, SourceChanged, StepFailed
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Record
    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.engine.executions import Execution, Usage
    from buildah_py.engine.workshop import Workshop
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan import Node

_MOST_JOBS = 64
_TRIES = 3
ALL = LookUp()


class Observed(NamedTuple):
    """A step that is done: what its key was made of, what its inputs held, by digests, and how it went."""

    node: Node
    ingredients: Ingredients
    record: Record
    lists: Mapping[str, Callable[[], bytes]]
    outcome: str
    reason: str


class Engine:
    """Executes the nodes of one plan, which may still be growing. `hits` and `ran` count the steps so far.

    `observe` is told of each step that is done but base images, from several threads. `jobs` is how many steps may be
    executed at once, 0 for what suits the machine.
    """

    def __init__(
        self,
        workshop: Workshop,
        *,
        lookup: LookUp = ALL,
        observe: Callable[[Observed], None] | None = None,
        jobs: int = 0,
    ) -> None:
        self._jobs = jobs or default_jobs()
        self._stages: Mapping[str, int] = {}
        self._nodes: Sequence[Node] = ()
        self._texts: frozenset[tuple[str, str]] = frozenset()
        self._opened: set[int] = set()
        self._workshop = workshop
        self._lookup = lookup
        self._observe = observe
        self._results: dict[int, Result] = {}
        self._waiting: list[Node] = []
        self._lost: set[str] = set()
        self._made: set[str] = set()
        self._met: list[tuple[Node, str]] = []
        self._executions: dict[int, Execution] = {}
        self._condition = threading.Condition()
        self._running: set[int] = set()
        self._error: BaseException | None = None
        self.on_result: Callable[[Node, Result], None] = lambda _node, _result: None
        """Told of each result as soon as it is there, by the thread that has it."""
        self.hits = 0
        self.ran = 0
        self.records: dict[int, Record] = {}
        """What the steps led to, by the indices of their nodes."""

    def run(self, nodes: Sequence[Node], stages: Mapping[str, int]) -> dict[int, Result]:
        """Execute the nodes that have no result yet; the results of all by their indices.

        Each node has to follow all that it needs. `stages` tells how many nodes a stage has.

        Raises StepFailed for a command that failed, Interrupted, and whatever stood in the way of a step. All that was
        running has ended by then.
        """
        try:
            self._stages, self._nodes, self._texts = stages, nodes, frozenset()
            self._opened = _opened(nodes)
            self._waiting = self._find_hits()
            if self._waiting:
                self._execute()
        except BaseException:
            self._workshop.cancel()
            self._join()
            raise
        if self._error is not None:
            raise self._error
        if self._met and (self.ran or not self._workshop.cache.were_met([key for _, key in self._met])):
            met = [(key, describe(node, nodes, None), str(node.step.canonical()["op"])) for node, key in self._met]
            self._workshop.cache.see(met)
        self._met.clear()
        return self._results

    def forget(self, lost: LayersLost) -> None:
        """Have the steps executed whose layers are lost, and looked up again whatever depends on them, when next run.

        Raises `lost` where these layers are not all of steps.
        """
        with self._condition:
            gone = {index for index, record in self.records.items() if record.diff_id in lost.diff_ids}
            if {self.records[index].diff_id for index in gone} != set(lost.diff_ids):
                raise lost
            self._lost |= {self.records[index].key for index in gone}
            self._workshop.emit(events.Warning(f"{lost.message}: what led to it is executed here"))
            for node in self._nodes:
                if node.index in gone or not gone.isdisjoint(self._needed(node)):
                    gone.add(node.index)
                    self._results.pop(node.index, None)
                    self._executions.pop(node.index, None)
                    self.hits -= node.index in self.records and self.records.pop(node.index).key not in self._made

    # scheduling

    def _find_hits(self) -> list[Node]:
        """Go through the nodes that have no result yet as far as all are hits; the rest."""
        while True:
            nodes = self._open()
            try:
                for position, node in enumerate(nodes):
                    known = self._look_up(node)
                    if known is None:
                        return nodes[position:]
                    self._results[node.index] = known
                    self.on_result(node, known)
            except LayersLost as error:
                self.forget(error)
            else:
                return []

    def _open(self) -> list[Node]:
        """The nodes that have no result and are not being executed."""
        return [node for node in self._nodes if node.index not in self._results and node.index not in self._running]

    def _execute(self) -> None:
        runs = [node.step for node in self._waiting if isinstance(node.step, RunStep)]
        threads: list[threading.Thread] = []
        with self._condition:
            self._start_ready(threads)
        if runs:
            self._workshop.expect_containers(network=any(step.network == "default" for step in runs))
        with self._condition:
            self._start_ready(threads)
            while self._running:
                self._condition.wait()
                self._start_ready(threads)
        for thread in threads:
            thread.join()

    def _start_ready(self, threads: list[threading.Thread]) -> None:
        """Start whatever has all that it needs, unless something failed: as many as wanted, and as the machine allows.

        Raises PybuildError where it allows none at all.
        """
        if self._error is not None:
            return
        ready = [node for node in self._waiting if self._is_ready(node)]
        for node in ready[: max(0, self._jobs - len(self._running))]:
            thread = threading.Thread(target=self._work, args=(node,), name=f"step {node.index}", daemon=True)
            self._waiting.remove(node)
            self._running.add(node.index)
            try:
                thread.start()
            except RuntimeError as error:
                self._running.discard(node.index)
                self._waiting.insert(0, node)
                if self._running:  # whose end gives it room
                    return
                raise PybuildError(
                    f"{node.place}: the step cannot be started: {error}",
                    hint="a limit of processes is reached: see `ulimit -u`, and the control group's pids.max",
                ) from error
            threads.append(thread)

    def _is_ready(self, node: Node) -> bool:
        return all(index in self._results for index in self._needed(node))

    def _needed(self, node: Node) -> list[int]:
        return [index for index in (node.parent, *(one.node for one in node.inputs)) if index is not None]

    def _work(self, node: Node) -> None:
        """Do a step in a thread of its own; whatever comes of it, whoever waits is told that it is over."""
        try:
            try:
                result = self._process(node)
                self.on_result(node, result)
            except LayersLost as error:
                with self._condition:
                    self._running.discard(node.index)
                    self.forget(error)
                    self._waiting = self._open()
            else:
                with self._condition:
                    self._running.discard(node.index)
                    if self._is_ready(node):  # or else what it stands on was lost meanwhile
                        self._results[node.index] = result
                    else:
                        self._waiting = self._open()
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
            with self._condition:
                if self._error is None:
                    self._error = error
                    self._workshop.cancel()
        finally:
            with self._condition:
                self._running.discard(node.index)
                self._condition.notify_all()

    def _join(self) -> None:
        with self._condition:
            if self._error is None:
                self._error = Interrupted("interrupted")
            while self._running:
                self._condition.wait()

    # one step

    def _look_up(self, node: Node) -> Result | None:
        """Tell a hit and what it led to, or None; says nothing of a miss."""
        started = time.monotonic()
        if isinstance(node.step, BaseStep):
            return self._base(node, node.step, started)
        if self._lookup.forbidden(node.stage) or self._is_new(node):
            return None
        try:
            execution = self._execution(node)
            key = self._key(node, execution)
            found = self._find(node, key)
        except LayersLost:
            raise
        except PybuildError as error:
            self._start(node)
            self._fail(node, error, started)
            raise
        return self._hit(node, key, found, started) if found else None

    def _process(self, node: Node) -> Result:
        started = time.monotonic()
        if isinstance(node.step, BaseStep):
            return self._base(node, node.step, started)
        self._start(node)
        try:
            return self._make(node, started)
        except Interrupted:
            self._done(node, events.CANCELLED, "", started)
            raise
        except LayersLost:
            raise
        except PybuildError as error:
            self._fail(node, error, started)
            raise
        except OSError as error:
            from buildah_py.linux.failures import describe as describe_failure

            text, hint = describe_failure(error)
            told = PybuildError(text, hint=hint)
            self._fail(node, told, started)
            raise told from error
        except Exception as error:
            self._done(node, events.FAILED, str(error), started)
            raise

    def _fail(self, node: Node, error: PybuildError, started: float) -> None:
        """Say that a step failed, and have the error name the place in the build file."""
        if not isinstance(error, StepFailed):
            error.message = f"{node.place}: {error.message}"
        self._done(node, events.FAILED, error.message.partition("\n")[0], started)

    def _make(self, node: Node, started: float) -> Result:
        for attempt in range(1, _TRIES + 1):
            self._workshop.check()
            try:
                execution = self._execution(node)
                key = self._key(node, execution)
                waiting = events.Note("waiting for another build, which executes the same step", node.index + 1)
                tell = partial(self._workshop.emit, waiting)
                with self._workshop.store.lock(key, self._workshop.cancelled, waiting=tell):
                    found = self._find(node, key)
                    if found is not None:
                        return self._hit(node, key, found, started, announced=True)
                    why = self._reason(node)
                    reason = why.find(execution, key).reason
                    record = self._run_execution(execution, why)
            except SourceChanged as error:
                if attempt == _TRIES:
                    raise
                self._workshop.emit(events.Note(f"{error.message}; reading it again", node.index + 1))
                self._workshop.refresh_contexts()
                self._executions.pop(node.index, None)
                continue
            with self._condition:
                self._made.add(key)
                self.ran += 1
            self._watch(node, record, events.RAN, reason)
            result = self._result(node, record)
            same = why.is_same(result.chain)
            if same:
                reason += "; same content as before" + ("" if self._lookup.no_cache else ": later steps can hit")
            self._done(node, events.RAN, reason, started, execution.usage, same=same)
            return result
        raise AssertionError("unreachable")

    def _run_execution(self, execution: Execution, why: Reason) -> Record:
        began = time.monotonic()
        captured, staged = execution.execute(self._workshop.store.stage(), why.near)
        self._workshop.check()
        content = captured.inventory.content_digest(captured.stamps)
        made = self._older(captured.diff_id, content, why)
        if made is None:
            self._add(captured, staged)
            made = Made(captured.diff_id, content, captured.stamps)
        else:
            self._workshop.store.discard(staged)
        seconds = round(time.monotonic() - began, 3)
        return self._workshop.cache.keep(
            why.ingredients(execution, made.content), made, seconds, lists=why.lists(execution)
        )

    def _add(self, captured: Captured, staged: str) -> None:
        store = self._workshop.store
        was_absent = bool(store.layers.missing([captured.diff_id]))
        store.layers.add(staged, captured.inventory, captured.diff_id, captured.size, base=captured.base or None)
        if was_absent:
            drop_lies(store, captured.diff_id)

    def _older(self, diff_id: str, content: str, why: Reason) -> Made | None:
        """Find an earlier result of the step that is equivalent: it stays, so that digests do."""
        if self._workshop.cache.apart:
            return None
        for record in why.earlier():
            if record.diff_id == diff_id:
                return None
            if record.content != content or self._workshop.store.layers.missing([record.diff_id]):
                continue
            if self._workshop.store.layers.use([record.diff_id]):
                return record.result
        return None

    def _execution(self, node: Node) -> Execution:
        """Make the execution of a node, once: what its look-up read of a context need not be read again."""
        if node.index not in self._executions:
            inputs = [None if one.node is None else self._results[one.node] for one in node.inputs]
            self._executions[node.index] = make_execution(
                self._workshop,
                node,
                self._parent(node),
                inputs,
                ahead=self._is_new(node),
                opened=node.index in self._opened,
            )
        return self._executions[node.index]

    def _is_new(self, node: Node) -> bool:
        """Whether no record of a step can be expected, so that it need not be known what it reads to execute it."""
        if not isinstance(node.step, CopyStep):
            return False
        cache = self._workshop.cache
        return self._lookup.forbidden(node.stage) or (cache.remote is None and cache.is_first_build())

    def _parent(self, node: Node) -> Result:
        return NOTHING if node.parent is None else self._results[node.parent]

    def _reason(self, node: Node) -> Reason:
        with self._condition:
            if not self._texts:
                self._texts = frozenset((one.stage, one.text) for one in self._nodes)
        return Reason(self._workshop.cache, self._lookup, node, self._nodes, self._parent(node).chain, self._texts)

    def _key(self, node: Node, execution: Execution) -> str:
        return step_key(chain_below(node.step, self._parent(node).chain), node.step.canonical(), execution.inputs())

    def _find(self, node: Node, key: str) -> Record | None:
        """Look a key up. What this build itself has made counts even where older records do not."""
        if (self._lookup.forbidden(node.stage) or key in self._lost) and key not in self._made:
            return None
        record = self._workshop.cache.lookup(key)
        if record is None or (key not in self._made and self._lookup.is_too_old(record.made)):
            return None
        if not self._workshop.store.layers.use([record.diff_id]):
            return None
        return record

    def _base(self, node: Node, step: BaseStep, started: float) -> Result:
        self._start(node)
        if not self._workshop.store.layers.use(step.diff_ids):
            error = NotFound(f"layers of the base image {step.name} are missing", hint="make or import the image again")
            self._done(node, events.FAILED, str(error), started)
            raise error
        self._done(node, events.HIT, "", started)
        return base_result(step.diff_ids)

    def _hit(self, node: Node, key: str, record: Record, started: float, *, announced: bool = False) -> Result:
        if not announced:
            self._start(node)
        with self._condition:
            self.hits += 1
            self._met.append((node, key))
        self._watch(node, record, events.HIT, "")
        self._done(node, events.HIT, "", started, source=record.source)
        return self._result(node, record)

    def _watch(self, node: Node, record: Record, outcome: str, reason: str) -> None:
        if self._observe is not None:
            why, execution = self._reason(node), self._executions[node.index]
            ingredients = why.ingredients(execution, record.content)
            self._observe(Observed(node, ingredients, record, why.lists(execution), outcome, reason))

    def _result(self, node: Node, record: Record) -> Result:
        self._executions.pop(node.index, None)
        self.records[node.index] = record
        inputs = [self._results[one.node] for one in node.inputs if one.node is not None]
        return result_of(node.step, self._parent(node), inputs, record)

    def _start(self, node: Node) -> None:
        total = self._stages[node.stage]
        self._workshop.emit(events.StepStarted(node.index + 1, node.stage, node.number, total, node.shown))

    def _done(
        self,
        node: Node,
        outcome: str,
        reason: str,
        started: float,
        usage: Usage = NOTHING_USED,
        *,
        source: str = "",
        same: bool = False,
    ) -> None:
        seconds = time.monotonic() - started
        self._workshop.emit(
            events.StepDone(node.index + 1, outcome, reason, seconds, usage.cpu, usage.memory, source, same)
        )


def default_jobs() -> int:
    """Give how many steps are executed at once where nobody says: they wait for disks and servers as well."""
    return min(4 + 4 * (os.cpu_count() or 1), _MOST_JOBS)


def _opened(nodes: Sequence[Node]) -> set[int]:
    """The indices of the nodes whose files others look at: containers that run on them, copies, mounts."""
    found: set[int] = set()
    for node in reversed(nodes):
        if node.parent is not None and (node.index in found or isinstance(node.step, RunStep | CaptureStep)):
            found.add(node.parent)
        found.update(one.node for one in node.inputs if one.node is not None)
    return found
