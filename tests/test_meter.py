from __future__ import annotations

import io
import threading

import pytest

from buildah_py import meter
from buildah_py.meter import Listening, Moved


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[Moved]:
    return []


def test_events_come_no_oftener_than_each_interval(told: list[Moved], clock: Clock) -> None:
    with Listening(told.append, 3, clock=clock), meter.start("pulling x", 1000, waits=True) as moved:
        for _ in range(100):
            moved.add(10)
            clock.now += 0.01
    assert told[0] == Moved(3, "pulling x", 0, 1000)
    assert told[-1] == Moved(3, "pulling x", 1000, 1000, seconds=told[-1].seconds, ended=True)
    assert 9 <= len(told) - 2 <= 10
    assert [one.done for one in told] == sorted(one.done for one in told)


def test_what_is_quick_is_not_told(told: list[Moved], clock: Clock) -> None:
    with Listening(told.append, clock=clock), meter.start("hashing", 5, meter.ITEMS) as moved:
        moved.add(5)
        clock.now += 0.05
    assert told == []


def test_where_nobody_listens_nothing_is_wrapped() -> None:
    stream, pieces = io.BytesIO(b"x"), [b"y"]
    with meter.start("pulling", 1, waits=True) as moved:
        moved.add(1)
        assert moved.reading(stream) is stream
        assert moved.part().reading(stream) is stream
        assert moved.counted(pieces) is pieces
    assert meter.carried(len) is len


def test_all_ways_to_count(told: list[Moved], clock: Clock) -> None:
    written: list[object] = []
    with Listening(told.append, clock=clock), meter.start("moving", waits=True) as moved:
        with moved.reading(io.BytesIO(b"12345")) as stream:
            assert stream.read(3) + stream.read() == b"12345"
        assert list(moved.counted([b"12", b"3"])) == [b"12", b"3"]
        moved.writing(written.append)(b"1234")
    assert told[-1].done == 5 + 3 + 4
    assert written == [b"1234"]


def test_what_is_read_again_counts_once(told: list[Moved], clock: Clock) -> None:
    with Listening(told.append, clock=clock), meter.start("pulling", waits=True) as moved:
        part = moved.part()
        part.expect(5)
        part.reading(io.BytesIO(b"123")).read(3)
        part.expect(6)
        part.reading(io.BytesIO(b"123456")).read(6)
        moved.expect(4)
        moved.expect(-4)
    assert (told[-1].done, told[-1].total) == (6, 6)


def test_time_that_is_booked_apart(told: list[Moved], clock: Clock) -> None:
    with Listening(told.append, clock=clock) as listening:
        with meter.start("copying"):
            clock.now += 1
        with meter.start("pulling", apart=True):
            clock.now += 2
        assert listening.apart == 2


def test_other_threads_are_heard_where_they_are_told_to_whom(told: list[Moved], clock: Clock) -> None:
    def work(what: str) -> None:
        with meter.start(what, waits=True) as moved:
            moved.add(1)

    with Listening(told.append, 7, clock=clock):
        threads = [threading.Thread(target=meter.carried(work), args=("heard",))]
        threads += [threading.Thread(target=work, args=("not heard",))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {(one.id, one.what) for one in told} == {(7, "heard")}
