"""Progress for programs: one JSON object a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildah_py.progress import events
from buildah_py.progress.renderer import Renderer

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

    from buildah_py.progress.events import Event

_NAMES = {
    events.BuildStarted: "build-started",
    events.StepStarted: "step-started",
    events.StepOutput: "step-output",
    events.StepDone: "step-done",
    events.Note: "note",
    events.Warning: "warning",
    events.CacheRead: "cache-read",
    events.CacheSent: "cache-sent",
    events.BuildDone: "build-done",
    events.BuildFailed: "build-failed",
}
_STREAMS = {events.STDOUT: "stdout", events.STDERR: "stderr"}


class JsonLines(Renderer):
    r"""Each object holds `event`, `time` (seconds since the build began) and the event's own properties.

    Output is `text`, in the pieces in which it came, but never cut within a character; bytes that are not UTF-8 are
    written as `\xff`.
    """

    _start: float
    _decoders: dict[tuple[int, int], IncrementalDecoder]

    def _begin(self) -> None:
        self._start, self._decoders = self._clock(), {}

    def _show(self, event: Event) -> None:
        if isinstance(event, events.BuildStarted):
            self._begin()
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

        line = {"event": name, "time": round(self._clock() - self._start, 6), **properties}
        # Where GitHub's runner reads it, `##[` would begin a command wherever it stands.
        self._err.write(json.dumps(line).replace("##[", "##\\u005b") + "\n")
        self._err.flush()
