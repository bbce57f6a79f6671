"""Claims under hostile timing: builders, clocks and a place that are all made up, and every step of them is chosen.

Builders crash, sleep, and have clocks that run apart; requests are lost, or their answers, or come twice; somebody
writes nonsense. Whatever happens, whoever lives ends with what the keys lead to. Where nothing of that happens, nothing
is done twice.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import CacheAway, CacheError, Interrupted
from buildah_py.sharing import notes
from buildah_py.sharing.backend import ABSENT, StoredNote
from buildah_py.sharing.claims import BEATS, Claims, Who
from buildah_py.sharing.link import Link
from buildah_py.sharing.notes import FREE, Claim, SharedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TTL = 12.0


@dataclass
class Place:
    """Notes in memory; `fault` says what befalls the next request."""

    found: dict[str, StoredNote] = field(default_factory=dict)
    fault: Callable[[], str] = lambda: ""
    claim_ttl: float = TTL
    claims_are_dear: bool = False
    count: int = 0
    writes: list[tuple[str, bytes]] = field(default_factory=list)

    def unconditional(self) -> str:
        return ""

    def read_note(self, name: str) -> StoredNote | None:
        if self.fault() in ("lost", "answer lost"):
            raise CacheAway("gone")
        return self.found.get(name)

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[object] = ()) -> str:
        fault = self.fault()
        if fault == "lost":
            raise CacheAway("gone")
        assert not blobs
        before = self.found.get(name)
        if over is not None and over != (before.version if before else ABSENT):
            return ABSENT
        self.count += 1
        self.found[name] = StoredNote(data, str(self.count))
        self.writes.append((name, data))
        if fault == "answer lost":
            raise CacheAway("gone")
        return ABSENT if fault == "twice" else str(self.count)


class Clock:
    """A clock that somebody turns."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def builder(place: Place, name: str, now: float = 0.0, ttl: float = TTL) -> tuple[Claims, Clock]:
    clock = Clock(now)
    return Claims(place, ttl, Who(name, f"host of {name}", 7), clock=clock), clock


def result(text: bytes) -> bytes:
    return notes.write_result(text, ())


def text_of(place: Place, name: str) -> bytes:
    found = notes.read(place.found[name].data, name)
    assert isinstance(found, SharedResult)
    return found.text


def test_one_of_two_has_it_and_the_other_sees_how_far_it_is() -> None:
    place = Place()
    (anna, clock), (bert, _) = builder(place, "anna", 1e9), builder(place, "bert")
    assert anna.attempt("n", "RUN make") is None
    clock.now += 12.4
    anna.tell("n", "compiling main.c")
    assert anna.renew("n")
    seen = bert.attempt("n", "RUN make")
    assert isinstance(seen, Claim)
    assert seen.shown == "host of anna (pid 7): RUN make, 12 s: compiling main.c"
    assert anna.publish("n", result(b"made"), [], anew=False, conditional=True)
    assert anna.held() == []
    seen = bert.attempt("n", "RUN make")
    assert isinstance(seen, SharedResult)
    assert seen.text == b"made"


def test_a_claim_is_stale_only_after_its_time_and_several_looks() -> None:
    place = Place()
    (anna, _), (bert, clock) = builder(place, "anna"), builder(place, "bert", 1e6)
    assert anna.attempt("n", "RUN") is None
    assert isinstance(bert.look("n"), Claim)
    clock.now += 100 * TTL  # the observer was asleep, or cut off: that says nothing about the other
    assert isinstance(bert.look("n"), Claim)
    for _ in range(2):
        clock.now += TTL / 4
        assert isinstance(bert.look("n"), Claim)
    clock.now += TTL / 4
    assert bert.look("n") is None
    assert bert.attempt("n", "RUN") is None
    assert not anna.renew("n"), "it has to learn that it lost it"
    assert anna.held() == []
    # It ends all the same, and the first result stays.
    assert anna.publish("n", result(b"of anna"), [], anew=False, conditional=True)
    assert not bert.publish("n", result(b"of bert"), [], anew=False, conditional=True)
    assert text_of(place, "n") == b"of anna"


def test_a_renewal_begins_the_time_anew() -> None:
    place = Place()
    (anna, _), (bert, clock) = builder(place, "anna"), builder(place, "bert")
    assert anna.attempt("n", "RUN") is None
    for _ in range(5 * BEATS):
        assert isinstance(bert.look("n"), Claim)
        clock.now += TTL / BEATS
        assert anna.renew("n")


