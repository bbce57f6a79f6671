"""JointWork that builders share through a directory, each with its threads: who waits for whom, and how it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.errors import CacheAway, CacheError
from buildah_py.progress import events
from buildah_py.sharing.claims import Who
from buildah_py.sharing.imported import ImportedCache
from buildah_py.sharing.local import LocalCache
from buildah_py.sharing.meeting_place import MOUNT, STEP, MeetingPlace
from buildah_py.sharing.notes import name_of
from buildah_py.sharing.spec import parse_share
from buildah_py.sharing.work import JointWork
from buildah_py.store.cache_mounts import CacheName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildah_py.sharing.backend import StoredNote

LONG = 20


class Place(LocalCache):
    """A directory whose way `fault` can break."""

    fault: Exception | None = None
    why = ""

    def unconditional(self) -> str:
        return self.why

    def read_note(self, name: str) -> StoredNote | None:
        if self.fault is not None:
            raise self.fault
        return super().read_note(name)

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Any] = ()) -> str:
        if self.fault is not None:
            raise self.fault
        return super().write_note(name, data, over=over, blobs=blobs)


@dataclass
class Doing:
    id: int = 1
    text: str = "RUN make"
    mounts: tuple[CacheName, ...] = ()
    private: bool = False
    quick: bool = False


@dataclass
class Builder:
    """One builder's work, and what it tells."""

    backend: Place
    work: JointWork
    told: list[events.Event]
    cancelled: threading.Event = field(default_factory=threading.Event)

    def texts(self) -> list[str]:
        return [one.text for one in self.told if isinstance(one, events.Note | events.Warning)]

    def starts(self, key: str, **doing: Any) -> bool | threading.Event:
        """Begin a step; where it is elsewhere, an event that is set when it is worth another try."""
        begun = self.work.begin(key, Doing(**doing))
        if not callable(begun):
            return begun
        event = threading.Event()
        begun(event.set)
        return event

    def waits(self, key: str, **doing: Any) -> threading.Event:
        begun = self.starts(key, **doing)
        assert isinstance(begun, threading.Event), begun
        return begun


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Builder]]:
    """Make builders that share a directory."""
    made: list[Builder] = []

    def builder(name: str, ttl: str = "1s", kind: type[Place] = Place) -> Builder:
        spec = parse_share(f"type=local,dest={tmp_path}/shared,claim-ttl={ttl}")
        backend = kind(spec.where["dest"])
        told: list[events.Event] = []
        cancelled = threading.Event()

        def note(text: str) -> None:
            told.append(events.Note(text))

        def warn(text: str) -> None:
            told.append(events.Warning(text))

        place = MeetingPlace(
            spec, ImportedCache(backend, (), warn), Who(name, f"host-{name}", 1), note, warn, cancelled.is_set
        )
        made.append(Builder(backend, JointWork([place], told.append, cancelled.is_set), told, cancelled))
        return made[-1]

    yield builder
    for one in made:
        one.work.close()


