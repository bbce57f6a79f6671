"""Progress as lines that never change: for logs, pipes and people who scroll. Nothing is clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.progress import events
from buildah_py.progress.renderer import Renderer
from buildah_py.progress.text import Lines, clean, label

if TYPE_CHECKING:
    from buildah_py.progress.events import CacheRead, CacheSent, Event, StepDone, StepOutput

_WORTH_A_WORD = 0.1
"""Seconds of CPU time."""


class PlainText(Renderer):
    """Each line begins with its step's number, output also with the seconds since the step began.

    Control sequences are left out, colours too unless `colour`.
    """

    colour = False
    _started: dict[int, float]
    _lines: dict[tuple[int, int], Lines]

    def _begin(self) -> None:
        self._started, self._lines = {}, {}

    def _show(self, event: Event) -> None:
        text = self._text(event)
        if text:
            self._err.write(text)
            self._err.flush()

    def _text(self, event: Event) -> str:
        match event:
            case events.StepOutput():
                return self._output(event)
            case events.BuildStarted():
                self._begin()
                return ""
            case events.StepStarted():
                self._started[event.id] = self._clock()
                return f"\n#{event.id} {label(event)}\n"
            case events.StepDone():
                return self._done(event)
            case events.Note():
                return self._remark(event.id, "note", event.text)
            case events.Warning():
                return self._remark(event.id, "warning", event.text)
            case events.CacheRead() | events.CacheSent():
                return self._remark(0, "cache", shared(event))
            case events.BuildDone():
                return "\n" + summary(event) + "\n"
            case events.BuildFailed():
                return ""

    def _output(self, event: StepOutput) -> str:
        lines = self._lines.get((event.id, event.stream))
        if lines is None:
            lines = self._lines[event.id, event.stream] = Lines()
        return self._prefixed(event.id, lines.feed(event.data))

    def _prefixed(self, step: int, lines: list[str]) -> str:
        prefix = f"#{step} {self._clock() - self._started[step]:.3f} "
        return "".join(f"{prefix}{clean(line, colour=self.colour)}".rstrip() + "\n" for line in lines)

    def _done(self, event: StepDone) -> str:
        last = "".join(
            self._prefixed(event.id, self._lines.pop((event.id, stream)).flush())
            for stream in (events.STDOUT, events.STDERR)
            if (event.id, stream) in self._lines
        )
        self._started.pop(event.id, None)
        return f"{last}#{event.id} {outcome(event)}\n"

    def _remark(self, step: int, kind: str, text: str) -> str:
        prefix = f"#{step} {kind}" if step else kind
        return "".join(f"{prefix}: {clean(line, colour=False)}\n" for line in text.splitlines())


def usage(event: StepDone) -> str:
    """Say what a command used, where that is worth a word."""
    if event.cpu < _WORTH_A_WORD:
        return ""
    return f" ({event.cpu:.1f}s CPU, {event.memory / 1e6:.0f} MB)"


def outcome(event: StepDone) -> str:
    """How a step ended, in a few words."""
    reason = clean(" ".join(event.reason.split()), colour=False)
    if event.outcome == events.FAILED:
        return f"ERROR: {reason}" if reason else "ERROR"
    if event.source:
        reason = f"from {clean(event.source, colour=False)}{f': {reason}' if reason else ''}"
    head = {events.HIT: "HIT", events.CANCELLED: "CANCELLED"}.get(
        event.outcome
    ) or f"RUN {event.seconds:.1f}s{usage(event)}"
    return f"{head} ({reason})" if reason else head


def shared(event: CacheRead | CacheSent) -> str:
    """Return a line that tells what was read from a shared cache or sent to it."""
    if isinstance(event, events.CacheRead):
        read = f"read {event.records} bytes of records and {event.layers} of layers"
        return f"{event.cache}: {event.hits} from there, {read}"
    return f"{event.cache}: sent {event.blobs} blobs, {event.bytes} bytes; {event.known} were there"


def summary(event: events.BuildDone) -> str:
    """Return a line that tells what a build led to."""
    names = f" as {', '.join(event.names)}" if event.names else ""
    return f"built {event.image}{names} in {event.seconds:.1f}s: {event.hits} from the cache, {event.ran} executed"
