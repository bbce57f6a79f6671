"""The work of a build, shared with builders elsewhere: claims, waiting for others, and results handed on at once."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from buildah_py import meter
from buildah_py.errors import CacheAway, CacheError, Interrupted, PybuildError
from buildah_py.progress import events
from buildah_py.sharing.claims import BEATS
from buildah_py.sharing.meeting_place import MOUNT, STEP
from buildah_py.sharing.notes import Claim, SharedResult, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from buildah_py.cache import Record
    from buildah_py.progress.events import Event
    from buildah_py.sharing.meeting_place import MeetingPlace, Parcel
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store.cache_mounts import CacheName

    _Tell = Callable[[Callable[[], object]], object]
    PackStep = Callable[[Record, CacheSpec, Callable[[], bool]], Parcel | None]
    """Makes ready for a place what a step led to, unless that is stopped; None for what is not to be sent there."""

_SENDERS: Final = 3
_QUEUED: Final = 64
"""Results that may wait to be sent; who has more waits."""
_FIRST_LOOK: Final = 0.2
_LAST_LOOK: Final = 5.0
_PATIENCE: Final = 0.05
"""A step that has been waited for so long is looked at after that part of it again."""
_SILENCE: Final = 1.0
_TOLD: Final = 10.0
"""Seconds before the first line about a step that is waited for, and between two about the one waited for longest."""
_LEAVING: Final = 3.0
"""Seconds that a build takes at most to give its claims back in the end."""


class _Doing(Protocol):
    """A step as whoever executes it describes it: see the engine's `StepClaim`."""

    @property
    def id(self) -> int:
        """The id of its events."""

    @property
    def text(self) -> str:
        """How others may show it."""

    @property
    def mounts(self) -> tuple[CacheName, ...]:
        """Cache mounts that it needs for itself."""

    @property
    def private(self) -> bool:
        """Whether what it writes is not for others."""

    @property
    def quick(self) -> bool:
        """Whether it is worth no claim that takes long."""


class _Awaited:
    """A note that is waited for, by whom, and when it is looked at next."""

    def __init__(self, step: int, now: float) -> None:
        self.step = step
        self.began = now
        self.due = now + _FIRST_LOOK
        self.told = False
        self.calls: list[Callable[[], object]] = []
        self._beat = 0, now

    def since(self, beat: int, now: float) -> float:
        """Return how long ago a beat was first seen, in seconds."""
        if beat != self._beat[0]:
            self._beat = beat, now
        return now - self._beat[1]


