"""The engine's threads, with steps that are none: whatever fails at whatever point, a build comes to an end."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from buildah_py.engine.engine import Engine, default_jobs
from buildah_py.engine.results import NOTHING, Result
from buildah_py.errors import LayersLost, OutputError, PybuildError, StoreError
from buildah_py.plan.graph import Node
from buildah_py.plan.steps import WorkdirStep

if TYPE_CHECKING:
    from collections.abc import Callable


class Workshop:
    """What the engine tells a workshop."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.events: list[object] = []

    def cancel(self) -> None:
        self.ended.set()

    def emit(self, event: object) -> None:
        self.events.append(event)


class Fake(Engine):
    """An engine whose steps are functions, by their numbers."""

    def __init__(self, steps: dict[int, Callable[[], object]], **options: Any) -> None:
        super().__init__(cast("Any", Workshop()), **options)
        self.steps = steps
        self.workshop = cast("Workshop", self._workshop)

    def _find_hits(self) -> list[Node]:
        return self._open()

    def _process(self, node: Node) -> Result:
        self.steps[node.index]()
        return NOTHING


def nodes(count: int) -> list[Node]:
    """Steps that need nothing of each other."""
    return [Node(index, WorkdirStep("/", ""), None, (), "s", index + 1, "", f"F:{index + 1}") for index in range(count)]


def run(engine: Engine, count: int) -> BaseException | None:
    """Run to the end; what came of it. A build that hangs fails the test."""
    found: list[BaseException | None] = []

    def work() -> None:
        try:
            engine.run(nodes(count), {"s": count})
        except BaseException as error:  # noqa: BLE001
            found.append(error)
        else:
            found.append(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the build hangs"
    return found[0]


def fail(error: BaseException) -> Callable[[], None]:
    def step() -> None:
        raise error

    return step


def nothing() -> None:
    pass


@pytest.mark.parametrize(
    "error", [StoreError("full"), ValueError("a fault"), KeyboardInterrupt(), LayersLost("x", "y")]
)
def test_a_step_that_fails_ends_the_build(error: BaseException) -> None:
    engine = Fake({0: fail(error), 1: lambda: engine.workshop.ended.wait(20)})
    assert run(engine, 2) is error
    assert engine.workshop.ended.is_set()


def test_whoever_is_told_of_a_result_may_fail() -> None:
    engine = Fake({0: nothing, 1: lambda: engine.workshop.ended.wait(20)})
    error = StoreError("the database is locked")
    engine.on_result = lambda node, _result: fail(error)() if node.index == 0 else None
    assert run(engine, 2) is error


def test_lost_layers_of_which_nobody_can_be_told() -> None:
    lost = LayersLost("layers are lost", ["sha256:x"])
    engine = Fake({0: fail(lost), 1: lambda: engine.workshop.ended.wait(20)})
    engine.records[1] = cast("Any", type("Record", (), {"diff_id": "sha256:x", "key": "k"}))
    error = OutputError("progress cannot be shown any more")

    def emit(event: object) -> None:
        assert event
        raise error

    engine.workshop.emit = emit  # type: ignore[method-assign]
    assert run(engine, 2) is error


def test_lost_layers_are_made_again() -> None:
    times: list[int] = []

    def lose() -> None:
        times.append(1)
        if len(times) == 1:
            raise LayersLost("layers are lost", ["sha256:x"])

    engine = Fake({0: nothing, 1: lose}, jobs=1)
    engine.records[0] = cast("Any", type("Record", (), {"diff_id": "sha256:x", "key": "k"}))
    assert run(engine, 2) is None
    assert len(times) == 2


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Have the machine allow no more threads for steps at once."""
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if sum(thread.name.startswith("step ") for thread in threading.enumerate()) >= most and "step" in self.name:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_as_many_threads_as_the_machine_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 2)
    done: list[int] = []
    engine = Fake({index: (lambda index=index: done.append(index)) for index in range(9)})  # type: ignore[misc]
    assert run(engine, 9) is None
    assert sorted(done) == list(range(9))


def test_no_thread_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 0)
    error = run(Fake({0: nothing}), 1)
    assert isinstance(error, PybuildError)
    assert str(error).startswith(
        "F:1: the step cannot be started: can't start new thread\n  hint: a limit of processes"
    )


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_steps_at_once_than_wanted(jobs: int) -> None:
    together = threading.Barrier(jobs)
    now: list[int] = []
    seen: list[int] = []
    lock = threading.Lock()

    def step() -> None:
        with lock:
            now.append(1)
            seen.append(len(now))
        together.wait(20)
        with lock:
            now.pop()

    assert run(Fake(dict.fromkeys(range(3 * jobs), step), jobs=jobs), 3 * jobs) is None
    assert max(seen) == jobs
    assert 8 <= default_jobs() <= 64


def test_what_the_system_refuses_is_told_with_path_place_and_what_to_do() -> None:
    class Refused(Fake):
        def _process(self, node: Node) -> Result:
            return Engine._process(self, node)

        def _make(self, node: Node, started: float) -> Result:
            assert (node.index, started > 0) == (0, True)
            raise OSError(errno.ENOSPC, "No space left on device", "layers/x")

    error = run(Refused({}), 1)
    assert isinstance(error, PybuildError)
    assert str(error).startswith("F:1: layers/x: No space left on device\n  hint: `pybuild prune` frees space")
