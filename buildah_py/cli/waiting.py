"""How far a command is, shown on the standard error while it runs: by all commands that are not builds."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Self

from buildah_py import debug
from buildah_py.meter import Listening
from buildah_py.progress.text import Uncommanded, is_read_for_commands

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import TextIO

    from buildah_py.meter import Moved
    from buildah_py.progress.waiting import Bars, SparseLines


class Waiting:
    """Listens to what is measured while the context lasts, and shows what takes more than a second.

    On a terminal the standard error is one meanwhile that has bars out of the way of what is written there.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._listening = Listening(self._hear)
        self._stderr: TextIO = sys.stderr
        self._shown: Bars | SparseLines | None = None
        self._bars: Bars | None = None

    def __enter__(self) -> Self:
        self._listening.__enter__()
        self._has_bars = self._stderr.isatty() and self._env.get("TERM", "dumb") not in ("", "dumb")
        self._has_bars = self._has_bars and not debug.is_on()
        if self._has_bars:
            sys.stderr = _Aside(self._stderr, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.__exit__(kind, error, trace)
        if self._shown is not None:
            self._shown.close()
        sys.stderr = self._stderr

    def step_aside(self) -> None:
        """Have nothing stand where something is about to be written."""
        if self._bars is not None:
            self._bars.step_aside()

    def _hear(self, transfer: Moved) -> None:
        if self._shown is None:
            from buildah_py.progress.waiting import Bars, SparseLines

            if self._has_bars:
                self._shown = self._bars = Bars(self._stderr, self._stderr).__enter__()
            else:
                told: Any = Uncommanded(self._stderr) if is_read_for_commands(self._env) else self._stderr
                self._shown = SparseLines(told, told)
        self._shown(transfer)


class _Aside:
    """The standard error, with no bar in the way of what is written."""

    def __init__(self, stream: TextIO, waiting: Waiting) -> None:
        self._stream = stream
        self._waiting = waiting

    def write(self, text: str) -> int:
        self._waiting.step_aside()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def watched() -> Waiting:
    """Watch what this process does."""
    return Waiting(os.environ)
