"""Doing one step on a worker: with the worker's own store, on layers and files that come from the shared place."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.api.opening import restrictions_of
from buildah_py.api.prune import after_build
from buildah_py.api.state import open_store
from buildah_py.cache import Cache, Made, step_key
from buildah_py.cache.ingredients import About, Ingredients
from buildah_py.cluster.bundle import Bundle, read_bundle
from buildah_py.cluster.orders import OrderReport
from buildah_py.cluster.place import SharedPlace
from buildah_py.cluster.sandboxes import Sandboxes
from buildah_py.engine import Worker
from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.file_systems import FileSystems
from buildah_py.engine.ops import Task, make_op
from buildah_py.engine.ops.copy import CopyOp
from buildah_py.engine.ops.step_log import OutputMask
from buildah_py.engine.results import chain_above, chain_below
from buildah_py.engine.worker import Reporter
from buildah_py.errors import LayersLost, PybuildError, StepFailed
from buildah_py.http.retry import Waiter
from buildah_py.meter import Listening
from buildah_py.plan.steps import CopyStep
from buildah_py.progress.events import StepOutput
from buildah_py.sandbox import Sandbox
from buildah_py.sharing.backends import Backends
from buildah_py.sharing.spec import parse_to
from buildah_py.sources.reach import Reach
from buildah_py.sources.secrets import Agents, parse_secrets, readers
from buildah_py.transfer.provider import NoPromises, OriginProvider, Registries, VerifiedProvider
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from buildah_py.cache import Record
    from buildah_py.cluster.orders import StepOrder
    from buildah_py.engine.ops import Op
    from buildah_py.progress.events import Event
    from buildah_py.store import Store

SECRETS: Final = "PYBUILD_CLUSTER_SECRETS"
AGENTS: Final = "PYBUILD_CLUSTER_SSH"
"""Variables of a worker with values of `--secret` and of `--ssh`, between spaces."""


_SANDBOXES: Final = Sandboxes()


def given(environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the secrets and the agents that a worker was given, as `--secret` and `--ssh` have them."""
    return environ.get(SECRETS, "").split(), environ.get(AGENTS, "").split()


