"""Runs the nodes of a graph, several at once where that allows it; knows nothing of what they are.

Nodes are looked up in the calling thread first: a graph of which all is known already starts no thread.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from buildah_py.errors import Interrupted, PybuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_MOST_JOBS = 64


class Vertex(Protocol):
    """A node of the graph; `place` is what messages call it by."""

    @property
    def index(self) -> int:
        """Its number, and no other's."""

    @property
    def needs(self) -> Sequence[int]:
        """The nodes whose results it takes; in the graph they stand before it."""

    @property
    def place(self) -> str:
        """Where it comes from."""


V = TypeVar("V", bound=Vertex)
V_contra = TypeVar("V_contra", bound=Vertex, contravariant=True)
R = TypeVar("R")


class Runner(Protocol[V_contra, R]):
    """Does what the nodes stand for. `needed` are the results of the nodes that one needs, by their indices."""

    def look_up(self, node: V_contra, needed: Mapping[int, R]) -> R | None:
        """Give the result of a node if it is known; called in the thread that runs the graph."""

    def execute(self, node: V_contra, needed: Mapping[int, R]) -> R:
        """Give the result of a node that was not known, or that was not asked for; called in a thread of its own.

        Raises Postponed for one that is to be tried again later.
        """

    def expect(self, nodes: Sequence[V_contra]) -> None:
        """Prepare for nodes that are to be executed, none of which has begun; nobody waits for that."""

    def lost(self, error: Exception) -> Collection[int] | None:
        """Return the nodes whose results an error says are gone; None for an error that says nothing of the kind."""

    def forget(self, node: V_contra) -> None:
        """Take the result of a node for not there, if there is one: it is to be looked up or executed again."""

    def cancel(self) -> None:
        """Have whatever is being executed end soon, with whatever exception."""


class Postponed(Exception):
    """Raised by `execute` for a node that somebody else is doing, on another machine.

    `when` is given what to call once the node is worth another try; until then other nodes are executed.
    """

    def __init__(self, when: Callable[[Callable[[], object]], object]) -> None:
        super().__init__()
        self.when = when