def test_who_gives_back_lets_others_begin_at_once() -> None:
    place = Place()
    (anna, _), (bert, _) = builder(place, "anna"), builder(place, "bert")
    assert anna.attempt("n", "RUN") is None
    assert isinstance(bert.attempt("n", "RUN"), Claim)
    anna.release("n")
    assert bert.look("n") is None
    assert bert.attempt("n", "RUN") is None
    anna.release("n")
    assert isinstance(anna.attempt("n", "RUN"), Claim), "what is not ours cannot be given back"


def test_an_answer_that_got_lost_is_found_again() -> None:
    place = Place()
    (anna, _) = builder(place, "anna")
    faults = ["twice"]
    place.fault = lambda: faults.pop() if faults else ""
    assert anna.attempt("n", "RUN") is None
    faults += ["twice"]
    assert anna.renew("n")
    faults += ["twice"]
    assert anna.publish("n", result(b"x"), [], anew=False, conditional=True)
    assert text_of(place, "n") == b"x"


def test_a_renewal_that_crosses_the_result_does_not_undo_it() -> None:
    place = Place()
    (anna, _) = builder(place, "anna")
    assert anna.attempt("n", "RUN") is None
    late = anna._held["n"]
    assert anna.publish("n", result(b"x"), [], anew=False, conditional=True)
    anna._held["n"] = late  # as a thread saw it that was held up
    assert not anna.renew("n")
    assert text_of(place, "n") == b"x"


def test_a_result_of_a_build_without_cache_replaces_the_older_one() -> None:
    place = Place()
    (anna, _) = builder(place, "anna")
    assert anna.publish("n", result(b"old"), [], anew=False, conditional=True)
    assert anna.publish("n", result(b"new"), [], anew=True, conditional=True)
    assert text_of(place, "n") == b"new"


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"{}", b"[]", b"\xff", b'{"format":1,"state":"claimed","ttl":"x"}', b"pybuild result 1\n{", FREE,
     b'{"format":2,"state":"claimed"}', b'{"format":1,"state":"claimed","seconds":1e400}'],
)  # fmt: skip
def test_what_is_no_claim_holds_nothing(nonsense: bytes) -> None:
    place = Place({"n": StoredNote(nonsense, "v")})
    (anna, _) = builder(place, "anna")
    assert anna.attempt("n", "RUN") is None


def test_a_claim_cannot_have_others_wait_for_ever_or_draw_on_their_screens() -> None:
    place = Place()
    (mallory, _), (bert, clock) = builder(place, "\x1b[2Jmallory", ttl=1e9), builder(place, "bert")
    assert mallory.attempt("n", "RUN \x1b]0;x\x07" + "x" * 10_000) is None
    seen = bert.look("n")
    assert isinstance(seen, Claim)
    assert seen.shown.isprintable()
    assert len(seen.shown) < 600
    looks = 0
    while bert.look("n") is not None:
        clock.now += TTL / 4
        looks += 1
        assert looks < 1000


# the way to the place


