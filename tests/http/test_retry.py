from __future__ import annotations

from typing import Any

import pytest

from buildah_py.errors import RegistryError
from buildah_py.http import retry
from buildah_py.http.retry import Policy, Retries, RetryableError, retry_after


class Clock:
    """Time that passes by waiting alone; stands for the time module too."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(retry, "time", made)
    return made


def make(clock: Clock, told: list[str] | None = None, **policy: Any) -> Retries:
    def error(message: str, hint: str, status: int) -> RegistryError:
        return RegistryError(message, hint=hint, status=status)

    tell = (lambda _: None) if told is None else told.append
    return Retries(Policy(**policy), clock.pause, "app: blob", error, tell)


def until_the_end(made: Retries, failure: RetryableError) -> RegistryError:
    while True:
        try:
            made.wait(failure)
        except RegistryError as error:
            return error


def test_waits_double_and_differ(clock: Clock) -> None:
    error = until_the_end(make(clock, attempts=6, pause=1, patience=1000), RetryableError("no", status=503))
    assert error.message == "app: blob: no"
    assert error.status == 503
    assert len(clock.waits) == 5
    for number, wait in enumerate(clock.waits):
        assert 2**number / 2 <= wait <= 2**number
    assert len({wait / 2**number for number, wait in enumerate(clock.waits)}) == 5


def test_long_waits_are_told(clock: Clock) -> None:
    told: list[str] = []
    made = make(clock, told, pause=0.1)
    made.wait(RetryableError("no"))
    assert told == []
    made.wait(RetryableError("429 Too Many Requests", after=20))
    assert told == ["app: blob: 429 Too Many Requests; trying again in 20 s"]


def test_as_long_as_the_registry_asks_for(clock: Clock) -> None:
    until_the_end(make(clock, attempts=3, pause=1, patience=100), RetryableError("no", after=20))
    assert clock.waits == [20, 20]


def test_no_longer_than_the_patience(clock: Clock) -> None:
    error = until_the_end(make(clock, attempts=30, pause=1, patience=100), RetryableError("no", after=40))
    assert clock.waits == [40, 40]
    assert "3 times in 80 seconds" in error.hint
    clock.waits.clear()
    error = until_the_end(
        make(clock, attempts=30, pause=1, patience=100), RetryableError("no", after=500, hint="log in")
    )
    assert clock.waits == []
    assert error.hint == "it asks for 500 seconds of patience; log in"


def test_some_troubles_are_worth_fewer_tries(clock: Clock) -> None:
    until_the_end(make(clock), RetryableError("no", attempts=2))
    assert len(clock.waits) == 1


def test_progress_renews_patience(clock: Clock) -> None:
    made = make(clock, attempts=2, pause=10, patience=30)
    for _ in range(10):
        made.wait(RetryableError("cut"))
        made.progressed(1 << 20)
    made.wait(RetryableError("cut"))
    made.progressed(100)
    with pytest.raises(RegistryError):
        made.wait(RetryableError("cut"))


def test_a_reader_may_take_its_time(clock: Clock) -> None:
    made = make(clock, attempts=2, pause=10, patience=30)
    made.progressed(100)
    clock.now += 1000
    made.wait(RetryableError("cut"))
    made.progressed(1 << 20)
    clock.now += 1000
    made.wait(RetryableError("cut"))


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
