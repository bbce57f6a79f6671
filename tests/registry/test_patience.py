from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from buildah_py.errors import RegistryError
from buildah_py.registry import patience
from buildah_py.registry.options import Limits
from buildah_py.registry.patience import Patience, Trouble, retry_after

if TYPE_CHECKING:
    import threading


class Clock:
    """Time that passes by waiting alone; stands for the time module and for the event that ends waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(patience, "time", made)
    return made


def make(clock: Clock, **limits: float) -> Patience:
    return Patience(Limits(**limits), cast("threading.Event", clock), "app: blob")  # type: ignore[arg-type]


def until_the_end(made: Patience, trouble: Trouble) -> RegistryError:
    while True:
        try:
            made.wait(trouble)
        except RegistryError as error:
            return error


def test_waits_double_and_differ(clock: Clock) -> None:
    error = until_the_end(make(clock, attempts=6, pause=1, patience=1000), Trouble("no", status=503))
    assert error.message == "app: blob: no"
    assert error.status == 503
    assert len(clock.waits) == 5
    for number, wait in enumerate(clock.waits):
        assert 2**number / 2 <= wait <= 2**number
    assert len({wait / 2**number for number, wait in enumerate(clock.waits)}) == 5


def test_long_waits_are_told(clock: Clock) -> None:
    told: list[str] = []
    made = Patience(Limits(pause=0.1), cast("threading.Event", clock), "app: blob", told.append)
    made.wait(Trouble("no"))
    assert told == []
    made.wait(Trouble("429 Too Many Requests", after=20))
    assert told == ["app: blob: 429 Too Many Requests; trying again in 20 s"]


def test_as_long_as_the_registry_asks_for(clock: Clock) -> None:
    until_the_end(make(clock, attempts=3, pause=1, patience=100), Trouble("no", after=20))
    assert clock.waits == [20, 20]


def test_no_longer_than_the_patience(clock: Clock) -> None:
    error = until_the_end(make(clock, attempts=30, pause=1, patience=100), Trouble("no", after=40))
    assert clock.waits == [40, 40]
    assert "3 times in 80 seconds" in error.hint
    clock.waits.clear()
    error = until_the_end(make(clock, attempts=30, pause=1, patience=100), Trouble("no", after=500, hint="log in"))
    assert clock.waits == []
    assert error.hint == "it asks for 500 seconds of patience; log in"


def test_some_troubles_are_worth_fewer_tries(clock: Clock) -> None:
    until_the_end(make(clock), Trouble("no", tries=2))
    assert len(clock.waits) == 1


def test_progress_renews_patience(clock: Clock) -> None:
    made = make(clock, attempts=2, pause=10, patience=30)
    for _ in range(10):
        made.wait(Trouble("cut"))
        made.progressed(1 << 20)
    made.wait(Trouble("cut"))
    made.progressed(100)
    with pytest.raises(RegistryError):
        made.wait(Trouble("cut"))


def test_a_reader_may_take_its_time(clock: Clock) -> None:
    made = make(clock, attempts=2, pause=10, patience=30)
    made.progressed(100)
    clock.now += 1000
    made.wait(Trouble("cut"))
    made.progressed(1 << 20)
    clock.now += 1000
    made.wait(Trouble("cut"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("7", 7),
        (" 7 ", 7),
        ("9" * 400, 999999999),
        ("-1", 0),
        ("soon", 0),
        ("Wed, 21 Oct 2015 07:28:10 GMT", 10),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("\u0667", 0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert retry_after({"Retry-After": value}, 1445412480.0) == seconds
