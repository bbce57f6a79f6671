"""Sections that a CI's page folds: GitHub's groups, GitLab's sections. One is open at a time, as both want it.

Output of steps cannot begin or end one: it reaches the log without control characters, which GitLab's have, and as
lines that GitHub's runner does not obey (`text.without_command`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from buildah_py.progress.text import is_read_for_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO


class Folding:
    """Opens a section for each step that is printed, and closes it before anything else is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._step = 0

    def enter(self, step: int, title: str) -> None:
        """Have what follows belong to a step."""
        if step != self._step:
            self.leave()
            self._step = step
            self._stream.write(self._begin(step, title))

    def leave(self) -> None:
        """Have what follows belong to none."""
        if self._step:
            step, self._step = self._step, 0
            self._stream.write(self._end(step))

    def _begin(self, step: int, title: str) -> str:
        raise NotImplementedError

    def _end(self, step: int) -> str:
        raise NotImplementedError


class Groups(Folding):
    """GitHub's: workflow commands `group` and `endgroup`."""

    def _begin(self, step: int, title: str) -> str:
        return f"::group::#{step} {title}".replace("%", "%25") + "\n"

    def _end(self, step: int) -> str:  # noqa: ARG002
        return "::endgroup::\n"


class Sections(Folding):
    """GitLab's: lines with the time and a name that no other section of the job has."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.time) -> None:
        super().__init__(stream)
        self._clock = clock
        self._count = 0

    def _begin(self, step: int, title: str) -> str:
        self._count += 1
        return f"\x1b[0Ksection_start:{self._now()}:{self._name(step)}\r\x1b[0K#{step} {title}\n"

    def _end(self, step: int) -> str:
        return f"\x1b[0Ksection_end:{self._now()}:{self._name(step)}\r\x1b[0K"

    def _name(self, step: int) -> str:
        return f"pybuild_{step}_{self._count}"

    def _now(self) -> int:
        return int(self._clock())


def folding(stream: TextIO, env: Mapping[str, str]) -> Folding | None:
    """Make what folds where GitHub or GitLab shows the log, None elsewhere."""
    if is_read_for_commands(env):
        return Groups(stream)
    if env.get("GITLAB_CI", "") not in ("", "false"):
        return Sections(stream)
    return None
