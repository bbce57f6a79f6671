"""Steps of one target on a cluster: a worker gets what it needs to do one, and what it says of that is checked.

Keys are made here, as of a build on this machine, and so are images. A worker's word is good for what only an execution
can tell, the layer that it led to: that is promised to the store, with the place of its blob, and whoever needs the
layer compares it with what was said.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.cache.keys import step_key
from buildah_py.cluster.bundle import write_bundle
from buildah_py.cluster.client import Terms
from buildah_py.cluster.orders import LayerNote, StepOrder, lent
from buildah_py.cluster.place import public_text
from buildah_py.engine.elsewhere import ElsewhereAnswer
from buildah_py.engine.ops import NOTHING_USED
from buildah_py.engine.ops.copy import CopyOp
from buildah_py.engine.ops.run import RunOp
from buildah_py.engine.ops.step_log import StepLog, open_log
from buildah_py.engine.results import chain_below
from buildah_py.errors import CacheError, ImageError, LayersLost, PybuildError
from buildah_py.image import digest
from buildah_py.image import platform as platforms
from buildah_py.image.descriptor import Descriptor
from buildah_py.image.digest import sha256_of
from buildah_py.plan.steps import CaptureStep, RunStep
from buildah_py.sharing.spec import SERVICES
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from buildah_py.api.container import ContainerOptions
    from buildah_py.cluster.client import Cluster
    from buildah_py.cluster.orders import OrderReport
    from buildah_py.cluster.place import SharedPlace
    from buildah_py.engine.ops import InputList, Op, Task, Usage
    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.layers.inventory import Captured
    from buildah_py.layers.stamps import Stamps
    from buildah_py.plan import Node
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store import Origin, Store

_PROBE: Final = b"pybuild\n"
_EVERYWHERE: Final = ("registry", *SERVICES)
"""Kinds of origins that are the same on all machines."""
_LOSSES: Final = 2
"""Layers of one worker that cannot be had, after which it gets no more steps."""


class SharedWork(NamedTuple):
    """Work that the targets of a bake on a cluster have in common: who made which layer, and as which order."""

    cluster: Cluster
    spec: CacheSpec
    place: SharedPlace
    store: Store
    said: dict[str, tuple[str, Stamps]]
    makers: dict[str, str]
    numbers: dict[str, int]
    published: dict[str, Origin]
    losses: list[str]
    lock: threading.Lock

    @classmethod
    def of(cls, cluster: Cluster, spec: CacheSpec, place: SharedPlace, store: Store) -> SharedWork:
        """Begin with nothing known."""
        return cls(cluster, spec, place, store, {}, {}, {}, {}, [], threading.Lock())


class ClusterSteps:
    """The steps of the target `name`, as the engine asks for them; `priorities` gives those of nodes by indices."""

    def __init__(
        self,
        work: SharedWork,
        name: str,
        worker: Worker,
        container: ContainerOptions,
        priorities: Callable[[int], float],
    ) -> None:
        self._work = work
        self._cluster = work.cluster
        self._store = work.store
        self._worker = worker
        self._container = container
        self._resources = work.cluster.options.needs(name)
        self._priority = priorities

    def expect(self, nodes: Sequence[Node]) -> None:
        """See that a worker can do each of the nodes, before any is begun."""
        if self._worker.cache.remote is not None:
            return  # any of them may be a hit; what cannot be done is refused when it has to be
        self._connect()
        checked: set[str] = set()
        for node in nodes:
            step = node.step.run if isinstance(node.step, CaptureStep) else node.step
            if not isinstance(step, RunStep):
                continue
            try:
                if step.platform not in checked:
                    self._cluster.check_platform(step.platform)
                    checked.add(step.platform)
                self._check_lent(step)
            except PybuildError as error:
                error.message = f"{node.place}: {error.message}"
                raise

    def prepared(self, task: Task, op: Op) -> Op:
        """Give an operation that has a worker look at what only layers of others can tell."""
        trees = [tree for tree in task.trees if tree is not None]
        if any(self._store.layers.missing(tree.layers) for tree in trees):
            return _Asked(op, lambda: self._ask(task, op))
        return op

    def execute(self, task: Task, op: Op, key: str, *, anew: bool) -> ElsewhereAnswer:
        """Have a worker do a step."""
        own = op.inner if isinstance(op, _Asked) else op
        number = self._cluster.number()
        try:
            with self._logged(task.node):
                report = self._perform(task, own, number, key, anew=anew)
        except LayersLost as lost:
            with self._work.lock:
                makers = [name for one in lost.diff_ids if (name := self._work.makers.pop(one, ""))]
                self._work.losses.extend(makers)
                distrusted = [name for name in makers if lost.untrue or self._work.losses.count(name) >= _LOSSES]
                for diff_id in lost.diff_ids:
                    self._work.said.pop(diff_id, None)
                    self._work.published.pop(diff_id, None)
            for name in distrusted:
                self._cluster.distrust(name, lost.diff_ids)
            raise
        return self._believed(task, op, key, number, report)

    @contextmanager
    def _logged(self, node: Node) -> Iterator[None]:
        """Keep what a step prints, as where it is executed here."""
        number = node.index + 1
        with StepLog(lambda: open_log(self._store, number)) as log, self._cluster.heard(number, log.add):
            yield

    def cancel(self) -> None:
        """End what runs."""
        self._cluster.cancel()

    def _connect(self) -> None:
        self._cluster.connect(self._terms)

    def _terms(self) -> Terms:
        """Put a blob into the shared place that workers have to find there."""
        path = os.path.join(self._store.stage(), "probe")
        with open(path, "xb") as file:
            file.write(_PROBE)
        probe = Descriptor("application/octet-stream", sha256_of(_PROBE), len(_PROBE))
        place = self._work.place
        place.put(probe, path)
        return Terms(public_text(self._work.spec, place.backend), probe, self._worker.restrictions, self._container)

    def _check_lent(self, step: RunStep) -> None:
        """Refuse secrets and agents that no worker has: they do not travel. Raises PybuildError."""
        secrets, agents = self._lent(step)
        for what, ids, variable in (
            ("secret", secrets, "PYBUILD_CLUSTER_SECRETS"),
            ("ssh agent", agents, "PYBUILD_CLUSTER_SSH"),
        ):
            for one in sorted(ids):
                if not any(
                    one in (there.secrets if what == "secret" else there.agents) for there in self._cluster.workers
                ):
                    shown = f"id={one},src=FILE" if what == "secret" else one
                    raise PybuildError(
                        f"the {what} `{one}` does not go to other machines, and no worker has it",
                        hint=f"give it to the workers: {variable}='{shown}' in their environment",
                    )

    def _lent(self, step: object) -> tuple[frozenset[str], frozenset[str]]:
        """Name the secrets and agents that a step gets here: those that it requires, and those that were given."""
        mounts = step.mounts if isinstance(step, RunStep) else ()
        reach = self._worker.reach
        secrets = {one.id for one in mounts if one.type == "secret" and (one.required or reach.secret_digest(one.id))}
        agents = {one.id or "default" for one in mounts if one.type == "ssh"}
        required = {one.id or "default" for one in mounts if one.type == "ssh" and one.required}
        return frozenset(secrets), frozenset(one for one in agents if one in required or one in reach.agents)

    def _ask(self, task: Task, op: Op) -> OrderReport:
        report = self._perform(task, op, self._cluster.number(), "", anew=False)
        selections = self._worker.cache.selections
        for key, found in report.selections.items():
            selections.save(key, found, task.node.inputs[0].name if task.node.inputs else "a stage")
        return report

    def _perform(self, task: Task, op: Op, number: int, key: str, *, anew: bool) -> OrderReport:
        node = task.node
        self._connect()
        step = node.step.run if isinstance(node.step, CaptureStep) else node.step
        if isinstance(step, RunStep):
            self._check_lent(step)
        secrets, agents = self._lent(step)
        bundle = self._bundle(task, op)
        trees = [tree for tree in (task.parent, *task.trees) if tree is not None]
        layers = tuple(self._note(one) for one in dict.fromkeys(one for tree in trees for one in tree.layers))
        order = StepOrder(
            self._cluster.bake,
            number,
            self._cluster.topic,
            public_text(self._work.spec, self._work.place.backend),
            node,
            task.parent,
            tuple(task.trees),
            layers,
            bundle,
            key,
            anew,
            self._container,
            self._worker.observe,
            self._worker.reach.limits,
            secrets,
            agents,
        )
        platform = step.platform if isinstance(step, RunStep) else self._any_platform()
        with self._work.lock:
            before = [self._work.numbers[tree.layers[-1]] for tree in trees if self._made(tree)]
        return self._cluster.perform(
            order,
            {**dict.fromkeys([self._cluster.check_platform(platform), *lent(secrets, agents)], 1), **self._resources},
            self._priority(node.index),
            before,
            f"pybuild {type(node.step).__name__.removesuffix('Step').lower() if key else 'look'}",
        )

    def _made(self, tree: Result) -> bool:
        return bool(tree.layers) and tree.layers[-1] in self._work.numbers

    def _any_platform(self) -> str:
        """Name a platform that a worker has, this machine's if it can be: files are the same on all."""
        own = str(platforms.host())
        there = [one.platforms for one in self._cluster.workers]
        return own if not there or any(own in some for some in there) else there[0][0]

    def _bundle(self, task: Task, op: Op) -> Descriptor | None:
        """Put what a step reads of contexts into the shared place."""
        path = os.path.join(self._store.stage(), "bundle")
        bundle = write_bundle(task, op, path)
        if bundle is not None:
            self._work.place.put(bundle, path)
            os.unlink(path)
            if isinstance(op, CopyOp):
                op.warn()
        return bundle

    def _note(self, diff_id: str) -> LayerNote:
        """Say where workers get a layer: one that only this machine has is put into the shared place first."""
        place, layers = self._work.place, self._store.layers
        with self._work.lock:
            known = self._work.published.get(diff_id)
            said = self._work.said.get(diff_id)
        origins = [one for one in layers.origins(diff_id) if one.digest and self._is_everywhere(one)]
        if known is None and not origins:
            known = place.origin(place.publish(self._store, diff_id))
            with self._work.lock:
                self._work.published[diff_id] = known
        if known is not None:
            origins = [known, *(one for one in origins if one != known)]
        layer = layers.get(diff_id)
        return LayerNote(
            diff_id, origins[0].size, layer.created if layer is not None else 0, tuple(origins), (said,) if said else ()
        )

    def _is_everywhere(self, origin: Origin) -> bool:
        backend = self._work.place.backend
        return origin.kind in _EVERYWHERE or (origin.kind, origin.location) == (backend.kind, backend.location)

    def _believed(self, task: Task, op: Op, key: str, number: int, report: OrderReport) -> ElsewhereAnswer:
        """Take a worker at its word as far as that can be looked through. Raises PybuildError for what cannot be."""
        made, blob, place = report.made, report.blob, self._work.place
        who = f"the worker {report.worker}"
        own = step_key(chain_below(task.node.step, task.parent.chain), task.node.step.canonical(), report.inputs)
        if report.key != key or own != key or dict(report.inputs) != dict(op.inputs()):
            raise PybuildError(f"{who} has done another step than it was asked for", hint="see its log")
        if made is None or blob is None:
            raise PybuildError(f"{who} has made no layer", hint="see its log")
        try:
            for one in (made.diff_id, made.content, blob.digest):
                digest.validate(one)
        except ImageError as error:
            raise PybuildError(f"{who} names a layer that cannot be: {error.message}") from error
        if not place.backend.has(blob):
            raise CacheError(
                f"{who} says that it has put the layer {made.diff_id} into {redact(place.backend.name)}, "
                "where it is not",
                hint="are both the same place?",
            )
        origin = place.origin(blob)
        self._store.layers.promise(made.diff_id, size=blob.size, origins=[origin], created=report.created)
        with self._work.lock:
            self._work.said[made.diff_id] = (made.content, made.stamps)
            self._work.makers[made.diff_id] = report.worker
            self._work.numbers[made.diff_id] = number
            self._work.published[made.diff_id] = origin
        usage: Usage = report.usage or NOTHING_USED
        if isinstance(op, _Asked):
            op.usage = usage
        return ElsewhereAnswer(made, report.seconds, report.created, report.executed, usage, report.learned)


class _Asked:
    """An operation whose inputs a worker looks at, as their layers are not here."""

    learned = None

    def __init__(self, inner: Op, ask: Callable[[], OrderReport]) -> None:
        self.inner = inner
        self.usage = NOTHING_USED
        self._ask = ask
        self._inputs: Mapping[str, str] | None = None

    def inputs(self) -> Mapping[str, str]:
        """Return the digests that are known, or that a worker has found."""
        if self._inputs is None:
            answered = isinstance(self.inner, CopyOp | RunOp) and self.inner.is_answered
            self._inputs = self.inner.inputs() if answered else self._ask().inputs
        return self._inputs

    def lists(self) -> Mapping[str, InputList]:
        """Return nothing: lists stay where the layers are."""
        return {}

    def execute(self, staged: str, near: str | None) -> tuple[Captured, str]:
        """Execute it here, where its layers are fetched for that."""
        return self.inner.execute(staged, near)
