"""Record of a build in the store's history: heard of its events, and written beside the output of its steps.

docs/reports.md describes the file. Whatever stands in its way is logged: it never fails a build.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from buildah_py import debug
from buildah_py.errors import Interrupted, StoreError
from buildah_py.history.files import build_id, put
from buildah_py.meter import Moved
from buildah_py.plan.steps import BaseStep
from buildah_py.progress import events
from buildah_py.sources.urls import redact
from buildah_py.store.names import familiar_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.cache import Record
    from buildah_py.plan import Node
    from buildah_py.progress.events import Event
    from buildah_py.store import Store

_LOOKED: Final = "\x01looked"
_SECONDS: Final = "\x01seconds"
_FORMAT: Final = "pybuild build"  # read by history/builds.py, with the names below
_VERSION: Final = 1
_MOST_STEPS: Final = 2000
_MOST_LINES: Final = 100  # warnings and notes
_MOST_TRANSFERS: Final = 500
_MOST_TEXT: Final = 4000


_KINDS: Final = {
    "BaseStep": "from",
    "RunStep": "run",
    "CaptureStep": "capture",
    "CopyStep": "copy",
    "WorkdirStep": "workdir",
}


class BuildSource(NamedTuple):
    """Store that was built in, the file that describes the build, and the context that it had, where that lasts."""

    store: Store
    file: str
    context: str | None


class BuildHistory:
    """Sink of a build's events, which passes them on to `emit`.

    `nodes` are those of its plan, once there is one, `told` what a build of hits has to tell, and `transfers` what
    moved bytes. `is_plain` says that there was nothing else, and all hits were of the store.
    """

    def __init__(self, target: str, platform: str, emit: Callable[[Event], None]) -> None:
        self.nodes: Sequence[Node] = ()
        self.told: list[events.StepStarted | events.StepDone | events.Warning | events.Note] = []
        self.is_plain = True
        self._target, self._platform = target, platform
        self._emit = emit
        self._created = time.time()
        self._began = time.monotonic()
        self._steps: dict[int, tuple[float, float, events.StepDone | None]] = {}
        self._phases: list[tuple[str, float]] = [("prepare", 0.0)]
        self._warnings: list[tuple[int, str]] = []
        self._notes: list[tuple[float, int, str]] = []
        self._caches: list[dict[str, Any]] = []
        self.transfers: dict[tuple[int, str], dict[str, Any]] = {}

    def __call__(self, event: Event) -> None:
        """Hear of an event, and pass it on."""
        if isinstance(event, events.StepDone):
            end = self._now()
            start = min(end - event.seconds, self._steps.get(event.id, (end,))[0])
            self._steps[event.id] = max(0.0, start), end, event
            self.told.append(event)
            self.is_plain &= (event.outcome, event.reason, event.source) == (events.HIT, "", "")
        elif isinstance(event, events.StepStarted):
            self._steps[event.id] = self._now(), 0.0, None
            self.told.append(event)
        elif isinstance(event, events.Warning):
            self.told.append(event)
            if len(self._warnings) < _MOST_LINES:
                self._warnings.append((event.id, _bounded(event.text)))
        elif isinstance(event, events.Note):
            if event.text == events.IN_ENGINE:
                self.told.append(event)
            else:
                self.is_plain = False
            if len(self._notes) < _MOST_LINES:
                self._notes.append((self._now(), event.id, _bounded(event.text)))
        elif isinstance(event, events.BuildStarted):
            self.begin("steps")
        elif isinstance(event, events.CacheRead | events.CacheSent):
            self.is_plain = False
            self._caches.append({**event._asdict(), "cache": redact(event.cache)})
        elif isinstance(event, Moved):
            self._heard(event)
        self._emit(event)

    def _heard(self, event: Moved) -> None:
        """Take note of how far a transfer is: `what` of step `id` has taken `seconds` for `done` of the `unit`."""
        key = event.id, event.what
        if key in self.transfers or len(self.transfers) < _MOST_TRANSFERS:
            end = self._now()
            start = round(max(0.0, end - event.seconds), 4)
            self.transfers[key] = {
                "step": event.id,
                "what": _bounded(event.what),
                "start": start,
                "end": round(end, 4),
                "done": event.done,
                "unit": event.unit,
            }

    def begin(self, phase: str) -> None:
        """Count the time from now on as that phase's."""
        self._phases.append((phase, self._now()))

    def write(
        self,
        source: BuildSource,
        records: Mapping[int, Record],
        image: str,
        names: Iterable[str],
        error: BaseException | None = None,
    ) -> str:
        """Write the record; its path, "" where that cannot be done. `error` is what the build failed of."""
        store = source.store
        try:
            return put(store.root, store.lease.name, json.dumps(self._described(source, records, image, names, error)))
        except (OSError, StoreError) as fault:
            debug.log("the record of the build cannot be written: %s", fault)
            return ""

    def pieces(self, source: BuildSource, records: Mapping[int, Record], image: str, names: Iterable[str]) -> list[str]:
        """Give the record that `write` writes in pieces: each second one names a value of another such build.

        These are its `id`, when it was `created`, the `seconds` that it took, and after how many all was `looked` at.
        """
        record = self._described(source, records, image, names, None)
        steps = [
            {**step, "start": _LOOKED, "end": _LOOKED} for step in cast("list[dict[str, object]]", record["steps"])
        ]
        record |= {
            "id": "\x01id",
            "created": "\x01created",
            "seconds": _SECONDS,
            "steps": steps,
            "phases": [
                {"name": "prepare", "start": 0.0, "end": _LOOKED},
                {"name": "steps", "start": _LOOKED, "end": _SECONDS},
            ],
            "transfers": [],
        }
        import re

        return re.split(r'"\\u0001(\w+)"', json.dumps(record))  # no text of a build is that alone

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _described(
        self,
        source: BuildSource,
        records: Mapping[int, Record],
        image: str,
        names: Iterable[str],
        error: BaseException | None,
    ) -> dict[str, object]:
        seconds = self._now()
        stopped = isinstance(error, Interrupted) or (error is not None and not isinstance(error, Exception))
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "id": build_id(source.store.lease.name),
            "created": round(self._created, 3),
            "seconds": round(seconds, 4),
            "outcome": "done" if error is None else events.CANCELLED if stopped else events.FAILED,
            "error": "" if error is None else _bounded(str(error)),
            "file": redact(source.file),
            "context": redact(source.context or ""),
            "target": self._target,
            "platform": self._platform,
            "names": [familiar_name(name) for name in names],
            "image": image,
            "steps": list(self._described_steps(source.store, records)),
            "phases": [
                {"name": name, "start": round(start, 4), "end": round(end, 4)}
                for (name, start), end in zip(
                    self._phases, [*(start for _, start in self._phases[1:]), seconds], strict=True
                )
            ],
            "caches": self._caches,
            "transfers": list(self.transfers.values()),
            "warnings": [{"step": step, "text": text} for step, text in self._warnings],
            "notes": [{"at": round(at, 4), "step": step, "text": text} for at, step, text in self._notes],
        }

    def _described_steps(self, store: Store, records: Mapping[int, Record]) -> Iterable[dict[str, object]]:
        layers: dict[int, tuple[str, ...]] = {index: (record.diff_id,) for index, record in records.items()}
        totals: dict[str, int] = {}
        for node in self.nodes:
            totals[node.label] = max(totals.get(node.label, 0), node.number)
            if isinstance(node.step, BaseStep):
                layers[node.index] = node.step.diff_ids
        sizes = store.layers.several([one for some in layers.values() for one in some])
        for node in self.nodes[:_MOST_STEPS]:
            start, end, done = self._steps.get(node.index + 1, (0.0, 0.0, None))
            own = layers.get(node.index, ())
            described: dict[str, object] = {
                "id": node.index + 1,
                "stage": node.label,
                "number": node.number,
                "total": totals[node.label],
                "text": _bounded(node.text),
                "line": int(line) if (line := node.place.rpartition(":")[2]).isdecimal() else 0,
                "kind": _KINDS[type(node.step).__name__],
                "depends": [index + 1 for index in node.needs],
                "outcome": done.outcome if done else "",
                "start": round(start, 4),
                "end": round(end, 4),
                "bytes": sum(sizes[one].size for one in own if one in sizes),
                "layer": own[-1] if own else "",
            }
            if done is not None and (done.outcome != events.HIT or done.source or done.reason):
                described["reason"] = _bounded(done.reason)
                described["same"] = done.same
                described["source"] = redact(done.source)
                described["cpu"] = round(done.cpu, 3)
                described["memory"] = done.memory
            yield described


def _bounded(text: str) -> str:
    """Give a text without credentials in URLs, and not too long."""
    return redact(text[:_MOST_TEXT])