class JointWork:
    """Steps that are done together with other builders, through `places`; claims are held in the first that can.

    `emit` is told of waits. Two threads of it live from the first claim to `close`: one renews what is held, one
    looks after what others hold.
    """

    def __init__(
        self,
        places: Sequence[MeetingPlace],
        emit: Callable[[Event], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self.places = places
        self._emit = emit
        self._cancelled = cancelled
        self._claiming: MeetingPlace | None = None
        self._known: set[str] = set()
        self._steps: dict[int, tuple[str, str]] = {}
        self._in_use: dict[str, int] = {}
        self._idle: dict[str, float] = {}
        self._mounts: dict[str, tuple[str, ...]] = {}
        self._awaited: dict[str, _Awaited] = {}
        self._told = 0.0
        self._sending: list[tuple[Future[object], Record, PackStep, bool]] = []
        self._pool: ThreadPoolExecutor | None = None
        self._room = threading.BoundedSemaphore(_QUEUED)
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._wake = threading.Condition()

    def of_build(self, pack: PackStep) -> BuildWork:
        """Put it together with what makes results of a build ready."""
        return BuildWork(self, pack)

    def hearing(self, emit: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return a sink that takes note of what steps write, before `emit` has it."""

        def hear(event: Event) -> None:
            if isinstance(event, events.StepOutput) and event.id in self._steps:
                self._hear(event)
            emit(event)

        return hear

    @property
    def is_used(self) -> bool:
        """Whether anything was claimed, or handed on."""
        return bool(self._threads) or self._pool is not None

    # what the engine asks

    def begin(self, key: str, doing: _Doing) -> bool | _Tell:
        """Claim a step with the cache mounts that it needs for itself; see the engine's StepSharing."""
        place = self._claiming or next((one for one in self.places if one.may_claim), None)
        if place is None or not place.may_claim or (doing.quick and place.backend.claims_are_dear):
            return False
        self._claiming = place
        self._start()
        held: list[str] = []
        try:
            for mount in sorted(doing.mounts):
                name = name_of(MOUNT, mount)
                taken = self._take_mount(place, name, mount)
                if isinstance(taken, Claim):
                    self._put_back(held)
                    return self._waiting(name, doing.id)
                held.append(name)
            name = name_of(STEP, key)
            found = place.link.ask(lambda: place.claims.attempt(name, doing.text))
        except CacheError:  # the link has said so
            self._put_back(held)
            return False
        if found is None:
            with self._wake:
                self._mounts[key] = tuple(held)
                if not doing.private:
                    self._steps[doing.id] = name, ""
            return False
        self._put_back(held)
        if isinstance(found, SharedResult):
            place.keep(name, found)
            self._known.add(key)
            return True
        return self._waiting(name, doing.id)

    def done(self, key: str, record: Record, pack: PackStep, *, anew: bool) -> None:
        """Send what a step led to, in the background; the claim stays until that is there."""
        self._free_mounts(key)
        anew = anew or key in self._known
        if all(place.link.is_off for place in self.places) or self._closed.is_set():
            return
        while not self._room.acquire(timeout=0.1):
            if self._cancelled():
                raise Interrupted("interrupted while results were sent")
        with self._wake:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(_SENDERS, thread_name_prefix="share")
            self._sending.append((self._pool.submit(self._send, record, pack, anew), record, pack, anew))

    def failed(self, key: str) -> None:
        """Let others try."""
        self._free_mounts(key)
        place, name = self._claiming, name_of(STEP, key)
        if place is not None and place.claims.is_held(name) and not self._cancelled():
            with suppress(CacheError):  # the link has said so
                place.link.ask(lambda: place.claims.release(name))

    # the end

    def finish(self) -> None:
        """Have everything sent that was made; what cannot be is told."""
        with self._wake:
            sending, self._sending = self._sending, []
        if not sending:
            return
        with meter.start("handing on what was made", len(sending), unit=meter.ITEMS, waits=True) as moved:
            left = 0
            for future, record, pack, anew in sending:
                if not future.result():  # once more: the place may answer again
                    left += not self._send_to_all(record, pack, anew)
                moved.add(1)
        if left:
            lost = ", ".join(place.backend.name for place in self.places if not place.link.is_open)
            text = f"{left} of the steps that were executed while it could not be reached are not shared"
            self._emit(events.Warning(f"{lost}: {text}"))

    def close(self, leaving: Callable[[], Sequence[MeetingPlace]] = lambda: ()) -> None:
        """End the threads, and give back what is held; `leaving` gives places that an interrupted build may ask."""
        self._closed.set()
        with self._wake:
            self._wake.notify_all()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        place = self._claiming
        if place is None:
            return
        if not self._cancelled():
            for thread in self._threads:
                thread.join(_LEAVING)
        names = place.claims.held()
        if not names or place.link.is_off:
            return
        if self._cancelled():
            other = next((one for one in leaving() if one.backend.name == place.backend.name), None)
            if other is None:
                return
            place.claims.hand_over(other.backend)
        threads = [threading.Thread(target=self._leave, args=(place, name), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        until = time.monotonic() + _LEAVING
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _leave(self, place: MeetingPlace, name: str) -> None:
        with suppress(CacheError, Interrupted):  # then it becomes stale
            place.claims.release(name)

    # sending

    def _send(self, record: Record, pack: PackStep, anew: bool) -> bool:
        try:
            return self._send_to_all(record, pack, anew)
        finally:
            self._room.release()

    def _send_to_all(self, record: Record, pack: PackStep, anew: bool) -> bool:
        """Send to all places; whether none was away."""
        sent = [self._send_to(place, record, pack, anew) for place in self.places]
        return all(sent)

    def _send_to(self, place: MeetingPlace, record: Record, pack: PackStep, anew: bool) -> bool:
        """Send to one place; whether it was not away."""
        name = name_of(STEP, record.key)
        try:
            parcel = self._packed(place, record, pack)
            if parcel is not None:
                place.publish(parcel, anew=anew)
        except CacheAway:
            return False
        except CacheError as error:
            place.link.close(error.message, error.hint)
            for held in place.claims.held():  # nobody is to wait for what will not come
                self._leave(place, held)
        except Interrupted:
            return True
        if place.claims.is_held(name):
            self._leave(place, name)
        return True

    def _packed(self, place: MeetingPlace, record: Record, pack: PackStep) -> Parcel | None:
        """Make a result ready; None where it is not to be sent, or cannot be, which is told."""
        if place.link.is_off:
            return None
        try:
            return pack(record, place.spec, self._cancelled)
        except Interrupted:
            raise
        except (PybuildError, OSError) as error:
            self._emit(events.Warning(f"a step is not shared: {error}"))
            return None

    # cache mounts

    def _take_mount(self, place: MeetingPlace, name: str, mount: CacheName) -> Claim | None:
        """Have a cache mount stay here as long as it is used; whose it is otherwise."""
        with self._wake:
            if place.claims.is_held(name):
                self._in_use[name] = self._in_use.get(name, 0) + 1
                return None
        found = place.link.ask(lambda: place.claims.attempt(name, f"cache mount {mount.shown}"))
        if isinstance(found, Claim):
            return found
        with self._wake:
            self._in_use[name] = self._in_use.get(name, 0) + 1
        return None

    def _free_mounts(self, key: str) -> None:
        with self._wake:
            names = self._mounts.pop(key, ())
        self._put_back(names)

    def _put_back(self, names: Sequence[str]) -> None:
        with self._wake:
            for name in names:
                self._in_use[name] -= 1
                self._idle[name] = time.monotonic()

    def _idle_mounts(self, place: MeetingPlace) -> list[str]:
        """Return the mounts that no step has used for a while: others may have them."""
        with self._wake:
            before = time.monotonic() - place.claims.ttl / BEATS
            idle = [name for name, since in self._idle.items() if not self._in_use.get(name) and since < before]
            for name in idle:
                del self._idle[name]
        return idle

    # waiting

    def _waiting(self, name: str, step: int) -> _Tell:
        def when(call: Callable[[], object]) -> None:
            with self._wake:
                now = time.monotonic()
                self._awaited.setdefault(name, _Awaited(step, now)).calls.append(call)
                self._wake.notify_all()

        return when

    def _start(self) -> None:
        with self._wake:
            if self._threads or self._closed.is_set():
                return
            self._threads = [
                threading.Thread(target=self._renew, name="share-renew", daemon=True),
                threading.Thread(target=self._look, name="share-look", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def _renew(self) -> None:
        """Renew what is held, until all is over."""
        place = self._claiming
        assert place is not None
        with suppress(Interrupted):
            while not self._closed.wait(place.claims.ttl / BEATS):
                try:
                    if not place.link.is_open:
                        place.link.probe(lambda: place.backend.read_note(name_of(STEP, "")))
                    for name in self._idle_mounts(place):
                        place.link.ask(lambda name=name: place.claims.release(name))  # type: ignore[misc]
                    for name in place.claims.held():
                        place.link.ask(lambda name=name: place.claims.renew(name))  # type: ignore[misc]
                except CacheError:  # the link has said so
                    if place.link.is_off:
                        return

    def _look(self) -> None:
        """Look after what others hold, until all is over; one request at a time, whatever there is to wait for."""
        place = self._claiming
        assert place is not None
        try:
            while True:
                with self._wake:
                    if self._closed.is_set():
                        return
                    name, awaited = min(self._awaited.items(), key=lambda one: one[1].due, default=("", None))
                    left = None if awaited is None else awaited.due - time.monotonic()
                    if left is None or left > 0:
                        self._wake.wait(left)
                        continue
                assert awaited is not None
                self._look_at(place, name, awaited)
        except Interrupted:
            pass
        finally:
            with self._wake:
                calls = [call for one in self._awaited.values() for call in one.calls]
                self._awaited.clear()
            for call in calls:
                call()

    def _look_at(self, place: MeetingPlace, name: str, awaited: _Awaited) -> None:
        try:
            found = place.link.ask(lambda: place.claims.look(name))
        except CacheError:  # the link has said so: it is to be tried without a claim
            found = None
        if isinstance(found, Claim):
            now = time.monotonic()
            interval = min((now - awaited.began) * _PATIENCE, place.claims.ttl / BEATS, _LAST_LOOK)
            awaited.due = now + max(interval, _FIRST_LOOK)
            seconds = found.seconds + awaited.since(found.beat, now)
            if self._is_worth_a_line(awaited, now):
                shown = found._replace(seconds=seconds).shown
                self._emit(events.Note(f"waiting for {shown}", awaited.step))
            return
        if isinstance(found, SharedResult):
            place.keep(name, found)
        with self._wake:
            del self._awaited[name]
        for call in awaited.calls:
            call()

    def _is_worth_a_line(self, awaited: _Awaited, now: float) -> bool:
        if not awaited.told:
            awaited.told = now - awaited.began >= _SILENCE
            self._told = now if awaited.told else self._told
            return awaited.told
        with self._wake:
            first = min(one.began for one in self._awaited.values())
        if awaited.began > first or now - self._told < _TOLD:
            return False
        self._told = now
        return True

    def _hear(self, event: events.StepOutput) -> None:
        """Keep the last line that a step wrote."""
        name, rest = self._steps[event.id]
        whole, _, rest = (rest + event.data.decode("utf-8", "replace"))[-2000:].rpartition("\n")
        self._steps[event.id] = name, rest
        line = whole.rstrip().rpartition("\n")[2].strip()
        if line and self._claiming is not None:
            self._claiming.claims.tell(name, line)


class BuildWork(NamedTuple):
    """The work as the steps of one build see it."""

    work: JointWork
    pack: PackStep

    def begin(self, key: str, doing: _Doing) -> bool | _Tell:
        """Claim a step."""
        return self.work.begin(key, doing)

    def done(self, key: str, record: Record, *, anew: bool = False) -> None:
        """Hand on what it led to."""
        self.work.done(key, record, self.pack, anew=anew)

    def failed(self, key: str) -> None:
        """Let others try it."""
        self.work.failed(key)
