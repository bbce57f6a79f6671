"""The scheduler, with nodes that are functions: whatever fails at whatever point, a graph comes to an end."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.engine.scheduler import Postponed, Scheduler, default_jobs
from buildah_py.errors import Interrupted, PybuildError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

LONG = 20
"""Seconds after which something is taken to hang."""


@dataclass(frozen=True)
class Vertex:
    """A node that is only a number."""

    index: int
    needs: tuple[int, ...] = ()
    place: str = "here"


class Lost(Exception):
    """The results of some nodes are gone."""

    def __init__(self, *indices: int) -> None:
        super().__init__(indices)
        self.indices = indices


class Runner:
    """Calls `steps[index](needed)`, or makes of a node its own number; `known` are hits."""

    def __init__(
        self, steps: Mapping[int, Callable[[Mapping[int, object]], object]] | None = None, known: Collection[int] = ()
    ) -> None:
        self.steps = dict(steps or {})
        self.known = set(known)
        self.cancelled = threading.Event()
        self.looked_up: list[int] = []
        self.executed: list[int] = []
        self.forgotten: list[int] = []
        self.expected: list[list[int]] = []

    def look_up(self, node: Vertex, needed: Mapping[int, object]) -> object | None:
        assert set(needed) == set(node.needs)
        assert not threading.current_thread().name.startswith("step ")
        self.looked_up.append(node.index)
        return node.index + 1000 if node.index in self.known else None

    def execute(self, node: Vertex, needed: Mapping[int, object]) -> object:
        assert set(needed) == set(node.needs)
        self.executed.append(node.index)
        return self.steps[node.index](needed) if node.index in self.steps else node.index

    def expect(self, nodes: Sequence[Vertex]) -> None:
        self.expected.append([node.index for node in nodes])

    def lost(self, error: Exception) -> Collection[int] | None:
        if not isinstance(error, Lost):
            return None
        return [index for index in error.indices if index not in self.forgotten]

    def forget(self, node: Vertex) -> None:
        self.known.discard(node.index)
        self.forgotten.append(node.index)

    def cancel(self) -> None:
        self.cancelled.set()


def until(event: threading.Event) -> None:
    assert event.wait(LONG), "nobody came"


def graph(*needs: Sequence[int]) -> list[Vertex]:
    return [Vertex(index, tuple(one)) for index, one in enumerate(needs)]


def ended(call: Callable[[], object]) -> BaseException | None:
    """Call it to its end in a thread of its own; what it raised. One that hangs fails the test."""
    found: list[BaseException | None] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001
            found.append(error)
        else:
            found.append(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive(), "the scheduler hangs"
    return found[0]


def fail(error: BaseException) -> Callable[[Mapping[int, object]], object]:
    def step(_: Mapping[int, object]) -> object:
        raise error

    return step


def no_thread(_: threading.Thread) -> None:
    raise AssertionError("a thread was started")


# hits


def test_a_graph_of_hits_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    runner, told = Runner(known=range(3)), list[object]()
    nodes = graph([], [0], [0, 1])
    found = Scheduler(runner).run(nodes, lambda node, result: told.append((node.index, result)))
    assert found == {0: 1000, 1: 1001, 2: 1002}
    assert told == [(0, 1000), (1, 1001), (2, 1002)]
    assert (runner.executed, runner.expected) == ([], [])


def test_a_growing_graph_does_each_node_once() -> None:
    runner = Runner(known=[0])
    scheduler = Scheduler(runner)
    nodes = graph([], [0], [1])
    assert scheduler.run(nodes[:2]) == {0: 1000, 1: 1}
    told: list[int] = []
    assert scheduler.run(nodes, lambda node, _: told.append(node.index)) == {0: 1000, 1: 1, 2: 2}
    assert (runner.looked_up, runner.executed, told) == ([0, 1, 2], [1, 2], [2])


def test_what_follows_a_miss_is_not_looked_up_but_executed() -> None:
    runner = Runner(known=[0, 2])
    assert Scheduler(runner).run(graph([], [0], [1])) == {0: 1000, 1: 1, 2: 2}
    assert (runner.looked_up, runner.executed, runner.expected) == ([0, 1], [1, 2], [[1, 2]])


def test_a_look_up_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Runner):
        def look_up(self, node: Vertex, needed: Mapping[int, object]) -> object | None:
            assert (node.index, needed) == (0, {})
            raise StoreError("the database is locked")

    monkeypatch.setattr(threading.Thread, "start", no_thread)
    runner = Broken()
    with pytest.raises(StoreError, match="locked"):
        Scheduler(runner).run(graph([]))
    assert runner.cancelled.is_set()


# several at once


def test_64_nodes_at_once_each_of_which_needs_some_before() -> None:
    width = 64
    together = threading.Barrier(width)

    def meet(needed: Mapping[int, object]) -> object:
        together.wait(LONG)
        return sum(int(str(one)) for one in needed.values())

    first = [Vertex(index) for index in range(width)]
    second = [Vertex(width + index, (index, (index + 1) % width)) for index in range(width)]
    last = Vertex(2 * width, tuple(one.index for one in second))
    runner = Runner(dict.fromkeys(range(width, 2 * width), meet) | {2 * width: len})
    found = Scheduler(runner, jobs=width).run([*first, *second, last])
    assert [found[one.index] for one in second] == [index + (index + 1) % width for index in range(width)]
    assert found[last.index] == width
    assert sorted(runner.executed) == list(range(2 * width + 1))


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_at_once_than_wanted(jobs: int) -> None:
    together, lock = threading.Barrier(jobs), threading.Lock()
    now: list[int] = []
    seen: list[int] = []

    def step(_: object) -> object:
        with lock:
            now.append(1)
            seen.append(len(now))
        together.wait(LONG)
        with lock:
            now.pop()
        return True

    scheduler = Scheduler(Runner(dict.fromkeys(range(3 * jobs), step)), jobs=jobs)
    assert ended(lambda: scheduler.run(graph(*[[]] * (3 * jobs)))) is None
    assert max(seen) == jobs
    assert 8 <= default_jobs() <= 64


def test_a_result_is_told_before_another_node_sees_it() -> None:
    told: list[int] = []

    def step(_: object) -> object:
        assert told == [0]
        return "after"

    found = Scheduler(Runner({1: step})).run(graph([], [0]), lambda node, _: told.append(node.index))
    assert (found[1], told) == ("after", [0, 1])


# failures


@pytest.mark.parametrize("error", [StoreError("full"), ValueError("a fault"), KeyboardInterrupt(), SystemExit(3)])
def test_a_node_that_fails_ends_the_others(error: BaseException) -> None:
    beside = threading.Event()

    def waits(_: object) -> object:
        beside.set()
        until(runner.cancelled)
        raise Interrupted("interrupted")

    def fails(_: object) -> object:
        until(beside)
        raise error

    runner = Runner({0: fails, 1: waits})
    assert ended(lambda: Scheduler(runner, jobs=2).run(graph([], [], [0]))) is error
    assert sorted(runner.executed) == [0, 1], "what needs it is not begun"


def test_the_first_failure_counts() -> None:
    first = StoreError("first")

    def later(_: object) -> object:
        until(runner.cancelled)
        raise StoreError("second")

    runner = Runner({0: fail(first), 1: later})
    assert ended(lambda: Scheduler(runner, jobs=2).run(graph([], []))) is first


def test_a_failure_begins_nothing_more() -> None:
    runner = Runner({0: fail(StoreError("full"))})
    assert isinstance(ended(lambda: Scheduler(runner, jobs=1).run(graph([], [], []))), StoreError)
    assert runner.executed == [0]


@pytest.mark.parametrize("known", [(), (0,)])
def test_whoever_is_told_of_a_result_may_fail(known: Sequence[int]) -> None:
    error = StoreError("the database is locked")

    def told(node: Vertex, _: object) -> None:
        if node.index == 0:
            raise error

    runner = Runner({1: lambda _: until(runner.cancelled)}, known)
    assert ended(lambda: Scheduler(runner).run(graph([], []), told)) is error
    assert runner.cancelled.is_set()


def test_whoever_prepares_may_fail() -> None:
    class Unprepared(Runner):
        def expect(self, nodes: Sequence[Vertex]) -> None:
            assert len(nodes) == 1
            raise PybuildError("cannot run containers")

    runner = Unprepared({0: lambda _: until(runner.cancelled)})
    error = ended(lambda: Scheduler(runner).run(graph([])))
    assert str(error) == "cannot run containers"
    assert runner.cancelled.is_set(), "and what had begun was ended"


def test_an_interrupt_in_the_thread_that_waits_ends_what_runs() -> None:
    began, over = threading.Event(), threading.Event()
    main = threading.main_thread()

    def step(_: object) -> object:
        began.set()
        assert main.ident is not None
        signal.pthread_kill(main.ident, signal.SIGINT)
        until(runner.cancelled)
        over.set()
        raise Interrupted("interrupted")

    runner = Runner({0: step})
    with pytest.raises(KeyboardInterrupt):
        Scheduler(runner).run(graph([], [0]))
    assert began.is_set()
    assert over.is_set(), "it is waited for"
    assert runner.executed == [0]


# threads that cannot be had


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Have the machine allow no more threads for nodes at once."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if sum(thread.name.startswith("step ") for thread in threading.enumerate()) >= most and "step" in self.name:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_as_many_threads_as_the_machine_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 2)
    runner = Runner()
    assert ended(lambda: Scheduler(runner, jobs=9).run(graph(*[[]] * 9))) is None
    assert sorted(runner.executed) == list(range(9))


def test_no_thread_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0)
    error = ended(lambda: Scheduler(Runner()).run([Vertex(0, place="F:1")]))
    assert isinstance(error, PybuildError)
    assert str(error).startswith(
        "F:1: the step cannot be started: can't start new thread\n  hint: a limit of processes"
    )


def test_no_thread_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_: object) -> object:
        limited(monkeypatch, 0)
        return "done"

    runner = Runner({0: step})
    error = ended(lambda: Scheduler(runner).run(graph([], [0])))
    assert isinstance(error, PybuildError)
    assert "cannot be started" in error.message
    assert runner.executed == [0]


# results that are lost


def once(error: Exception, then: object = "again") -> Callable[[Mapping[int, object]], object]:
    times: list[int] = []

    def step(_: object) -> object:
        times.append(1)
        if len(times) == 1:
            raise error
        return then

    return step


def test_lost_results_are_had_again() -> None:
    runner = Runner({1: once(Lost(0))}, known=[0])
    assert ended(lambda: Scheduler(runner, jobs=1).run(graph([], [0], [1]))) is None
    assert runner.executed == [1, 0, 1, 2]
    assert runner.forgotten == [0, 1, 2]


def test_results_that_a_look_up_finds_lost() -> None:
    class Looking(Runner):
        def look_up(self, node: Vertex, needed: Mapping[int, object]) -> object | None:
            if node.index == 1 and not self.forgotten:
                raise Lost(0)
            return super().look_up(node, needed)

    runner = Looking(known=[0, 1])
    found = Scheduler(runner).run(graph([], [0]))
    assert (found, runner.executed) == ({0: 0, 1: 1}, [0, 1])


def test_results_that_whoever_is_told_finds_lost() -> None:
    tell = once(Lost(0))
    runner = Runner(known=[0])
    found = Scheduler(runner).run(graph([], [0]), lambda _node, _result: tell({}))
    assert (found, runner.executed) == ({0: 0, 1: 1}, [0, 1])


def test_results_lost_of_which_nothing_is_known() -> None:
    error = Lost()
    runner = Runner({0: fail(error), 1: lambda _: until(runner.cancelled)})
    assert ended(lambda: Scheduler(runner, jobs=2).run(graph([], []))) is error


def test_whoever_hears_of_lost_results_may_fail() -> None:
    error = PybuildError("progress cannot be shown any more")

    class Mute(Runner):
        def lost(self, error_: Exception) -> Collection[int] | None:
            assert isinstance(error_, Lost)
            raise error

    runner = Mute({0: fail(Lost(1)), 1: lambda _: until(runner.cancelled)})
    assert ended(lambda: Scheduler(runner, jobs=2).run(graph([], []))) is error


def test_two_that_find_the_same_result_lost() -> None:
    together, firsts = threading.Barrier(2), threading.Lock()
    times: list[int] = []

    def step(needed: Mapping[int, object]) -> object:
        with firsts:
            times.append(1)
            first = len(times) <= 2
        if first:
            together.wait(LONG)
            raise Lost(0)
        return needed[0]

    runner = Runner({1: step, 2: step}, known=[0])
    scheduler = Scheduler(runner, jobs=2)
    assert ended(lambda: scheduler.run(graph([], [0], [0]))) is None
    assert scheduler.run(graph([], [0], [0])) == {0: 0, 1: 0, 2: 0}
    assert runner.executed.count(0) == 1


@pytest.mark.parametrize("same", [True, False])
def test_what_was_begun_with_a_result_that_was_lost_meanwhile(same: bool) -> None:
    """Its own result counts if that became the same again; else it would stand on what is not there."""
    begun, made = threading.Event(), threading.Event()

    def dependant(needed: Mapping[int, object]) -> object:
        begun.set()
        until(made)
        return f"on {needed[0]}"

    def loses(_: object) -> object:
        if not runner.forgotten:
            until(begun)
            raise Lost(0)
        return "found"

    def third(_: object) -> object:  # runs on what was made again
        made.set()
        return "third"

    runner = Runner({0: lambda _: 1000 if same else "new", 1: dependant, 2: loses, 3: third}, known=[0])
    scheduler = Scheduler(runner, jobs=3)
    nodes = graph([], [0], [], [0, 2])
    assert ended(lambda: scheduler.run(nodes)) is None
    found = scheduler.run(nodes)
    assert found[1] == f"on {found[0]}" == ("on 1000" if same else "on new")
    assert runner.executed.count(1) == (1 if same else 2)


def test_a_failure_counts_whatever_was_lost_meanwhile() -> None:
    error, begun, again = StoreError("full"), threading.Event(), threading.Event()

    def fails(_: object) -> object:
        begun.set()
        until(again)
        raise error

    def loses(_: object) -> object:
        until(begun)
        raise Lost(0)

    def anew(_: object) -> object:
        again.set()
        until(runner.cancelled)
        raise Interrupted("interrupted")

    runner = Runner({0: anew, 1: fails, 2: loses}, known=[0])
    assert ended(lambda: Scheduler(runner, jobs=3).run(graph([], [0], [0]))) is error


def test_forgetting_between_runs() -> None:
    runner = Runner()
    scheduler = Scheduler(runner)
    nodes = graph([], [], [0], [2], [1])
    scheduler.run(nodes)
    assert not scheduler.forget(ValueError("something else"))
    assert scheduler.forget(Lost(2))
    assert runner.forgotten == [2, 3]
    scheduler.run(nodes)
    assert runner.executed[5:] == [2, 3]


class Versions(Runner):
    """Each result tells what it was made of, and is another one each time; `losing` find lost what they need, once."""

    def __init__(self, known: Collection[int], losing: Mapping[int, int]) -> None:
        super().__init__(known=known)
        self.losing = dict(losing)
        self.have: set[int] = set()
        self.lock = threading.Lock()

    def look_up(self, node: Vertex, needed: Mapping[int, object]) -> object | None:
        return self._made(node, needed) if node.index in self.known else None

    def execute(self, node: Vertex, needed: Mapping[int, object]) -> object:
        return self._made(node, needed)

    def _made(self, node: Vertex, needed: Mapping[int, object]) -> object:
        with self.lock:
            self.executed.append(node.index)
            if node.needs and node.index in self.losing:
                raise Lost(node.needs[self.losing.pop(node.index) % len(node.needs)])
            self.have.add(node.index)
            return node.index, self.executed.count(node.index), tuple(needed[index] for index in node.needs)

    def lost(self, error: Exception) -> Collection[int] | None:
        return [index for index in error.indices if index in self.have] if isinstance(error, Lost) else None

    def forget(self, node: Vertex) -> None:
        with self.lock:
            self.have.discard(node.index)


@st.composite
def graphs(draw: st.DrawFn) -> list[Vertex]:
    nodes: list[Vertex] = []
    for index in range(draw(st.integers(1, 12))):
        needs = draw(st.lists(st.integers(0, index - 1), max_size=3, unique=True)) if index else []
        nodes.append(Vertex(index, tuple(needs)))
    return nodes


@given(graphs(), st.sets(st.integers(0, 11)), st.dictionaries(st.integers(0, 11), st.integers(0, 2)), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_whatever_is_lost_all_results_go_together(
    nodes: list[Vertex], known: set[int], losing: dict[int, int], jobs: int
) -> None:
    runner = Versions(known, losing)
    scheduler = Scheduler(runner, jobs)
    assert ended(lambda: scheduler.run(nodes)) is None
    found = scheduler.run(nodes)
    assert set(found) == runner.have == {node.index for node in nodes}
    for node in nodes:
        result = found[node.index]
        assert isinstance(result, tuple)
        assert result[2] == tuple(found[index] for index in node.needs)


def test_a_result_that_is_forgotten_before_it_is_there_is_had_again() -> None:
    forgotten: list[bool] = []

    def work(_: object) -> None:
        if not forgotten:
            forgotten.append(scheduler.forget(Lost(0)))

    runner = Runner({0: work})
    scheduler = Scheduler(runner)
    assert set(scheduler.run(graph([]))) == {0}
    assert forgotten == [True]
    assert runner.executed == [0, 0]


# what others do


def test_what_somebody_else_does_is_waited_for_and_keeps_nothing_else() -> None:
    calls: list[Callable[[], object]] = []
    tries: list[int] = []

    def elsewhere(_: object) -> object:
        tries.append(0)
        if len(tries) < 3:
            raise Postponed(calls.append)
        return "done there"

    def own(needed: Mapping[int, object]) -> object:
        if len(tries) < 3:
            calls.pop()()  # as the other one ends while this one is executed
        return "done here"

    runner = Runner({0: elsewhere, 1: own, 2: own})
    found: dict[int, object] = {}
    assert ended(lambda: found.update(Scheduler(runner, 1).run(graph([], [], [], [0])))) is None
    assert found == {0: "done there", 1: "done here", 2: "done here", 3: 3}
    assert runner.executed[:2] == [0, 1], "with one job at a time, another one has its turn"


def test_a_graph_that_only_waits_for_others_goes_on_when_it_is_told() -> None:
    again = threading.Event()

    def elsewhere(_: object) -> object:
        if not again.is_set():
            raise Postponed(tell_soon)
        return "done there"

    def tell_soon(call: Callable[[], object]) -> None:
        def tell() -> None:
            again.set()
            call()

        threading.Timer(0.05, tell).start()

    found: dict[int, object] = {}
    assert ended(lambda: found.update(Scheduler(Runner({0: elsewhere})).run(graph([], [0])))) is None
    assert found == {0: "done there", 1: 1}


def test_a_failure_ends_a_graph_that_waits_for_others() -> None:
    postponed = threading.Event()

    def elsewhere(_: object) -> object:
        raise Postponed(lambda _call: postponed.set())

    def failing(_: object) -> object:
        until(postponed)
        raise StoreError("full")

    error = ended(lambda: Scheduler(Runner({0: elsewhere, 1: failing})).run(graph([], [])))
    assert isinstance(error, StoreError)


def test_an_interrupt_ends_a_graph_that_waits_for_others() -> None:
    def elsewhere(_: object) -> object:
        raise Postponed(lambda _call: signal.raise_signal(signal.SIGUSR1))

    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted")

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        runner = Runner({0: elsewhere})
        with pytest.raises(Interrupted):
            Scheduler(runner).run(graph([]))
        assert runner.cancelled.is_set()
    finally:
        signal.signal(signal.SIGUSR1, before)
