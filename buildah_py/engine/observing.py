"""Hits of a RUN whose key is new, because nothing that it learned of the files before it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py import debug
from buildah_py.cache import step_key
from buildah_py.cache.keys import digest_of
from buildah_py.cache.observations import Slot, unpack
from buildah_py.errors import CacheError
from buildah_py.plan.steps import RunStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Cache, Record
    from buildah_py.engine.ops.op import Task
    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.plan import Node
    from buildah_py.plan.steps import MountStep


class SameRecord(NamedTuple):
    """A record that holds though its key is another: the observation, and in words what it had to say of how much."""

    record: Record
    observation: bytes
    text: str


def plain_key(task: Task, plain: str, inputs: Mapping[str, str]) -> str:
    """Name a RUN by all but what slots hold, those below it and those of its mounts; "" where nothing is observed.

    `plain` is the chain digest of what is below without that.
    """
    step = task.node.step
    assert isinstance(step, RunStep)
    if task.worker.observe == "off" or step.reads_state or step.security != "sandbox":
        return ""
    shown = {f"mount {mount.target}" for mount in observed_mounts(task.node)}
    rest = {name: digest for name, digest in inputs.items() if name not in shown}
    return digest_of(["observed", step_key(plain, step.canonical(), rest)])


def observed_mounts(node: Node) -> list[MountStep]:
    """Give the mounts of a RUN that are slots: those that show a build context."""
    step = node.step
    mounts = step.mounts if isinstance(step, RunStep) else ()
    return [
        one for one in mounts if one.type == "bind" and one.input is not None and node.inputs[one.input].node is None
    ]


def slots_of_mounts(task: Task) -> list[Slot]:
    """Give the slots of a RUN's mounts as they would be now."""
    mounts = observed_mounts(task.node)
    if not mounts:
        return []
    from buildah_py.engine.ops.run_mounts import planned_bind

    return [planned_bind(task, mount) for mount in mounts]


def slots_of(worker: Worker, on: Result) -> list[Slot]:
    """Give the slots of a file system. Their layers are fetched where they are not here."""
    worker.store.need([on.layers[place] for place in on.slots])
    inventories = worker.store.layers.inventories
    return [Slot(inventories.get(on.layers[place]), on.stamps[place]) for place in on.slots]


class AskedObservations:
    """Answer to whether a RUN has done the same before: `same`, or `unlike`: what it would be told otherwise.

    `slots` gives those below it, `allows` says whether a record may be used.
    """

    def __init__(
        self, cache: Cache, key: str, slots: Callable[[], Sequence[Slot]], allows: Callable[[Record], bool]
    ) -> None:
        self.same: SameRecord | None = None
        self.unlike = ""
        below: Sequence[Slot] = ()
        for other, data in cache.observed(key):
            try:
                observation = unpack(data)
            except CacheError as error:
                debug.log("%s: %s", other, error.message)
                continue
            below = below or slots()
            unlike = observation.unlike(below)
            if unlike is None:
                record = cache.lookup(other)
                if record is not None and allows(record):
                    files = sum(slot.inventory.files for slot in below)
                    text = f"nothing it read has changed: {observation.read:,} of {files:,} files"
                    self.same = SameRecord(record, data, text)
                    return
            elif not self.unlike:
                self.unlike = unlike.text + (f", and {unlike.number - 1} more" if unlike.number > 1 else "")
