"""Progress for programs: one JSON object a line, to the last. `docs/schema/progress.json` describes them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from buildah_py import meter
from buildah_py.progress import events
from buildah_py.progress.renderer import Renderer

if TYPE_CHECKING:
    from codecs import IncrementalDecoder
    from collections.abc import Callable
    from typing import TextIO

    from buildah_py.progress.events import Event

SCHEMA: Final = 1
"""Number of the form that these lines have; new properties and events do not change it."""

_NAMES = {
    events.BuildStarted: "build-started",
    events.StepStarted: "step-started",
    events.StepOutput: "step-output",
    events.StepDone: "step-done",
    meter.Moved: "transfer",
    events.Note: "note",
    events.Warning: "warning",
    events.CacheRead: "cache-read",
    events.CacheSent: "cache-sent",
    events.BuildDone: "build-done",
    events.BuildFailed: "build-failed",
    events.Error: "error",
}
_STREAMS = {events.STDOUT: "stdout", events.STDERR: "stderr"}


class JsonLines(Renderer):
    r"""Each object holds `event`, `schema`, `time`, `at` and the event's own properties.

    `time` are seconds since the build began, `at` those since 1970, `build` is the build's id once it has one. Output
    is `text`, in the pieces in which it came, but never cut within a character; bytes that are not UTF-8 are written as
    `\xff`.
    """

    _start: float
    _build: str
    _decoders: dict[tuple[int, int], IncrementalDecoder]

    def __init__(
        self,
        err: TextIO,
        out: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._wall_clock = wall_clock
        super().__init__(err, out, clock=clock)

    def _begin(self) -> None:
        self._start, self._decoders, self._build = self._clock(), {}, ""

    def _show(self, event: Event) -> None:
        if isinstance(event, events.BuildStarted):
            self._begin()
            self._build = event.build
        elif isinstance(event, events.StepOutput):
            text = self._decoder(event.id, event.stream).decode(event.data)
            if text:
                self._output(event.id, event.stream, text)
            return
        elif isinstance(event, events.StepDone):
            for stream in _STREAMS:
                decoder = self._decoders.pop((event.id, stream), None)
                rest = decoder.decode(b"", final=True) if decoder else ""
                if rest:
                    self._output(event.id, stream, rest)
        self._write(_NAMES[type(event)], event._asdict())

    def _decoder(self, step: int, stream: int) -> IncrementalDecoder:
        from codecs import getincrementaldecoder

        decoder = self._decoders.get((step, stream))
        if decoder is None:
            decoder = self._decoders[step, stream] = getincrementaldecoder("utf-8")("backslashreplace")
        return decoder

    def _output(self, step: int, stream: int, text: str) -> None:
        self._write("step-output", {"id": step, "stream": _STREAMS[stream], "text": text})

    def _write(self, name: str, properties: dict[str, Any]) -> None:
        import json

        line: dict[str, Any] = {
            "event": name,
            "schema": SCHEMA,
            "time": round(self._clock() - self._start, 6),
            "at": round(self._wall_clock(), 6),
        }
        if self._build:
            line["build"] = self._build
        # Where GitHub's runner reads it, `##[` would begin a command wherever it stands.
        self._err.write(json.dumps(line | properties).replace("##[", "##\\u005b") + "\n")
        self._err.flush()