class Scheduler(Generic[V, R]):
    """Has a `runner` do the nodes of one graph, which may still be growing.

    `jobs` is how many nodes may be executed at once, 0 for what suits the machine.
    """

    def __init__(self, runner: Runner[V, R], jobs: int = 0) -> None:
        self._runner = runner
        self._jobs = jobs or default_jobs()
        self._nodes: Sequence[V] = ()
        self._on_result: Callable[[V, R], object]
        self._results: dict[int, R] = {}
        self._waiting: list[V] = []
        self._running: set[int] = set()
        self._postponed: set[int] = set()
        self._overtaken: set[int] = set()  # those running whose own results were forgotten meanwhile
        self._error: BaseException | None = None
        self._condition = threading.Condition()

    def run(
        self, nodes: Sequence[V], on_result: Callable[[V, R], object] = lambda _node, _result: None
    ) -> Mapping[int, R]:
        """Run the nodes that have no result yet; the results of all by their indices.

        `on_result` is told of each new result before another node gets to see it, by the thread that has it. Raises
        what the first node to fail has raised, or `on_result`. All that was running has ended by then.
        """
        self._nodes, self._on_result = nodes, on_result
        try:
            self._waiting = self._find_known()
            if self._waiting:
                self._execute()
        except BaseException:
            self._runner.cancel()
            self._join()
            raise
        if self._error is not None:
            raise self._error
        return self._results

    def forget(self, error: Exception) -> bool:
        """Forget the results that an error says are gone, and all that came of them; whether it says so of any.

        They are had again when the graph is next run.
        """
        with self._condition:
            gone = set(self._runner.lost(error) or ())
            if not gone:
                return False
            self._overtaken |= gone & self._running
            for node in self._nodes:
                if node.index in gone or not gone.isdisjoint(node.needs):
                    gone.add(node.index)
                    self._results.pop(node.index, None)
                    self._runner.forget(node)
            return True

    def _find_known(self) -> list[V]:
        """Go through the nodes that have no result as far as all are known; the rest."""
        while True:
            nodes = self._open()
            try:
                for position, node in enumerate(nodes):
                    result = self._runner.look_up(node, self._needed(node))
                    if result is None:
                        return nodes[position:]
                    self._on_result(node, result)
                    self._results[node.index] = result
            except Exception as error:
                if not self.forget(error):
                    raise
            else:
                return []

    def _open(self) -> list[V]:
        """Return the nodes that have no result and are not being executed."""
        return [node for node in self._nodes if node.index not in self._results and node.index not in self._running]

    def _needed(self, node: V) -> dict[int, R]:
        return {index: self._results[index] for index in node.needs}

    def _execute(self) -> None:
        threads: list[threading.Thread] = []
        with self._condition:
            expected = list(self._waiting)
        self._runner.expect(expected)
        with self._condition:
            self._start_ready(threads)
            while self._running or (self._postponed and self._error is None):
                self._condition.wait()
                self._start_ready(threads)
        for thread in threads:
            thread.join()

    def _start_ready(self, threads: list[threading.Thread]) -> None:
        """Start whatever has all that it needs, unless something failed: as many as wanted, and as the machine allows.

        Raises PybuildError where it allows none at all.
        """
        if self._error is not None:
            return
        waiting = [node for node in self._waiting if node.index not in self._postponed]
        ready = [node for node in waiting if self._results.keys() >= set(node.needs)]
        for node in ready[: max(0, self._jobs - len(self._running))]:
            arguments = node, self._needed(node)
            thread = threading.Thread(target=self._work, args=arguments, name=f"step {node.index + 1}", daemon=True)
            self._waiting.remove(node)
            self._running.add(node.index)
            self._overtaken.discard(node.index)
            try:
                thread.start()
            except RuntimeError as error:
                self._running.discard(node.index)
                self._waiting.insert(0, node)
                if self._running:  # whose end gives it room
                    return
                raise PybuildError(
                    f"{node.place}: the step cannot be started: {error}",
                    hint="a limit of processes is reached: see `ulimit -u`, and the control group's pids.max",
                ) from error
            threads.append(thread)

    def _work(self, node: V, needed: Mapping[int, R]) -> None:
        """Do a node in a thread of its own; whatever comes of it, whoever waits is told that it is over."""
        try:
            try:
                result = self._runner.execute(node, needed)
                self._on_result(node, result)
            except Postponed as postponed:
                with self._condition:
                    self._running.discard(node.index)
                    self._postponed.add(node.index)
                    self._waiting = self._open()
                postponed.when(lambda: self._resume(node))
            except Exception as error:
                with self._condition:
                    self._running.discard(node.index)
                    # Its inputs may have been forgotten already: it was not the first to find that out.
                    if not self.forget(error) and (self._is_current(needed) or self._runner.lost(error) is None):
                        raise
                    self._waiting = self._open()
            else:
                with self._condition:
                    self._running.discard(node.index)
                    if node.index not in self._overtaken and self._is_current(needed):
                        self._results[node.index] = result
                    else:
                        self._runner.forget(node)
                        self._waiting = self._open()
        except BaseException as error:  # noqa: BLE001 - it is raised again by the thread that waits
            with self._condition:
                if self._error is None:
                    self._error = error
                    self._runner.cancel()
        finally:
            with self._condition:
                self._running.discard(node.index)
                self._condition.notify_all()

    def _resume(self, node: V) -> None:
        with self._condition:
            self._postponed.discard(node.index)
            self._condition.notify_all()

    def _is_current(self, needed: Mapping[int, R]) -> bool:
        """Whether what a node was executed with was not lost, or has become the same again, meanwhile."""
        return all(index in self._results and self._results[index] == result for index, result in needed.items())

    def _join(self) -> None:
        with self._condition:
            if self._error is None:
                self._error = Interrupted("interrupted")
            while self._running:
                self._condition.wait()


def default_jobs() -> int:
    """Give how many nodes are executed at once where nobody says: they wait for disks and servers as well."""
    return min(4 + 4 * (os.cpu_count() or 1), _MOST_JOBS)
