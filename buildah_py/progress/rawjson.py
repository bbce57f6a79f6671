"""Progress in the lines that BuildKit's clients write and read: a SolveStatus a line, as buildx's `rawjson` has them.

The shape is that of `client.SolveStatus` in BuildKit's client package: vertexes, statuses, logs and warnings, with
bytes in base64. What ends a build is a line of its own, `ERROR: …`, as buildx prints it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from buildah_py import meter
from buildah_py.progress import events
from buildah_py.progress.renderer import Renderer
from buildah_py.progress.text import clean, label

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from buildah_py.progress.events import Event, StepDone, StepStarted

_OWN: Final = "[internal] pybuild"
"""The vertex of what belongs to no step."""
_IMAGE: Final = "exporting to image"
_SECOND: Final = 1_000_000_000


class SolveStatusLines(Renderer):
    """A vertex for each step, for what moves outside of steps, and for the image; notes are logs of a vertex too."""

    _build: int
    _vertexes: dict[int, dict[str, Any]]
    _others: dict[str, dict[str, Any]]
    _moving: dict[tuple[str, str], str]

    def __init__(
        self,
        err: TextIO,
        out: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._now = now
        self._build = 0
        super().__init__(err, out, clock=clock)

    def _begin(self) -> None:
        self._vertexes, self._others, self._moving = {}, {}, {}
        self._build += 1

    def _show(self, event: Event) -> None:
        match event:
            case events.BuildStarted():
                self._begin()
            case events.StepStarted():
                self._started(event)
            case events.StepOutput():
                self._log(self._vertexes[event.id]["digest"], event.stream, event.data)
            case events.StepDone():
                self._done(event)
            case meter.Moved():
                self._moved(event)
            case events.Note():
                self._log(self._place(event.id)["digest"], events.STDERR, event.text.encode() + b"\n")
            case events.Warning():
                warning = {"vertex": self._place(event.id)["digest"], "level": 1, "short": _bytes(event.text.encode())}
                self._write({"warnings": [warning]})
            case events.CacheRead() | events.CacheSent():
                from buildah_py.progress.plain import shared

                self._log(self._place(0)["digest"], events.STDERR, shared(event).encode() + b"\n")
            case events.BuildDone():
                self._image(event)
            case events.Error():
                text = event.message + (f"\n  hint: {event.hint}" if event.hint else "")
                lines = "\n".join(clean(line, colour=False) for line in text.split("\n"))
                self._err.write(f"ERROR: {lines}\n".encode("utf-8", "backslashreplace").decode())
                self._err.flush()

    def _started(self, event: StepStarted) -> None:
        vertex = {
            "digest": self._digest(str(event.id)),
            "inputs": [self._vertexes[one]["digest"] for one in event.depends if one in self._vertexes],
            "name": label(event),
            "started": self._time(),
        }
        self._vertexes[event.id] = vertex
        self._write({"vertexes": [vertex]})

    def _done(self, event: StepDone) -> None:
        vertex = self._vertexes[event.id]
        vertex["completed"] = self._time()
        if event.outcome == events.HIT:
            vertex["cached"] = True
        elif event.outcome == events.FAILED:
            vertex["error"] = event.reason or "failed"
        elif event.outcome == events.CANCELLED:
            vertex["error"] = "context canceled"  # how BuildKit says that it was another one's fault
        self._write({"vertexes": [vertex]})

    def _moved(self, event: meter.Moved) -> None:
        of_step = event.id in self._vertexes
        vertex = self._vertexes[event.id] if of_step else self._other(event.what)
        began = self._moving.setdefault((vertex["digest"], event.what), self._time(-event.seconds))
        status = {
            "id": event.what,
            "vertex": vertex["digest"],
            "name": event.what,
            "current": event.done,
            "timestamp": self._time(),
            "started": began,
        }
        if event.total:
            status["total"] = event.total
        if event.ended:
            status["completed"] = self._time()
            del self._moving[vertex["digest"], event.what]
        self._write({"statuses": [status]})
        if event.ended and not of_step:
            vertex["completed"] = self._time()
            self._write({"vertexes": [vertex]})

    def _image(self, event: events.BuildDone) -> None:
        """Say what was made, in the words by which readers find the image's id."""
        vertex = self._other(_IMAGE)
        for text in (f"writing image {event.image}", *(f"naming to {name}" for name in event.names)):
            moment = self._time()
            status = {"id": text, "vertex": vertex["digest"], "name": text, "current": 0, "timestamp": moment}
            self._write({"statuses": [{**status, "started": moment, "completed": moment}]})
        vertex["completed"] = self._time()
        self._write({"vertexes": [vertex]})

    def _place(self, step: int) -> dict[str, Any]:
        """Give the vertex of a step, or the one of what belongs to none."""
        if step in self._vertexes:
            return self._vertexes[step]
        known = self._others.get(_OWN)
        if known is None:
            known = self._other(_OWN)
            known["completed"] = known["started"]
            self._write({"vertexes": [known]})
        return known

    def _other(self, name: str) -> dict[str, Any]:
        vertex = self._others.get(name)
        if vertex is None:
            vertex = {"digest": self._digest(name), "name": name, "started": self._time()}
            self._others[name] = vertex
            self._write({"vertexes": [vertex]})
        return vertex

    def _log(self, vertex: str, stream: int, data: bytes) -> None:
        self._write({"logs": [{"vertex": vertex, "stream": stream, "data": _bytes(data), "timestamp": self._time()}]})

    def _digest(self, what: str) -> str:
        """Give a vertex its name: BuildKit's readers want a digest, which says nothing here of what a step makes."""
        import hashlib

        return f"sha256:{hashlib.sha256(f'{id(self)} {self._build} {what}'.encode()).hexdigest()}"

    def _time(self, seconds: float = 0.0) -> str:
        from buildah_py.image.timestamp import to_text

        return to_text(self._now() + int(seconds * _SECOND))

    def _write(self, status: dict[str, Any]) -> None:
        import json

        # Where GitHub's runner reads it, `##[` would begin a command wherever it stands.
        self._err.write(json.dumps(status).replace("##[", "##\\u005b") + "\n")
        self._err.flush()


def _bytes(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(data).decode("ascii")