class Ending(Cancellation):
    """Set when a step is to end early: what was begun for it is called then, too."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[Callable[[], object]] = []
        self._changing = threading.RLock()

    def also(self, call: Callable[[], object]) -> None:
        """Have something called once it is set; at once where it is."""
        with self._changing:
            self._calls.append(call)
            if self.is_set():
                call()

    def set(self) -> None:
        """Set it."""
        with self._changing:
            if not self.is_set():
                super().set()
                for call in self._calls:
                    call()


class _Shop(NamedTuple):
    """The parts that a step is done with."""

    store: Store
    worker: Worker
    place: SharedPlace
    bundle: Bundle


def do_step(order: StepOrder, name: str, emit: Callable[[Event], None], cancellation: Ending) -> OrderReport:
    """Do what an order says, as worker `name`. Raises what a step raises; LayersLost names layers of others.

    `emit` hears of output and transfers, from several threads. Once `cancellation` is set, Interrupted comes soon.
    """
    with Listening(emit, order.node.index + 1), _opened(order, emit, cancellation) as shop:
        task = Task(shop.worker, order.node, order.parent, order.trees)
        op = _op(task, shop.bundle)
        _check_needed(order, shop.store)
        inputs = dict(op.inputs())
        selections = dict(shop.worker.cache.selections.used)
        chain = chain_below(order.node.step, order.parent.chain)
        key = step_key(chain, order.node.step.canonical(), inputs)
        if not order.key:
            return OrderReport(name, key, inputs, selections)
        if key != order.key:
            raise PybuildError(
                f"the worker {name} finds other inputs than this machine: {_named(inputs)}",
                hint="it runs containers under other restrictions, or has other secrets: see docs/cluster.md",
            )
        with shop.store.lock(key, cancellation.is_set):
            known = None if order.anew else shop.worker.cache.lookup(key)
            if known is not None and not (shop.store.layers.use([known.diff_id]) and _is_here(shop.store, known)):
                known = None
            began = time.monotonic()
            record = known or _execute(shop, task, op, chain)
            seconds = record.seconds if known else round(time.monotonic() - began, 3)
        cancellation.check()
        blob = shop.place.publish(shop.store, record.diff_id)
        plain, learned = record.observed
        packed = shop.worker.cache.input_list(learned) if learned else None
        return OrderReport(
            name,
            key,
            inputs,
            selections,
            Made(record.diff_id, record.content, record.stamps),
            blob,
            blob.size,
            seconds,
            record.created,
            known is None,
            op.usage,
            (plain, packed) if packed is not None else None,
        )


@contextmanager
def _opened(order: StepOrder, emit: Callable[[Event], None], cancellation: Ending) -> Iterator[_Shop]:
    environ = dict(os.environ)
    reporter = Reporter(emit)
    backends = Backends(environ, waiter=Waiter(reporter.note, cancellation.is_set))
    place = SharedPlace(parse_to(order.place), backends)
    secrets, agents = given(environ)
    with ExitStack() as stack:
        client = stack.enter_context(Registries(environ))
        lent = stack.enter_context(Agents(agents, environ)) if order.agents else {}
        origins = OriginProvider(
            client,
            openers=lambda: backends.openers([place.backend]),
            tell=reporter.note,
            cancelled=cancellation.is_set,
        )
        store = stack.enter_context(
            open_store(
                environ,
                provider=VerifiedProvider(origins, NoPromises()),
                cancelled=cancellation.is_set,
                tell=reporter.note,
            )
        )
        reach = Reach(
            agents={one: lent[one] for one in order.agents if one in lent},
            cancelled=cancellation.is_set,
            limits=order.limits,
            tell=reporter.note,
        )
        if order.secrets:
            asked = {one: secret for one, secret in parse_secrets(secrets, environ).items() if one in order.secrets}
            known = readers(asked, environ, cancellation.is_set)
            reporter.emit = stack.enter_context(_masked(emit, filter(None, map(known.value, sorted(asked)))))
            reach = reach._replace(secret=known.value, secret_digest=known.digest)
        bundle = _bundle(order, store, place)
        beside = stack.enter_context(_SANDBOXES.lent(lambda: Sandbox(store.path("sandbox"))))
        shape = order.container.shaper(environ, store)
        containers = Containers(beside.sandbox, cancellation, shape, beside=beside)
        stack.callback(containers.close)
        cancellation.also(containers.cancel)
        worker = Worker(
            store,
            Cache(store),
            FileSystems(store),
            bundle,
            containers,
            reporter,
            cancellation,
            reach,
            lambda _: None,
            restrictions_of(order.container),
            "",
            order.observe,
        )
        yield _Shop(store, worker, place, bundle)
        after_build(store, environ)


@contextmanager
def _masked(emit: Callable[[Event], None], secrets: Iterable[bytes]) -> Iterator[Callable[[Event], None]]:
    """Give a sink for which asterisks stand for secrets in what steps print: they do not leave the worker."""
    values = list(secrets)
    masks: dict[tuple[int, int], OutputMask] = {}

    def tell(event: Event) -> None:
        if isinstance(event, StepOutput):
            mask = masks.setdefault((event.id, event.stream), OutputMask(values))
            event = event._replace(data=mask.masked(event.data))
        emit(event)

    def hidden(text: str) -> str:
        mask = OutputMask(values)
        return (mask.masked(text.encode("utf-8", "surrogateescape")) + mask.rest()).decode("utf-8", "surrogateescape")

    try:
        yield tell
    except StepFailed as error:
        error.message, error.last_lines = hidden(error.message), tuple(map(hidden, error.last_lines))
        raise
    for (step, stream), mask in masks.items():
        if rest := mask.rest():
            emit(StepOutput(step, stream, rest))


def _bundle(order: StepOrder, store: Store, place: SharedPlace) -> Bundle:
    """Fetch the files of contexts that the step reads."""
    if order.bundle is None:
        return Bundle()
    staged = store.stage()
    path = os.path.join(staged, "bundle")
    place.fetch(order.bundle, path)
    found = read_bundle(path, os.path.join(staged, "files"), order.node.step)
    os.unlink(path)
    return found


def _op(task: Task, bundle: Bundle) -> Op:
    if isinstance(task.node.step, CopyStep) and bundle.selected is not None:
        return CopyOp(task, task.node.step, selected=bundle.selected)
    return make_op(task)


def _check_needed(order: StepOrder, store: Store) -> None:
    """Know the layers that the step needs, and compare those that are here with what is said of their content.

    Raises LayersLost for those that are something else.
    """
    for note in order.layers:
        if store.layers.missing([note.diff_id]) or store.layers.get(note.diff_id) is None:
            store.layers.promise(note.diff_id, size=note.size, origins=note.origins, created=note.created)
    said = [note for note in order.layers if note.said]
    if not said:
        return
    store.need([note.diff_id for note in said])
    for note in said:
        inventory = store.layers.inventories.get(note.diff_id)
        if any(inventory.content_digest(stamps) != content for content, stamps in note.said):
            lost = LayersLost(f"the layer {note.diff_id} is not what a worker said of it", [note.diff_id])
            lost.untrue = True
            raise lost


def _is_here(store: Store, record: Record) -> bool:
    return not store.layers.missing([record.diff_id])


def _execute(shop: _Shop, task: Task, op: Op, chain: str) -> Record:
    store, worker = shop.store, shop.worker
    began = time.monotonic()
    captured, staged = op.execute(store.stage(), None)
    worker.cancellation.check()
    made = Made(captured.diff_id, captured.inventory.content_digest(captured.stamps), captured.stamps)
    store.layers.add(staged, captured.inventory, captured.diff_id, captured.size, base=captured.base or None)
    node, on = task.node, task.parent.chain
    above = chain_above(node.step, on, made.content)
    about = About(node.stage, node.number, node.text, on=on, chain=above, pybuild=__version__)
    ingredients = Ingredients(chain, task.node.step.canonical(), dict(op.inputs()), about)
    return worker.cache.save(ingredients, made, round(time.monotonic() - began, 3), learned=op.learned)


def _named(inputs: Mapping[str, str]) -> str:
    return ", ".join(sorted(inputs)) or "none"
