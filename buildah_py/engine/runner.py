"""Does the steps of a build: looks up, locks, executes, keeps what came of it, and tells of all that."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import debug
from buildah_py.cache import Made, step_key
from buildah_py.cache.records import ALL, drop_lies
from buildah_py.engine.ops import NOTHING_USED, Task, make_op
from buildah_py.engine.results import NOTHING, base_result, chain_below, result_of
from buildah_py.engine.scheduler import Postponed
from buildah_py.errors import Interrupted, LayersLost, NotFound, PybuildError, SourceChanged, StepFailed
from buildah_py.meter import Listening
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from buildah_py.cache import Record
    from buildah_py.cache.explain import Explanation
    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.cache.observations import Slot
    from buildah_py.cache.records import CachePolicy
    from buildah_py.engine.elsewhere import Elsewhere
    from buildah_py.engine.ops import Op, Usage
    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.layers.inventory import Captured
    from buildah_py.meter import Moved
    from buildah_py.plan import Node

_TRIES = 3


class Observed(NamedTuple):
    """A step that is done: what its key was made of, what its inputs held, by digests, and how it went.

    `learned` is what it was seen to learn of files, packed.
    """

    node: Node
    ingredients: Ingredients
    record: Record
    lists: Mapping[str, Callable[[], bytes]]
    outcome: str
    reason: str
    learned: bytes | None = None


class _Keyed(NamedTuple):
    """A step to be done, with its operation and its key."""

    task: Task
    op: Op
    key: str

    @property
    def lists(self) -> Mapping[str, Callable[[], bytes]]:
        """Contents of inputs, by the digests that stand for them in the key."""
        digests = self.op.inputs()
        return {digests[name]: one.pack for name, one in self.op.lists().items()}


class Workplace(NamedTuple):
    """Parts that the steps of one of several builds are executed with, and which records count for them.

    Where there is an `elsewhere`, steps are looked up here and executed there.
    """

    worker: Worker
    policy: CachePolicy = ALL
    elsewhere: Elsewhere | None = None


class StepRunner:
    """The scheduler's runner for the nodes of one plan. `hits` and `ran` count the steps so far.

    `records` are those of the steps that are done, by the indices of their nodes. `places` are those of the builds
    whose nodes these are, by their numbers, all in one store.
    """

    def __init__(self, places: Sequence[Workplace], observe: Callable[[Observed], None] | None = None) -> None:
        self.hits = 0
        self.ran = 0
        self.records: dict[int, Record] = {}
        self._places = places
        self._worker = worker = places[0].worker
        self._store = worker.store
        self._emit = worker.reporter.emit
        self._observe = observe
        self._nodes: Sequence[Node] = ()
        self._stages: Mapping[str, int] = {}
        self._opened: set[int] = set()
        self._texts: frozenset[tuple[str, str]] = frozenset()
        self._ops: dict[int, Op] = {}
        self._made: set[str] = set()
        self._lost: set[str] = set()
        self._met: list[tuple[Node, str]] = []
        self._shown: dict[int, Node] = {}
        self._executing: set[int] = set()
        self._read: dict[int, str] = {}
        self._lock = threading.Lock()

    def begin(self, nodes: Sequence[Node], stages: Mapping[str, int]) -> None:
        """Hear of the nodes, before any of them is asked for; `stages` tells how many nodes a stage has."""
        self._nodes, self._stages, self._opened = nodes, stages, _opened(nodes)
        self._texts = frozenset((node.stage, node.text) for node in nodes)

    def end(self) -> None:
        """Note where hits were met, once all is done: later builds compare their steps with these."""
        cache = self._worker.cache
        if self._met and (self.ran or not cache.were_met([key for _, key in self._met])):
            from buildah_py.engine.describe import describe

            cache.touch([(key, describe(node, self._nodes, None), _kind(node)) for node, key in self._met])
        self._met.clear()

    def _place(self, node: Node) -> Workplace:
        return self._places[node.part]

    # what the scheduler asks

    def look_up(self, node: Node, needed: Mapping[int, Result]) -> Result | None:
        """Tell a hit and what it led to, or None; says nothing of a miss."""
        started = time.monotonic()
        if isinstance(node.step, BaseStep):
            return self._base(node, node.step, started)
        if self._place(node).policy.forbids(node.stage) or self._is_new(node):
            return None
        try:
            with self._listening(node):
                step = self._keyed(node, needed)
                found = self._find(step)
        except LayersLost:
            raise
        except PybuildError as error:
            self._started(node)
            self._failed(node, error, started)
            raise
        if found is None:
            return None
        self._started(node)
        return self._hit(step, found, started)

    def execute(self, node: Node, needed: Mapping[int, Result]) -> Result:
        """Do a step, unless it is a hit after all.

        Raises StepFailed, Interrupted, Postponed for one that another builder is at, or what stood in its way.
        """
        started = time.monotonic()
        if isinstance(node.step, BaseStep):
            return self._base(node, node.step, started)
        with self._lock:
            self._executing.add(node.index)
        self._started(node)
        try:
            with self._listening(node) as listening:
                return self._make(node, needed, started, listening)
        except Interrupted:
            self._done(node, events.CANCELLED, "", started)
            raise
        except Postponed:
            with self._lock:
                self._executing.discard(node.index)
            raise
        except LayersLost:
            raise
        except PybuildError as error:
            self._failed(node, error, started)
            raise
        except OSError as error:
            told = self._told(error)
            self._failed(node, told, started)
            raise told from error
        except Exception as error:
            self._done(node, events.FAILED, str(error), started)
            raise

    def expect(self, nodes: Sequence[Node]) -> None:
        """Begin to make what the containers of these nodes will need."""
        for number, place in enumerate(self._places):
            if place.elsewhere is not None:
                place.elsewhere.expect([node for node in nodes if node.part == number])
        runs = [node.step for node in nodes if isinstance(node.step, RunStep) and self._place(node).elsewhere is None]
        if runs:
            self._worker.containers.expect(network=any(step.network == "default" for step in runs))

    def lost(self, error: Exception) -> Collection[int] | None:
        """Return the nodes whose layers an error says are lost; none where not all of these are of steps."""
        if not isinstance(error, LayersLost):
            return None
        with self._lock:
            gone = {index: record for index, record in self.records.items() if record.diff_id in error.diff_ids}
            if {record.diff_id for record in gone.values()} != set(error.diff_ids):
                return ()
            keys = {record.key for record in gone.values()}
            self._lost |= keys
            if any(place.elsewhere is not None for place in self._places):
                for key in keys & self._made:  # what a worker has said is worth nothing now
                    self._store.records.remove(key)
            self._made -= keys
        self._emit(events.Warning(f"{error.message}: what led to it is executed here"))
        return gone

    def forget(self, node: Node) -> None:
        """Take a step for not done."""
        with self._lock:
            self._ops.pop(node.index, None)
            record = self.records.pop(node.index, None)
            self.hits -= record is not None and record.key not in self._made

    def cancel(self) -> None:
        """Kill what runs, and have interrupted whatever asks."""
        self._worker.containers.cancel()
        for place in self._places:
            if place.elsewhere is not None:
                place.elsewhere.cancel()
        with self._lock:
            waiting = [node for index, node in self._shown.items() if index not in self._executing]
        for node in waiting:  # those that were shown while they were looked up
            self._done(node, events.CANCELLED, "", time.monotonic())

    # one step

    def _keyed(self, node: Node, needed: Mapping[int, Result]) -> _Keyed:
        """Prepare a step; its operation is made once: what its look-up read of a context need not be read again."""
        on = NOTHING if node.parent is None else needed[node.parent]
        trees = [None if one.node is None else needed[one.node] for one in node.inputs]
        task = Task(self._place(node).worker, node, on, trees)
        op = self._ops.get(node.index)
        if op is None:
            elsewhere = self._place(node).elsewhere
            ahead = elsewhere is None and self._is_new(node)
            op = make_op(task, ahead=ahead, opened=node.index in self._opened)
            if elsewhere is not None:
                op = elsewhere.prepared(task, op)
            self._ops[node.index] = op
        return _Keyed(task, op, step_key(chain_below(node.step, on.chain), node.step.canonical(), op.inputs()))

    def _is_new(self, node: Node) -> bool:
        """Whether no record of a step can be expected, so that it need not be known what it reads to execute it."""
        if not isinstance(node.step, CopyStep):
            return False
        (worker, policy, _) = self._place(node)
        return policy.forbids(node.stage) or (worker.cache.remote is None and worker.cache.is_first_build())

    def _find(self, step: _Keyed) -> Record | None:
        """Look a step up. Records that this build itself has made count even where older ones do not."""
        made = step.key in self._made
        worker, policy, _ = self._place(step.task.node)
        if (policy.forbids(step.task.node.stage) or step.key in self._lost) and not made:
            return None
        record = worker.cache.lookup(step.key)
        found = "no record" if record is None else "a record"
        debug.log("step %d: %s for the key %s", step.task.node.index + 1, found, step.key)
        if record is None:
            return self._find_observed(step)
        self._read.pop(step.task.node.index, None)  # where another build has executed it since the first look
        if not made and policy.is_too_old(record.made):
            return None
        return record if self._store.layers.use([record.diff_id]) else None

    def _find_observed(self, step: _Keyed) -> Record | None:
        """Look for the same step on other files, of which it has learned nothing; then it has this key as well."""
        index, task, on = step.task.node.index, step.task, step.task.parent
        worker, policy, _ = self._place(task.node)
        if not isinstance(task.node.step, RunStep) or worker.observe == "off":
            return None
        if not on.slots and not task.node.step.mounts:
            return None
        from buildah_py.engine.observing import AskedObservations, plain_key, slots_of, slots_of_mounts

        key = plain_key(task, on.plain, step.op.inputs())
        if not key:
            return None

        def slots() -> list[Slot]:
            return [*slots_of(worker, on), *slots_of_mounts(task)]

        def allows(record: Record) -> bool:
            too_old = record.key in self._lost or policy.is_too_old(record.made)
            return not too_old and self._store.layers.use([record.diff_id])

        asked = AskedObservations(worker.cache, key, slots, allows)
        self._read[index] = asked.unlike
        if asked.same is None:
            return None
        record = asked.same.record
        debug.log("step %d: as the step of the key %s: %s", index + 1, record.key, asked.same.text)
        self._read[index] = asked.same.text
        ingredients = self._ingredients(step, record.content)
        learned = key, asked.same.observation
        return worker.cache.save(
            ingredients,
            record.result,
            record.seconds,
            lists=step.lists,
            created=record.made,
            source=record.source,
            signer=record.signer,
            learned=learned,
            here=True,
        )

    def _base(self, node: Node, step: BaseStep, started: float) -> Result:
        self._started(node)
        if not self._store.layers.use(step.diff_ids):
            error = NotFound(f"layers of the base image {step.name} are missing", hint="make or import the image again")
            self._done(node, events.FAILED, str(error), started)
            raise error
        self._done(node, events.HIT, "", started)
        return base_result(step.diff_ids)

    def _hit(self, step: _Keyed, record: Record, started: float) -> Result:
        debug.log("step %d: hit, the layer %s", step.task.node.index + 1, record.diff_id)
        with self._lock:
            self.hits += 1
            self._met.append((step.task.node, step.key))
        self._watch(step, record, events.HIT, "")
        self._done(step.task.node, events.HIT, self._read.pop(step.task.node.index, ""), started, source=record.source)
        return self._result(step, record)

    def _make(self, node: Node, needed: Mapping[int, Result], started: float, listening: Listening) -> Result:
        cancellation = self._worker.cancellation
        tell = partial(
            self._worker.reporter.note, "waiting for another build, which executes the same step", node.index + 1
        )
        for left in reversed(range(_TRIES)):
            cancellation.check()
            try:
                step = self._keyed(node, needed)
                with self._store.lock(step.key, cancellation.is_set, waiting=tell):
                    found = self._find(step)
                    if found is None:
                        found = self._begin(step)
                    if found is not None:
                        return self._hit(step, found, started)
                    why = self._explain(step)
                    if unlike := self._read.pop(node.index, ""):
                        why = why._replace(reason=unlike)
                    debug.log("step %d: executed, %s", node.index + 1, why.reason)
                    record, executed = self._execute_claimed(step, why)
                    if not executed:
                        return self._hit(step, record, started)
            except SourceChanged as error:
                if not left:
                    raise
                self._worker.reporter.note(f"{error.message}; reading it again", node.index + 1)
                self._place(node).worker.contexts.refresh()
                self._ops.pop(node.index, None)
            else:
                break
        with self._lock:
            self._made.add(step.key)
            self.ran += 1
        self._hand_on(step, record)
        self._watch(step, record, events.RAN, why.reason)
        result = self._result(step, record)
        same, reason = why.nearest is not None and why.nearest.about.chain == result.chain, why.reason
        if same:
            cached = not self._place(node).policy.no_cache
            reason += "; same content as before" + (": later steps can hit" if cached else "")
        self._done(node, events.RAN, reason, started + listening.apart, step.op.usage, same=same)
        return result

    def _explain(self, step: _Keyed) -> Explanation:
        """Say why a step is executed, and with which record that is compared."""
        from buildah_py.cache.explain import explain_miss

        worker, policy, _ = self._place(step.task.node)
        return explain_miss(worker.cache, policy, self._ingredients(step), step.key, step.lists, self._texts)

    def _ingredients(self, step: _Keyed, content: str = "") -> Ingredients:
        """Give all of a step that can be compared, with what it led to once that is known."""
        from buildah_py.cache.ingredients import Ingredients
        from buildah_py.engine.describe import describe

        node, on = step.task.node, step.task.parent.chain
        about = describe(node, self._nodes, step.op, on=on, content=content)
        return Ingredients(chain_below(node.step, on), node.step.canonical(), dict(step.op.inputs()), about)

    def _begin(self, step: _Keyed) -> Record | None:
        """Claim a step where others share the work; its record where one of them has done it. Raises Postponed."""
        node = step.task.node
        worker, policy, _ = self._place(node)
        if worker.work is None or policy.forbids(node.stage):
            return None
        from buildah_py.engine.step_sharing import doing

        begun = worker.work.begin(step.key, doing(node))
        if callable(begun):
            raise Postponed(begun)
        return self._find(step) if begun else None

    def _execute_claimed(self, step: _Keyed, why: Explanation) -> tuple[Record, bool]:
        try:
            return self._execute(step, why)
        except BaseException:
            work = self._place(step.task.node).worker.work
            if work is not None:
                work.failed(step.key)
            raise

    def _hand_on(self, step: _Keyed, record: Record) -> None:
        """Give those who share the work what a step led to; in place of what they have, where that did not count."""
        worker, policy, _ = self._place(step.task.node)
        if worker.work is not None:
            anew = policy.forbids(step.task.node.stage) or policy.ttl is not None or step.key in self._lost
            worker.work.done(step.key, record, anew=anew)

    def _execute(self, step: _Keyed, why: Explanation) -> tuple[Record, bool]:
        """Have a step executed; its record, and whether it was: elsewhere it may have been a hit."""
        worker, policy, elsewhere = self._place(step.task.node)
        if elsewhere is not None:
            forbidden = policy.forbids(step.task.node.stage) or step.key in self._lost
            answer = elsewhere.execute(step.task, step.op, step.key, anew=forbidden)
            self._worker.cancellation.check()
            record = worker.cache.save(
                self._ingredients(step, answer.made.content),
                answer.made,
                answer.seconds,
                lists=step.lists,
                created=answer.created,
                learned=answer.learned,
            )
            return record, answer.executed
        began = time.monotonic()
        captured, staged = step.op.execute(self._store.stage(), why.nearest.diff_id if why.nearest else None)
        self._worker.cancellation.check()
        made = Made(captured.diff_id, captured.inventory.content_digest(captured.stamps), captured.stamps)
        older = self._older(step, made, why) if captured.inventory.entries else None  # empty ones say nothing
        instead = f"; {older.diff_id} stands for it" if older and older.diff_id != made.diff_id else ""
        debug.log("made the layer %s, content %s%s", made.diff_id, made.content, instead)
        if older is None:
            self._add(captured, staged)
        else:
            self._store.discard(staged)
        seconds = round(time.monotonic() - began, 3)
        ingredients, learned = self._ingredients(step, made.content), step.op.learned
        cache = step.task.worker.cache
        return cache.save(ingredients, older or made, seconds, lists=step.lists, learned=learned), True

    def _add(self, captured: Captured, staged: str) -> None:
        layers = self._store.layers
        was_absent = bool(layers.missing([captured.diff_id]))
        layers.add(staged, captured.inventory, captured.diff_id, captured.size, base=captured.base or None)
        if was_absent:
            drop_lies(self._store, captured.diff_id)

    def _older(self, step: _Keyed, made: Made, why: Explanation) -> Made | None:
        """Find an earlier result of the step that is equivalent: it stays, so that digests do."""
        if step.task.worker.cache.apart:
            return None
        layers = self._store.layers
        for record in self._earlier(step, why):
            here = record.content == made.content and not layers.missing([record.diff_id])
            if here and layers.use([record.diff_id]):
                return record.result
        return None

    def _earlier(self, step: _Keyed, why: Explanation) -> Iterator[Record]:
        """Give the results that the step has had before, of any ingredients: those most like it first.

        A copy's are only those of this very key: where what it selects is another, so is what it makes.
        """
        copies = isinstance(step.task.node.step, CopyStep)
        if why.nearest is not None and (why.nearest.key == step.key or not copies):
            yield why.nearest
        if copies:
            return
        if why.candidates is not None:
            yield from why.candidates
            return
        from buildah_py.engine.describe import describe

        about = describe(step.task.node, self._nodes, None, on=step.task.parent.chain)
        yield from (record for record, own in step.task.worker.cache.near(about, _kind(step.task.node)) if own)

    def _result(self, step: _Keyed, record: Record) -> Result:
        node, on, trees = step.task.node, step.task.parent, step.task.trees
        with self._lock:
            self._ops.pop(node.index, None)
            self.records[node.index] = record
        return result_of(node.step, on, [tree for tree in trees if tree is not None], record)

    # telling

    def _told(self, error: OSError) -> PybuildError:
        """Make of an error of the system one for a person."""
        from buildah_py.linux.failures import describe as describe_failure
        from buildah_py.store.reserve import is_full, no_space

        text, hint = describe_failure(error)
        if is_full(error) and (error.filename is None or str(error.filename).startswith(f"{self._store.root}/")):
            return no_space(self._store.root)
        return PybuildError(text, hint=hint)

    def _watch(self, step: _Keyed, record: Record, outcome: str, reason: str) -> None:
        if self._observe is not None:
            ingredients = self._ingredients(step, record.content)
            learned = step.task.worker.cache.input_list(record.observed[1]) if record.observed[1] else None
            self._observe(Observed(step.task.node, ingredients, record, step.lists, outcome, reason, learned))

    def _listening(self, node: Node) -> Listening:
        """Have what is measured in this thread told as the step's, which is shown before the first of that."""

        def tell(transfer: Moved) -> None:
            self._started(node)
            self._emit(transfer)

        return Listening(tell, node.index + 1)

    def _started(self, node: Node) -> None:
        with self._lock:
            if node.index in self._shown:
                return
            self._shown[node.index] = node
        total = self._stages[node.label]
        depends = tuple(index + 1 for index in node.needs)
        self._emit(events.StepStarted(node.index + 1, node.label, node.number, total, node.shown, depends))

    def _failed(self, node: Node, error: PybuildError, started: float) -> None:
        """Say that a step failed, and have the error name the place in the build file."""
        if isinstance(error, StepFailed):
            reason = error.short or error.message.partition("\n")[0]
        else:
            name, _, line = node.place.rpartition(":")
            error.place = (name, int(line)) if line.isdecimal() else ("", 0)
            error.message = f"{node.place}: {error.message}"
            reason = error.message.partition("\n")[0]
        self._done(node, events.FAILED, reason, started)

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
        with self._lock:
            self._shown.pop(node.index, None)
            self._executing.discard(node.index)
        seconds = time.monotonic() - started
        self._emit(events.StepDone(node.index + 1, outcome, reason, seconds, usage.cpu, usage.memory, source, same))


def _kind(node: Node) -> str:
    return str(node.step.canonical()["op"])


def _opened(nodes: Sequence[Node]) -> set[int]:
    """Return the indices of the nodes whose files others look at: containers that run on them, copies, mounts."""
    found: set[int] = set()
    for node in reversed(nodes):
        if node.parent is not None and (node.index in found or isinstance(node.step, RunStep | CaptureStep)):
            found.add(node.parent)
        found.update(one.node for one in node.inputs if one.node is not None)
    return found
