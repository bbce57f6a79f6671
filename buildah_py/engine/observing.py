"""Hits of a RUN whose key is new, because nothing that it learned of the files before it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py import debug
from buildah_py.cache import step_key
from buildah_py.cache.keys import digest_of
from buildah_py.cache.observations import Slot, unpack
from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Cache, Record
    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.plan.steps import RunStep


class SameRecord(NamedTuple):
    """A record that holds though its key is another: the observation, and in words what it had to say of how much."""

    record: Record
    observation: bytes
    text: str


def plain_key(worker: Worker, plain: str, step: RunStep, inputs: Mapping[str, str]) -> str:
    """Name a RUN by all but what the slots below it hold; "" where nothing is to be observed of it.

    `plain` is the chain digest of what is below without that.
    """
    if worker.observe == "off" or step.reads_state or step.security != "sandbox":
        return ""
    return digest_of(["observed", step_key(plain, step.canonical(), inputs)])


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
