"""Progress as lines that never change: for logs, pipes and people who scroll. Nothing is clipped."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from buildah_py import meter
from buildah_py.progress import events
from buildah_py.progress.renderer import Ticking
from buildah_py.progress.text import Lines, clean, label, prefixed

if TYPE_CHECKING:
    from buildah_py.progress.events import CacheRead, CacheSent, Event, StepDone, StepOutput, StepStarted
    from buildah_py.progress.folding import Folding
    from buildah_py.progress.transfers import Transfers

_WORTH_A_WORD = 0.1
"""Seconds of CPU time."""

WORDS = {
    events.HIT: "CACHED",
    events.RAN: "DONE",
    events.FAILED: "FAILED",
    events.CANCELLED: "CANCELLED",
}
"""How outcomes are called on screens and in logs."""


class PlainText(Ticking):
    """Each line begins with its step's number, output also with the seconds since the step began.

    A step that says nothing, and a transfer, get a line every `silence` seconds. Control sequences are left out,
    colours too unless `colour`. With `folding` the lines of a step are a section that can be folded.
    """

    colour = False
    silence = 10.0
    folding: Folding | None = None
    _started: dict[int, float]
    _said: dict[int, float]
    _lines: dict[tuple[int, int], Lines]
    _labels: dict[int, str]
    _reasons: Reasons
    _transfers: Transfers | None

    def _begin(self) -> None:
        self._started, self._said, self._lines, self._labels = {}, {}, {}, {}
        self._reasons = Reasons()
        self._transfers = None

    def _show(self, event: Event) -> None:
        if isinstance(event, events.StepDone) and (last := self._last_lines(event.id)):
            if self.folding is not None:
                self.folding.enter(event.id, self._labels[event.id])
            self._print(last)
        text = self._text(event)
        if self.folding is not None and (text or isinstance(event, events.BuildFailed)):
            if isinstance(event, events.StepOutput):
                self.folding.enter(event.id, self._labels[event.id])
            else:
                self.folding.leave()
        self._print(text)

    def _print(self, text: str) -> None:
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
                return self._begun(event)
            case events.StepDone():
                return self._done(event)
            case meter.Moved():
                return self._transfer(event)
            case events.Note():
                return self._remark(event.id, "note", event.text)
            case events.Warning():
                return self._remark(event.id, "warning", event.text)
            case events.CacheRead() | events.CacheSent():
                return self._remark(0, "cache", shared(event))
            case events.BuildDone():
                return "\n" + summary(event) + "\n"
            case _:
                return ""

    def _begun(self, event: StepStarted) -> str:
        if threading.current_thread() is not threading.main_thread():  # where it is executed, not looked up
            self._tick_from_now_on()
        self._started[event.id] = self._said[event.id] = self._clock()
        self._labels[event.id] = title = label(event)
        return f"\n#{event.id} {title}\n"

    def _output(self, event: StepOutput) -> str:
        lines = self._lines.get((event.id, event.stream))
        if lines is None:
            lines = self._lines[event.id, event.stream] = Lines()
        return self._prefixed(event.id, lines.text(event.data))

    def _prefixed(self, step: int, lines: str) -> str:
        if not lines:
            return ""
        now = self._clock()
        self._said[step] = now
        return prefixed(f"#{step} {now - self._started[step]:.3f} ", lines, colour=self.colour)

    def _last_lines(self, step: int) -> str:
        """Return what a step has written without a line's end."""
        return "".join(
            self._prefixed(step, "".join(f"{line}\n" for line in self._lines.pop((step, stream)).flush()))
            for stream in (events.STDOUT, events.STDERR)
            if (step, stream) in self._lines
        )

    def _done(self, event: StepDone) -> str:
        for known in (self._started, self._said, self._labels):
            known.pop(event.id, None)
        if self._transfers is not None:
            self._transfers.end(event.id)
        return f"#{event.id} {outcome(self._reasons.told_once(event))}\n"

    def _remark(self, step: int, kind: str, text: str) -> str:
        prefix = f"#{step} {kind}" if step else kind
        return "".join(f"{prefix}: {clean(line, colour=False)}\n" for line in text.splitlines())

    # What shows that something is going on where nothing else does.

    def _transfer(self, event: meter.Moved) -> str:
        from buildah_py.progress.transfers import Transfers, result

        self._tick_from_now_on()
        if self._transfers is None:
            self._transfers = Transfers()
        moving = self._transfers.follow(event, self._clock())
        if event.ended and event.apart and event.id in self._started:
            self._started[event.id] += event.seconds
        if not event.ended or event.seconds < 1:
            return ""
        told = ", ".join(filter(None, [result(event), f"{event.seconds:.1f}s"]))
        return self._sign(event.id, f"{clean(moving.event.what, colour=False)}: {told}", self._clock())

    def _tick(self) -> None:
        text = self._signs(self._clock())
        if text and self.folding is not None:
            self.folding.leave()
        self._print(text)

    def _signs(self, now: float) -> str:
        """Return the lines that are due."""
        from buildah_py.progress.text import seconds_text
        from buildah_py.progress.transfers import sentence

        found = []
        for moving in self._transfers or ():
            if now - moving.said >= self.silence:
                moving.said = now
                found.append(self._sign(moving.event.id, sentence(moving, now), now))
        for step, said in list(self._said.items()):
            if now - said >= self.silence and not (self._transfers and self._transfers.of(step)):
                found.append(self._sign(step, f"running for {seconds_text(now - self._started[step])}", now))
        return "".join(found)

    def _sign(self, step: int, text: str, now: float) -> str:
        if step in self._said:
            self._said[step] = now
        return f"#{step} {text}\n" if step else f"{text}\n"

    def _finish(self) -> None:
        if self.folding is not None:
            self.folding.leave()


class Reasons:
    """Reasons that were said already: that a build is the first is said once."""

    def __init__(self) -> None:
        self._first_was_told = False

    def told_once(self, event: StepDone) -> StepDone:
        """Return the event without a reason that goes without saying by now."""
        if event.reason != events.FIRST_BUILD:
            return event
        told, self._first_was_told = self._first_was_told, True
        return event._replace(reason="") if told else event


def usage(event: StepDone) -> str:
    """Say what a command used, where that is worth a word."""
    if event.cpu < _WORTH_A_WORD:
        return ""
    return f" ({event.cpu:.1f}s CPU, {event.memory / 1e6:.0f} MB)"


def why(event: StepDone) -> str:
    """Say why a step was executed, or what failed, and which cache a hit came from."""
    reason = clean(" ".join(event.reason.split()), colour=False)
    if event.source:
        return f"from {clean(event.source, colour=False)}{f': {reason}' if reason else ''}"
    return reason


def outcome(event: StepDone) -> str:
    """How a step ended, in a few words."""
    word, reason = WORDS[event.outcome], why(event)
    if event.outcome == events.FAILED:
        return f"{word}: {reason}" if reason else word
    if event.outcome == events.RAN:
        word = f"{word} {event.seconds:.1f}s{usage(event)}"
    return f"{word} ({reason})" if reason else word


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
