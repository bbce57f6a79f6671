"""Dry run of a build: keys as far as they can be known, and what they hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, NoReturn

from buildah_py.buildfile.remote import kind_of
from buildah_py.cache import step_key
from buildah_py.cache.keys import BEFORE
from buildah_py.cache.observations import Slot
from buildah_py.engine.describe import describe
from buildah_py.engine.observing import AskedObservations, plain_key, slots_of, slots_of_mounts
from buildah_py.engine.ops import Task, make_op
from buildah_py.engine.results import NOTHING, Result, base_result, before, chain_below, plain_above, result_of
from buildah_py.errors import NotFound, PybuildError
from buildah_py.frozen import replace
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, RunStep
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Record
    from buildah_py.cache.ingredients import Ingredients
    from buildah_py.engine.ops import InputList, Op
    from buildah_py.engine.ops.copy import CopyOp
    from buildah_py.engine.worker import Worker
    from buildah_py.plan import Node
    from buildah_py.store import Store

_NOT_HERE = "the files that it reads are not here"
_NOWHERE = Result("", ())


class _NotHere(NotFound):
    """Something would have to be looked up in layers that are elsewhere."""


class DryStep(NamedTuple):
    """Facts about one step that are known without doing it.

    `ingredients` is None for a base image. `key` is None where it depends on what has to run or to be fetched first:
    `roots` are the indices of the steps that it waits for, `unknown` says what else is not known. `record` is that of
    the key. `lists` give what inputs hold by their digests; `chain` is the file system that the step leads to. `read`
    says of a step whose key is not known yet why it hits all the same, or what it reads that has changed. `slots` are
    those that it sees, as far as they can be told.
    """

    node: Node
    ingredients: Ingredients | None
    key: str | None = None
    record: Record | None = None
    roots: tuple[int, ...] = ()
    unknown: str = ""
    lists: Mapping[str, Callable[[], bytes]] = {}
    chain: str | None = None
    read: str = ""
    slots: Callable[[], tuple[Slot, ...]] | None = None


class _View(NamedTuple):
    """A file system without its chain digest: that without what slots hold ("" where unknown), and what these hold."""

    plain: str
    slots: Callable[[], tuple[Slot, ...]]


class DryRun:
    """Goes through the nodes of a plan, each after all that it needs, and changes nothing.

    `find` gives the record of a key that a build would use, None for a miss. With `fetch`, what ADD names on the
    network is fetched. Layers that are not here stay where they are (the store's provider is
    `LayersStay`): what has to be looked up in them is unknown.
    """

    def __init__(self, worker: Worker, find: Callable[[Node, str], Record | None], *, fetch: bool = False) -> None:
        self._worker = worker
        self._find = find
        self._fetch = fetch
        self._results: dict[int, Result | None] = {}
        self._roots: dict[int, tuple[int, ...]] = {}
        self._views: dict[int, _View] = {}
        self.steps: list[DryStep] = []

    def look(self, nodes: Sequence[Node]) -> list[DryStep]:
        """Look at the nodes that were not looked at yet; all of them."""
        for node in nodes[len(self.steps) :]:
            found = self._base(node, node.step) if isinstance(node.step, BaseStep) else self._step(node, nodes)
            if found.record is None and found.ingredients is not None:
                found = self._without_key(node, found)
            self.steps.append(found)
            if found.record is None and found.ingredients is not None:
                self._results[node.index] = None
                self._roots[node.index] = found.roots or (node.index,)
            elif found.chain is None:
                self._results[node.index] = None
                self._roots[node.index] = () if node.parent is None else self._roots.get(node.parent, ())
        return self.steps

    def _view(self, index: int) -> _View | None:
        """Give what is known of the file system of a node."""
        result = self._here(self._results[index])
        if result is None:
            return self._views.get(index)
        return _View(result.plain, lambda: tuple(slots_of(self._worker, result)))

    def _without_key(self, node: Node, found: DryStep) -> DryStep:
        """Look whether a step whose key is new, or not known yet, hits because of what it reads."""
        assert found.ingredients is not None
        view = None if node.parent is None else self._view(node.parent)
        inputs = found.ingredients.inputs
        if view is None or None in inputs.values():
            return found
        if isinstance(node.step, CopyStep):
            if (planned := self._planned(node)) is not None:
                slots, above = view.slots, plain_above(node.step, view.plain, "") if view.plain else ""
                self._views[node.index] = _View(above, lambda: (*slots(), planned))
        elif isinstance(node.step, RunStep):
            known = {name: digest for name, digest in inputs.items() if digest is not None}
            task = Task(self._worker, node, _NOWHERE, [None] * len(node.inputs))

            def slots() -> tuple[Slot, ...]:
                return (*view.slots(), *slots_of_mounts(task))

            found = found._replace(slots=slots)
            self._views[node.index] = _View("", view.slots)  # until it is known what the step leads to
            key = plain_key(task, view.plain, known) if view.plain else ""
            if not key:
                return found
            try:
                asked = AskedObservations(
                    self._worker.cache, key, slots, lambda one: self._find(node, one.key) is not None
                )
            except _NotHere:
                return found
            if asked.same is None:
                return found._replace(read=asked.unlike)
            record = asked.same.record
            self._views[node.index] = _View(plain_above(node.step, view.plain, record.content), view.slots)
            return found._replace(record=record, read=asked.same.text)
        return found

    def _planned(self, node: Node) -> Slot | None:
        """Give what a COPY would make, where all that it depends on is known."""
        try:
            planned = None if (op := self._copy(node)) is None else op.planned()
        except PybuildError:  # it will be met again, and told, when it is built
            return None
        return None if planned is None else Slot(*planned)

    def _copy(self, node: Node) -> CopyOp | None:
        """Make the operation of a COPY, where all that it depends on is known."""
        on = None if node.parent is None else self._here(self._results[node.parent])
        trees = [None if one.node is None else self._here(self._results[one.node]) for one in node.inputs]
        blind = any(tree is None and one.node is not None for one, tree in zip(node.inputs, trees, strict=True))
        if on is None or blind or not isinstance(node.step, CopyStep):
            return None
        from buildah_py.engine.ops.copy import CopyOp

        return CopyOp(Task(self._worker, node, on, trees), node.step)

    def origins(self, node: Node) -> Mapping[str, str] | None:
        """Tell of the files that a COPY brings which they are in its context, by their paths in the image."""
        op = self._copy(node)
        return None if op is None else op.origins()

    def result(self, node: Node) -> Result | None:
        """Return the file system that a node leads to, where that is known."""
        return self._results[node.index]

    def _here(self, result: Result | None) -> Result | None:
        """Give a result that can be looked into: what another machine made may be known by its name alone."""
        layers = self._worker.store.layers
        return result if result is not None and all(layers.get(one) for one in result.layers) else None

    def _base(self, node: Node, step: BaseStep) -> DryStep:
        result = self._results[node.index] = base_result(step.diff_ids)
        return DryStep(node, None, chain=result.chain)

    def _step(self, node: Node, nodes: Sequence[Node]) -> DryStep:
        from buildah_py.cache.ingredients import Ingredients

        parent = NOTHING if node.parent is None else self._results[node.parent]
        inputs, held, unknown, op = self._inputs(node)
        below = chain_below(node.step, parent.chain) if parent else None
        if isinstance(node.step, CopyStep) and node.step.link:
            below = NOTHING.chain
        about = describe(node, nodes, op, on=parent.chain if parent else "")
        ingredients = Ingredients(below, node.step.canonical(), inputs, about)
        lists = {digest: held[name].pack for name, digest in inputs.items() if digest is not None and name in held}
        waited = [node.parent] if below is None else []
        waited += [one.node for one in node.inputs if one.node is not None and self._results[one.node] is None]
        roots = sorted({root for index in waited if index is not None for root in self._roots.get(index, ())})
        known = {name: digest for name, digest in inputs.items() if digest is not None}
        if below is None or len(known) < len(inputs):
            return DryStep(node, ingredients, None, None, tuple(roots), unknown, lists)
        key = step_key(below, node.step.canonical(), known)
        record = self._find(node, key)
        if record is None:
            return DryStep(node, ingredients, key, None, (), "", lists)
        chain = None
        if parent is not None:
            inputs_of = [self._results[one.node] for one in node.inputs if one.node is not None]
            result = result_of(node.step, parent, [one for one in inputs_of if one is not None], record)
            self._results[node.index], chain = result, result.chain
        return DryStep(node, ingredients, key, record, (), "", lists, chain)

    def _inputs(self, node: Node) -> tuple[dict[str, str | None], Mapping[str, InputList], str, Op | None]:
        """Give the digests of what a step reads, None for what cannot be known, and why not."""
        trees = [None if one.node is None else self._here(self._results[one.node]) for one in node.inputs]
        step = node.step
        unknown: dict[str, str | None] = {}
        if isinstance(step, CopyStep):
            distant = [source for source in step.sources if step.add and kind_of(source) != "path"]
            if distant and not self._fetch:
                return {"sources": None}, {}, f"{redact(distant[0])} has to be fetched first", None
            if node.inputs[0].node is not None and trees[0] is None:
                return {"sources": None}, {}, _NOT_HERE, None
        run = step.run if isinstance(step, CaptureStep) else step
        if isinstance(run, RunStep):
            blind = [
                mount
                for mount in run.mounts
                if mount.input is not None and node.inputs[mount.input].node is not None and trees[mount.input] is None
            ]
            unknown = {f"mount {mount.target}": None for mount in blind}
            if blind:
                step = replace(run, mounts=tuple(mount for mount in run.mounts if mount not in blind))
        why = _NOT_HERE if unknown else ""
        if isinstance(run, RunStep) and run.reads_state:
            others = [self._results[one.node] for one in node.inputs if one.node is not None]
            unknown[BEFORE] = before(NOTHING if node.parent is None else self._results[node.parent], others)
        op = make_op(Task(self._worker, replace(node, step=step), _NOWHERE, trees))
        try:
            return {**op.inputs(), **unknown}, op.lists(), why, op
        except _NotHere as error:
            mounts = run.mounts if isinstance(run, RunStep) else ()
            names = [f"mount {mount.target}" for mount in mounts if mount.input is not None] or ["sources"]
            machine = self._worker.machine if isinstance(run, RunStep) else {}
            return {**dict.fromkeys(names), **machine}, {}, error.message, None


class LayersStay:
    """The provider of a store that is only looked at: layers that are elsewhere stay there."""

    def ensure(self, _store: Store, _diff_ids: Sequence[str]) -> NoReturn:
        """Raise NotFound."""
        raise _NotHere("layers that it is looked up in have to be fetched first")

    def blob(self, store: Store, diff_id: str) -> NoReturn:
        """Raise NotFound."""
        self.ensure(store, [diff_id])

    def close(self) -> None:
        """Do nothing."""
