"""Observation of a container: what the sandbox is told to note, and what was learned."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.cache.observations import EXISTS, READ, TIMED, Observation, Slot, have_attributes, observe, unpack
from buildah_py.engine.observing import slots_of
from buildah_py.errors import CacheError
from buildah_py.layers.entry import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.engine.ops.op import Task
    from buildah_py.layers.inventory import Captured
    from buildah_py.sandbox import ContainerSpec
    from buildah_py.sandbox.spec import ObservedLayers, ShownLayer
    from buildah_py.store.lowers import Shown

_TELLING = frozenset(("ALL", "SYS_ADMIN", "DAC_READ_SEARCH", "SYS_PTRACE", "SYS_RAWIO", "BPF"))
"""Capabilities with which a command may learn of files by other ways than their names."""
_REQUEST = 25e-6
"""Seconds that a request to the observing file system takes, as measured: benchmarks/RESULTS.md."""
_LEAST = 0.06
_SHARE = 0.02
_UNKNOWN = 10.0
"""Seconds that a step is taken to last of which nothing is known."""


class Observing:
    """Observation of one container of a step: what the sandbox is told, and what came of it.

    `staged` is a directory of the step's own, `key` its plain key.
    """

    def __init__(self, task: Task, staged: str, key: str) -> None:
        self._task = task
        self._key = key
        self._place = os.path.join(staged, "observed")
        self._mounts: list[tuple[str, str, Slot]] = []
        self._seen: list[int | None] = []
        self._report = -1
        self._data = b""
        self._known: Observation | None = None

    def add_mount(self, target: str, directory: str, slot: Slot) -> None:
        """Have a mount observed that shows a copy of a context, which lies in a directory."""
        self._mounts.append((target, directory, slot))

    def of(self, spec: ContainerSpec, shown: Sequence[Shown]) -> ObservedLayers | None:
        """Say what is observed of a container on layers that are shown so; None where that would not be whole."""
        from buildah_py.sandbox.spec import ObservedLayers, ShownLayer

        added = {name.upper().removeprefix("CAP_") for name in spec.cap_add}
        if spec.isolation not in {"container", "full"} or spec.uid_map or added & _TELLING or spec.seccomp != "default":
            return None
        if any(one.place < 0 for one in shown):
            return None
        places = self._task.parent.slots
        slots_here = zip(places, slots_of(self._task.worker, self._task.parent), strict=True)
        observable = {place for place, slot in slots_here if slot.inventory.is_plain}
        lowers: list[str | int] = []
        slots: list[ShownLayer] = []
        numbers: dict[int, int] = {}
        for one in shown:
            if one.place in observable:
                numbers[one.place] = len(slots)
                lowers.append(len(slots))
                slots.append(ShownLayer(one.directories, one.gone))
            else:
                lowers += one.directories
        self._seen = [numbers.get(place) for place in places]
        mounts: list[tuple[str, int]] = []
        for target, directory, slot in self._mounts:
            plain = slot.inventory.is_plain
            self._seen.append(len(slots) if plain else None)
            if plain:
                mounts.append((target, len(slots)))
                slots.append(ShownLayer((directory,)))
        most = self._most()
        if not slots or most is None:
            return None
        os.mkdir(self._place)
        self._report = os.memfd_create("observed", os.MFD_CLOEXEC)
        kept = tuple(dict.fromkeys(lowers))
        attributes = have_attributes(self._slots())
        return ObservedLayers(kept, tuple(slots), self._place, self._report, tuple(mounts), most, attributes)

    def _most(self) -> int | None:
        """Say how many requests may be answered: as many as take 60 ms or 2 % of the time that the step took last.

        0 stands for any number, None for a step that asks for more.
        """
        if self._task.worker.observe == "on":
            return 0
        cache = self._task.worker.cache
        key, data = next(iter(cache.observed(self._key)), ("", b""))
        known = cache.known(key) if key else None
        most = round(max(_LEAST, _SHARE * (known[0].seconds if known is not None else _UNKNOWN)) / _REQUEST)
        try:
            learned = unpack(data) if data else None
        except CacheError:  # as good as none
            return most
        if learned is not None and learned.requests > most:
            self._known = learned  # and it stays so
            return None
        return most

    def result(self, captured: Captured) -> Observation | None:
        """Give what was learned, for a layer that came of it; None where that is not known."""
        if not self._data:
            return self._known
        from buildah_py.sandbox import wire

        learned = wire.unpack(self._data)
        if isinstance(learned, int):
            return Observation((), learned)
        seen = [_texts(flags) for flags in learned]
        below, slots = slots_of(self._task.worker, self._task.parent), self._slots()
        found = [None if number is None else seen[number] for number in self._seen]
        _add_compared(below, found[: len(below)], captured)
        return observe(slots, found)

    def _slots(self) -> list[Slot]:
        return [*slots_of(self._task.worker, self._task.parent), *(slot for _, _, slot in self._mounts)]

    def close(self) -> None:
        """Take the report of a container that is gone."""
        if self._report != -1:
            with open(self._report, "rb") as file:
                self._report = -1
                file.seek(0)
                self._data = file.read()


def _texts(flags: Mapping[bytes, int]) -> dict[str, int]:
    return {path.decode("utf-8", "surrogateescape"): known for path, known in flags.items()}


def _add_compared(slots: Sequence[Slot], seen: Sequence[dict[str, int] | None], captured: Captured) -> None:
    """Count as read what was found to be as before, times too, and left out of the layer: the command may have made it.

    It need not have read what it wrote again.
    """
    for path in captured.unneeded:
        for slot, flags in zip(slots, seen, strict=True):
            if flags is not None and flags.get(path, 0) & EXISTS:
                entry = slot.inventory.get(path)
                flags[path] |= TIMED | (READ if entry is not None and entry.kind == FILE else 0)
