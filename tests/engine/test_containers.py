"""The containers of a build, of which there is none here: who cancels ends all, whenever they were started."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable


class Container:
    """A container that runs until it is killed."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def kill(self) -> None:
        self.calls.append("kill")

    def wait(self) -> None:
        self.calls.append("wait")


class Sandbox:
    """Takes note of what it is asked for; `meanwhile` is what happens while a container starts."""

    def __init__(self, calls: list[object], meanwhile: Callable[[], object] = lambda: None) -> None:
        self.calls = calls
        self._meanwhile = meanwhile

    def start(self, *, network: bool) -> None:
        self.calls.append(("start", network))

    def start_container(self, spec: object, **_streams: object) -> Container:
        self.calls.append(spec)
        self._meanwhile()
        return Container()

    def release(self) -> None:
        self.calls.append("release")

    def close(self) -> None:
        self.calls.append("close")


def start(containers: Containers) -> Any:
    spec: Any = "a"
    return containers.start(spec, stdin=None, stdout=1, stderr=2)


def make(calls: list[object], meanwhile: Callable[[], object] = lambda: None) -> Containers:
    shape: Any = lambda spec: f"{spec}, shaped"  # noqa: E731
    sandbox: Any = lambda: calls.append("made") or Sandbox(calls, meanwhile)  # type: ignore[func-returns-value]  # noqa: E731
    return Containers(sandbox, Cancellation(), shape)


def test_a_sandbox_is_made_once_and_when_it_is_wanted() -> None:
    calls: list[object] = []
    containers = make(calls)
    containers.release()
    assert calls == []
    containers.expect(network=True)
    start(containers)
    assert calls == ["made", ("start", True), "a, shaped"]
    containers.release()
    containers.close()
    assert calls[3:] == ["release", "close"]
    containers.close()
    assert calls[5:] == []


def test_a_sandbox_that_was_released_is_made_again_where_one_is_wanted_after_all() -> None:
    calls: list[object] = []
    containers = make(calls)
    for _ in range(2):
        start(containers)
        containers.release()
    assert calls == ["made", "a, shaped", "release"] * 2
    containers.close()
    assert calls[6:] == ["close"] * 2


def test_who_cancels_ends_what_runs() -> None:
    containers = make([])
    one, other = start(containers), start(containers)
    with containers.held(one):
        pass
    containers.cancel()
    assert (one.calls, other.calls) == ([], ["kill"])
    with pytest.raises(Interrupted):
        start(containers)


def test_a_container_that_starts_while_the_build_is_cancelled_is_ended_too() -> None:
    starting, cancelled = threading.Event(), threading.Event()

    def meanwhile() -> None:
        starting.set()
        assert cancelled.wait(20)

    found: list[Container] = []
    containers = make([], meanwhile)
    thread = threading.Thread(target=lambda: found.append(start(containers)), daemon=True)
    thread.start()
    assert starting.wait(20)
    containers.cancel()
    cancelled.set()
    thread.join(20)
    assert [one.calls for one in found] == [["kill"]]


def test_an_exception_ends_the_container_that_is_waited_for() -> None:
    containers = make([])
    one = start(containers)
    with pytest.raises(KeyboardInterrupt), containers.held(one):
        raise KeyboardInterrupt
    assert one.calls == ["kill", "wait"]