def test_another_waits_until_a_step_is_given_back(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    assert anna.starts("key") is False
    again = bert.waits("key")
    assert bert.starts("other") is False, "meanwhile it does something else"
    anna.work.failed("key")
    assert again.wait(LONG)
    assert bert.starts("key") is False


def test_a_builder_that_renews_keeps_its_step_and_is_seen(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    heard: list[events.Event] = []
    hear = anna.work.hearing(heard.append)
    assert anna.starts("key", id=3, text="RUN make all") is False
    hear(events.StepOutput(3, 1, b"compiling a.c\ncompil"))
    hear(events.StepOutput(3, 1, b"ing b.c\nhalf a li"))
    hear(events.StepOutput(4, 1, b"of another\n"))
    assert len(heard) == 3
    again = bert.waits("key", id=9)
    assert not again.wait(2.2), "it is renewed for longer than it counts"
    (line,) = [one for one in bert.told if isinstance(one, events.Note)][:1]
    assert line.id == 9
    assert line.text.startswith("waiting for host-anna (pid 1): RUN make all, ")
    assert line.text.endswith(": compiling b.c")
    anna.work.close()
    assert again.wait(LONG), "it was given back at the end"


def test_what_a_step_with_a_secret_writes_is_not_for_others(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    assert anna.starts("key", id=3, private=True) is False
    anna.work.hearing(lambda _: None)(events.StepOutput(3, 1, b"the password is x\n"))
    anna.work.places[0].claims.renew(name_of(STEP, "key"))
    assert b"password" not in Path(anna.backend.location, "notes", name_of(STEP, "key")).read_bytes()
    bert.waits("key")


def test_a_builder_that_is_gone_is_followed(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    assert anna.work.places[0].claims.attempt(name_of(STEP, "key"), "RUN") is None  # and never again
    assert bert.waits("key").wait(LONG)
    assert bert.starts("key") is False


def test_a_place_that_is_away_leaves_nobody_waiting(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    assert anna.starts("key") is False
    again = bert.waits("key")
    bert.backend.fault = CacheAway("no route to host")
    assert again.wait(LONG)
    assert bert.starts("key") is False, "without a claim"
    assert any("was not to be reached for 1 s" in text for text in bert.texts())
    bert.backend.fault = None
    place = bert.work.places[0]
    while not place.link.is_open:
        threading.Event().wait(0.05)
    bert.waits("key")


def test_a_place_that_refuses_is_one_warning(make: Callable[..., Builder]) -> None:
    anna = make("anna")
    anna.backend.fault = CacheError("the bucket is full", hint="empty it")
    for number in range(3):
        assert anna.starts(f"key {number}") is False
    assert len([one for one in anna.told if isinstance(one, events.Warning)]) == 1


def test_a_place_without_conditions_is_named_and_nothing_is_claimed(make: Callable[..., Builder]) -> None:
    class Unconditional(Place):
        why = "it has no conditional writes"

    anna, bert = make("anna", kind=Unconditional), make("bert", kind=Unconditional)
    assert anna.starts("key") is bert.starts("key") is False
    (text,) = anna.texts()
    assert "it has no conditional writes: no step is claimed there" in text


def test_a_place_that_takes_nothing_is_read_all_the_same(make: Callable[..., Builder]) -> None:
    class Counting(Place):
        reads = 0

        def read_note(self, name: str) -> StoredNote | None:
            self.reads += 1
            return super().read_note(name)

    anna = make("anna", kind=Counting)
    place: Any = anna.backend
    anna.work.places[0].link.close("it is read only")
    anna.work.places[0].find("key")
    anna.work.places[0].find("another")
    assert place.reads == 2
    place.fault = CacheError("no")
    anna.work.places[0].find("key")
    anna.work.places[0].find("key")
    assert place.reads == 3, "what cannot be read either is left alone"


def test_who_is_interrupted_gives_back_what_it_held(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna", ttl="1h"), make("bert", ttl="1h")
    assert anna.starts("key") is False
    again = bert.waits("key")
    anna.cancelled.set()
    anna.backend.fault = CacheAway("interrupted")
    anna.work.close(lambda: make("another way of anna").work.places)
    assert again.wait(LONG)


def test_what_is_quick_is_not_claimed_where_that_takes_long(make: Callable[..., Builder]) -> None:
    class Dear(Place):
        claims_are_dear = True

    anna, bert = make("anna", kind=Dear), make("bert", kind=Dear)
    assert anna.starts("copy", quick=True) is bert.starts("copy", quick=True) is False
    assert anna.starts("run") is False
    bert.waits("run")


def test_a_cache_mount_stays_with_a_builder_as_long_as_it_uses_it(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    apt = (CacheName("apt"),)
    assert anna.starts("one", mounts=apt) is False
    again = bert.waits("two", mounts=apt)
    assert anna.starts("three", mounts=apt) is False
    anna.work.failed("one")
    assert not again.wait(1.2), "the third uses it"
    anna.work.failed("three")
    assert again.wait(LONG), "nobody has used it for a while"
    assert bert.starts("two", mounts=apt) is False
    assert bert.work.places[0].claims.is_held(name_of(MOUNT, "apt"))


def test_builders_that_have_each_a_mount_that_both_need_go_on(make: Callable[..., Builder]) -> None:
    anna, bert = make("anna"), make("bert")
    both = CacheName("a"), CacheName("b")
    assert anna.starts("one", mounts=both[:1]) is False
    assert bert.starts("two", mounts=both[1:]) is False
    anna.work.failed("one")
    bert.work.failed("two")
    left = {"three": anna, "four": bert}
    for _ in range(50):
        for key, one in list(left.items()):
            begun = one.starts(key, mounts=both)
            if begun is False:
                one.work.failed(key)
                del left[key]
            elif isinstance(begun, threading.Event):
                begun.wait(0.5)
        if not left:
            return
    pytest.fail(f"they wait for each other: {list(left)}")


@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device"), CacheError("it is too large")])
def test_a_result_that_cannot_be_sent_frees_the_step(make: Callable[..., Builder], error: Exception | None) -> None:
    anna, bert = make("anna"), make("bert")
    assert anna.starts("key") is False
    again = bert.waits("key")

    def pack(*_: object) -> None:
        if error is not None:
            raise error

    record: Any = SimpleNamespace(key="key")
    anna.work.done("key", record, pack, anew=False)
    assert again.wait(LONG)
    assert bool([one for one in anna.told if isinstance(one, events.Warning)]) == bool(error)
    assert anna.work.places[0].link.is_open, "others can be sent"


def test_a_place_that_is_full_frees_all_that_was_claimed(make: Callable[..., Builder]) -> None:
    class Full(Place):
        def has(self, blob: object) -> bool:
            assert blob is None
            raise CacheError("the bucket is full")

    anna, bert = make("anna", kind=Full), make("bert")
    assert anna.starts("key") is anna.starts("running") is False
    waiting = [bert.waits("key"), bert.waits("running")]
    record: Any = SimpleNamespace(key="key")
    anna.work.done("key", record, lambda *_: SimpleNamespace(blob=None), anew=False)  # type: ignore[arg-type]
    assert all(one.wait(LONG) for one in waiting)
    (text,) = [one.text for one in anna.told if isinstance(one, events.Warning)]
    assert text.startswith("the bucket is full: steps are executed without claims from here on")
    assert anna.starts("third") is False, "without a claim"
    assert bert.starts("third") is False