class Waiting:
    """A link whose waits are counted."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.said: list[str] = []
        self.cancelled = False
        self.link = Link(
            "s3 b", 5.0, self._note, self._warn, lambda: self.cancelled, clock=self.clock, sleep=self._sleep
        )

    def _note(self, text: str) -> None:
        self.said.append(text)

    def _warn(self, text: str) -> None:
        self.said.append(f"warning: {text}")

    def _sleep(self, seconds: float) -> None:
        self.clock.now += seconds


def fails(error: Exception) -> Any:
    raise error


def test_a_place_that_is_away_for_a_while_is_waited_for() -> None:
    waiting = Waiting()
    answers: list[Any] = [CacheAway("no route"), CacheAway("no route"), 1]

    def request() -> int:
        answer = answers.pop(0)
        return answer if isinstance(answer, int) else fails(answer)

    assert waiting.link.ask(request) == 1
    assert waiting.said == ["no route; trying again for 5 s"]
    assert waiting.link.is_open


def test_a_place_that_is_away_for_longer_is_left_out_until_it_answers() -> None:
    waiting = Waiting()
    with pytest.raises(CacheAway):
        waiting.link.ask(lambda: fails(CacheAway("no route")))
    assert 5 <= waiting.clock.now < 8
    assert len(waiting.said) == 2
    assert waiting.said[1].startswith("warning: s3 b was not to be reached for 5 s")
    before = waiting.clock.now
    with pytest.raises(CacheAway):
        waiting.link.ask(lambda: 1)
    assert waiting.clock.now == before, "nobody waits for it again"
    assert waiting.link.probe(lambda: 1) == 1
    assert waiting.said[2:] == ["s3 b answers again"]
    assert waiting.link.ask(lambda: 2) == 2


def test_a_place_that_refuses_is_asked_no_more() -> None:
    waiting = Waiting()
    with pytest.raises(CacheError):
        waiting.link.ask(lambda: fails(CacheError("the bucket is full", hint="empty it")))
    with pytest.raises(CacheError):
        waiting.link.ask(lambda: 1)
    assert len(waiting.said) == 2
    assert waiting.said[0].startswith("warning: the bucket is full: steps are executed without claims")
    assert waiting.said[1] == "empty it"


def test_an_interrupted_build_does_not_wait() -> None:
    waiting = Waiting()
    waiting.cancelled = True
    with pytest.raises(Interrupted):
        waiting.link.ask(lambda: fails(CacheAway("no route")))


# interleavings

STEPS: dict[str, tuple[str, ...]] = {
    "base": (),
    "a": ("base",),
    "b": ("base",),
    "a1": ("a",),
    "a2": ("a",),
    "ab": ("a", "b"),
    "all": ("a1", "a2", "ab"),
}
MOST = 4000
"""Turns after which builders are taken to wait for ever."""


@dataclass
class Builder:
    """A machine that works off STEPS; each turn of `life` is one thing that it does, and time passes between turns."""

    name: str
    claims: Claims
    clock: Clock
    rate: float
    executed: list[str]
    done: dict[str, bytes] = field(default_factory=dict)
    dead: bool = False

    def life(self, chance: random.Random) -> Iterator[None]:
        while len(self.done) < len(STEPS):
            ready = [one for one, needs in STEPS.items() if one not in self.done and self.done.keys() >= set(needs)]
            step = chance.choice(ready)
            try:
                found = self.claims.attempt(step, f"RUN {step}")
            except CacheAway:
                if chance.random() < 0.3:  # the link is given up: it is executed without a claim
                    yield from self._execute(step, chance)
                yield
                continue
            if isinstance(found, SharedResult):
                self.done[step] = found.text
            elif found is None:
                yield from self._execute(step, chance)
            yield

    def _execute(self, step: str, chance: random.Random) -> Iterator[None]:
        for _ in range(chance.randrange(1, 12)):
            for name in self.claims.held():
                with suppress(CacheAway):
                    self.claims.renew(name)
            yield
        self.executed.append(step)
        self.done[step] = f"{step} by {self.name}".encode()
        for _ in range(5):
            try:
                self.claims.publish(step, result(self.done[step]), [], anew=False, conditional=True)
            except CacheAway:
                yield
            else:
                return
        with suppress(CacheAway):
            self.claims.release(step)


def play(seed: int, *, hostile: bool) -> tuple[list[Builder], list[str]]:
    """Have three builders live, their turns in an order of chance."""
    chance = random.Random(seed)
    place = Place()
    executed: list[str] = []
    builders = []
    for name in ("anna", "bert", "carl"):
        claims, clock = builder(place, name, chance.uniform(0, 1e9))
        builders.append(Builder(name, claims, clock, chance.uniform(0.5, 2.0) if hostile else 1.0, executed))
    lives = {one.name: one.life(chance) for one in builders}
    faults = ("lost", "answer lost", "twice")
    place.fault = lambda: chance.choice(faults) if hostile and chance.random() < 0.15 else ""
    asleep = {one.name: 0 for one in builders}
    for _ in range(MOST):
        living = [one for one in builders if one.name in lives]
        if not living:
            return builders, executed
        for one in builders:
            one.clock.now += one.rate * TTL / (2 * BEATS)
        for one in living if not hostile else chance.sample(living, len(living)):
            if asleep[one.name]:
                asleep[one.name] -= 1
                continue
            if hostile and chance.random() < 0.02:
                asleep[one.name] = chance.randrange(60)
            if hostile and len(living) > 1 and chance.random() < 0.01:
                one.dead = True
                del lives[one.name]
                break
            if hostile and chance.random() < 0.01 and place.found:
                name = chance.choice(list(place.found))
                place.found[name] = StoredNote(chance.choice([b"", FREE, b"nonsense"]), f"x{chance.random()}")
            if next(lives[one.name], StopIteration) is StopIteration:
                del lives[one.name]
    pytest.fail(f"seed {seed}: they wait for ever: {[(one.name, sorted(one.done)) for one in builders]}")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 1 << 40))
def test_whatever_happens_who_lives_has_what_the_keys_lead_to(seed: int) -> None:
    builders, executed = play(seed, hostile=True)
    for one in builders:
        if not one.dead:
            assert {step: text.split()[0].decode() for step, text in one.done.items()} == {step: step for step in STEPS}
    assert set(executed) == set(STEPS) or any(one.dead for one in builders)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 40))
def test_where_nothing_goes_wrong_nothing_is_done_twice(seed: int) -> None:
    builders, executed = play(seed, hostile=False)
    assert sorted(executed) == sorted(STEPS)
    first, *others = builders
    assert all(one.done == first.done for one in others), "all have the same layers"
