"""Durations of steps: as earlier builds had them, or as steps of their kind take; and what follows for a graph.

A step is known by its stage and text, so that it outlives changes of what the step reads.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import NotFound, UsageError
from buildah_py.plan.steps import BaseStep, CaptureStep, CopyStep, WorkdirStep
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from buildah_py.history.builds import PastBuild
    from buildah_py.plan import Node

HISTORY: Final = "history"
"""Word of `--durations` for the builds that this machine remembers."""
_RUN: Final = 20.0
_CAPTURE: Final = 2.0
_COPY: Final = 1.0
_FETCH: Final = 5.0
_IMAGE: Final = 5.0
_WORKDIR: Final = 0.1
_MOST: Final = 64 << 20


class KnownStep(NamedTuple):
    """A step of an earlier build, by its stage and its text, and the seconds that its execution took."""

    stage: str
    text: str
    seconds: float


class Durations:
    """Seconds of steps. Of steps with one stage and text the first that is `known` counts."""

    def __init__(self, known: Iterable[KnownStep] = ()) -> None:
        self._exact: dict[tuple[str, str], float] = {}
        self._texts: dict[str, float] = {}
        for one in known:
            self._exact.setdefault((one.stage, one.text), one.seconds)
            self._texts.setdefault(one.text, one.seconds)

    def of(self, node: Node) -> float:
        """Return the seconds that a step is expected to take where it has to be executed."""
        known = self._exact.get((node.label, node.shown))
        if known is None:
            known = self._texts.get(node.shown)
        return estimate(node) if known is None else known

    def known(self, nodes: Iterable[Node]) -> list[KnownStep]:
        """Return what is known of nodes: all that plans for them need to be the same elsewhere."""
        found = {}
        for node in nodes:
            if (node.label, node.shown) in self._exact or node.shown in self._texts:
                found[node.label, node.shown] = KnownStep(node.label, node.shown, self.of(node))
        return [found[name] for name in sorted(found)]


def estimate(node: Node) -> float:
    """Return the seconds that are reckoned with for a step of which nothing is known."""
    step = node.step
    if isinstance(step, BaseStep):
        return _IMAGE if step.name not in ("", "scratch") else 0.0
    if isinstance(step, CopyStep):
        return _FETCH if step.add and any("://" in source for source in step.sources) else _COPY
    if isinstance(step, WorkdirStep):
        return _WORKDIR
    return _CAPTURE if isinstance(step, CaptureStep) else _RUN


def from_history(builds: Iterable[PastBuild]) -> list[KnownStep]:
    """Take what builds remember of steps that they have executed; `builds` come with the latest first."""
    return [
        KnownStep(step.stage, step.text, round(step.seconds, 3))
        for build in builds
        for step in build.steps
        if step.outcome == events.RAN
    ]


def read_durations(path: str) -> list[KnownStep]:
    """Read a file as `--shard-plan` prints it. Raises NotFound, UsageError."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST)
    except OSError as error:
        raise NotFound(f"--durations {path}: it cannot be read: {error.strerror}") from error
    try:
        return [_known(one) for one in json.loads(data)["durations"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        said = str(error) if isinstance(error, ValueError) else "it has no list `durations`"
        hint = "write it with `pybuild bake --shard-plan M --durations history >FILE`"
        raise UsageError(f"--durations {path} is not a file of durations: {said}", hint=hint) from error


def _known(raw: Mapping[str, Any]) -> KnownStep:
    seconds = raw["seconds"]
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        raise ValueError(f"a step takes {seconds!r} seconds")
    return KnownStep(str(raw["stage"]), str(raw["text"]), float(seconds))


class Graph(NamedTuple):
    """Steps as numbers: what each needs, all before it, and the seconds that it takes."""

    needs: Sequence[Collection[int]]
    seconds: Sequence[float]

    @classmethod
    def of(cls, nodes: Sequence[Node], durations: Durations) -> Graph:
        """Take the nodes of a plan."""
        return cls([node.needs for node in nodes], [durations.of(node) for node in nodes])

    def before(self) -> list[float]:
        """Return for each step the seconds of the longest way to its end: it cannot be done earlier."""
        found: list[float] = []
        for needs, seconds in zip(self.needs, self.seconds, strict=True):
            found.append(seconds + max((found[one] for one in needs), default=0.0))
        return found

    def behind(self) -> list[float]:
        """Return for each step the seconds of the longest way from its beginning to an end."""
        found = list(self.seconds)
        for index in reversed(range(len(self.needs))):
            for one in self.needs[index]:
                found[one] = max(found[one], self.seconds[one] + found[index])
        return found

    def closure(self, ends: Iterable[int]) -> frozenset[int]:
        """Return the steps that some steps need, with these."""
        found = set(ends)
        for index in reversed(range(max(found, default=-1) + 1)):
            if index in found:
                found.update(self.needs[index])
        return frozenset(found)


class Urgency:
    """Seconds that lie behind the steps of a plan, as far as builds of the store at `root` know what these take.

    What is urgent is asked only where something is executed: builds are not read before.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._nodes: Sequence[Node] = ()
        self._behind: list[float] | None = None
        self._lock = threading.Lock()

    def begin(self, nodes: Sequence[Node]) -> None:
        """Hear of the nodes of a plan."""
        with self._lock:
            self._nodes, self._behind = nodes, None

    def of(self, index: int) -> float:
        """Return the seconds from the beginning of a node to the end of the longest way behind it."""
        with self._lock:
            if self._behind is None:
                from buildah_py.history.builds import builds

                self._behind = Graph.of(self._nodes, Durations(from_history(builds(self._root)))).behind()
            return self._behind[index]
