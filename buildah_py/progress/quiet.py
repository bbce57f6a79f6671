"""No progress: the image's id at the end, or the last output of what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.progress import events
from buildah_py.progress.renderer import Renderer
from buildah_py.progress.text import Lines, clean, label, last_words

if TYPE_CHECKING:
    from collections import deque

    from buildah_py.progress.events import Event, StepDone

LAST_LINES = 100


class Quiet(Renderer):
    """Prints one line on the standard output, when the build succeeded."""

    _labels: dict[int, str]
    _last: dict[int, deque[str]]
    _lines: dict[tuple[int, int], Lines]

    def _begin(self) -> None:
        self._labels, self._last, self._lines = {}, {}, {}

    def _show(self, event: Event) -> None:
        from collections import deque

        match event:
            case events.BuildStarted():
                self._begin()
            case events.StepStarted():
                self._labels[event.id] = label(event)
            case events.StepOutput():
                lines = self._lines.setdefault((event.id, event.stream), Lines())
                self._last.setdefault(event.id, deque(maxlen=LAST_LINES)).extend(lines.feed(event.data, LAST_LINES))
            case events.StepDone():
                self._done(event)
            case events.Warning():
                self._err.write(f"warning: {clean(event.text, colour=False)}\n")
            case events.BuildDone():
                self._out.write(event.image + "\n")
                self._out.flush()
            case _:
                pass

    def _done(self, event: StepDone) -> None:
        text = self._labels.pop(event.id, "")
        last = list(self._last.pop(event.id, ()))
        for stream in (events.STDOUT, events.STDERR):
            lines = self._lines.pop((event.id, stream), None)
            if lines:
                last += lines.flush()
        if event.outcome == events.FAILED:
            shown = last_words(text, [clean(line, colour=False) for line in last])
            self._err.write("".join(f"{line}\n" for line in shown))
            self._err.flush()
