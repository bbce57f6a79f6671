"""Claims in one shared place: whoever is about to do a step says so there, and again and again until it is done.

Nothing here decides what is true, keys do: a claim that is lost, or held by two, costs time alone. No clock of one
machine is compared with that of another: a claim is stale when an observer has seen no other version of it for as long
as it says, by the observer's own clock that nobody sets, and has looked several times meanwhile.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.sharing import notes
from buildah_py.sharing.backend import ABSENT
from buildah_py.sharing.notes import FREE, Claim, SharedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Notes, StoredNote

BEATS: Final = 6
"""How often a claim is written in the time after which it is stale."""
_LOOKS: Final = 4
"""An observer looks at least that often before it takes a claim for stale: it may have been cut off, too."""
_TRIES: Final = 4
_MOST: Final = 10
"""A claim may ask for so many times the observer's own patience."""


class Who(NamedTuple):
    """A builder, as others are told of it."""

    holder: str
    host: str
    pid: int


def myself() -> Who:
    """Name this build of this process."""
    return Who(secrets.token_hex(16), os.uname().nodename, os.getpid())


class _Held(NamedTuple):
    claim: Claim
    version: str
    began: float


class _Watched(NamedTuple):
    version: str
    quiet: float
    looked: float


class Claims:
    """Claims of one builder in one place. Everything raises what the place raises."""

    def __init__(self, place: Notes, ttl: float, who: Who, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.ttl = ttl
        self._place = place
        self._who = who
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._watched: dict[str, _Watched] = {}
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()

    def attempt(self, name: str, text: str) -> Claim | SharedResult | None:
        """Claim a name for what `text` says. None where it is ours, else whose it is, or the result that is there."""
        claim = Claim(self._who.holder, self._who.host, self._who.pid, text, self.ttl)
        found: Claim | SharedResult | None = claim._replace(holder="", host="another builder", pid=0)
        over = None if name in self._watched else ABSENT
        for _ in range(_TRIES):
            if over is not None:
                version = self._place.write_note(name, claim.to_bytes(), over=over)
                if version:
                    with self._lock:
                        self._held[name] = _Held(claim, version, self._clock())
                        self._watched.pop(name, None)
                    return None
            note = self._place.read_note(name)
            if note is None:
                over = ABSENT
                continue
            found = self._judge(name, note)
            if found is not None:
                return found
            over = note.version
        return found or claim._replace(holder="", host="another builder", pid=0)

    def look(self, name: str) -> Claim | SharedResult | None:
        """Look at what somebody else has claimed; None where it is free, or stale."""
        note = self._place.read_note(name)
        return None if note is None else self._judge(name, note)

    def held(self) -> list[str]:
        """Return the names that are ours."""
        with self._lock:
            return list(self._held)

    def is_held(self, name: str) -> bool:
        """Whether a name is ours."""
        return name in self._held

    def tell(self, name: str, line: str) -> None:
        """Have others see a line with the next renewal."""
        self._lines[name] = line

    def renew(self, name: str) -> bool:
        """Say again that a name is ours; whether it still was."""
        with self._lock:
            held = self._held.get(name)
            if held is None:
                return True
            seconds, line = self._clock() - held.began, self._lines.get(name, "")
            claim = held.claim._replace(beat=held.claim.beat + 1, seconds=seconds, line=line)
        version = self._place.write_note(name, claim.to_bytes(), over=held.version)
        if not version:
            version = self._own_version(name)
        with self._lock:
            if name in self._held:
                if version:
                    self._held[name] = held._replace(claim=claim, version=version)
                else:
                    del self._held[name]
        return bool(version)

    def hand_over(self, place: Notes) -> None:
        """Reach the place another way."""
        self._place = place

    def release(self, name: str) -> None:
        """Let others have a name that is ours."""
        held = self._drop(name)
        if (
            held is not None
            and not self._place.write_note(name, FREE, over=held.version)
            and (version := self._own_version(name))  # it was renewed at that moment
        ):
            self._place.write_note(name, FREE, over=version)

    def publish(self, name: str, data: bytes, blobs: Sequence[Descriptor], *, anew: bool, conditional: bool) -> bool:
        """Put a result in place of a claim, whoever has it; whether it is ours that stands there now.

        The first result of a step stays, so that all who need it have the same layer, unless it is made `anew`; where
        writes are not `conditional` nearly always.
        """
        if not conditional:
            note = None if anew else self._place.read_note(name)
            kept = note is not None and isinstance(notes.read(note.data, name), SharedResult)
            if not kept:
                self._place.write_note(name, data, over=None, blobs=blobs)
            self._drop(name)
            return not kept
        held = self._held.get(name)
        over = held.version if held is not None else ABSENT
        for _ in range(_TRIES):
            if self._place.write_note(name, data, over=over, blobs=blobs):
                self._drop(name)
                return True
            note = self._place.read_note(name)
            over = ABSENT if note is None else note.version
            if note is not None and note.data == data:
                self._drop(name)
                return True
            if note is not None and not anew and isinstance(notes.read(note.data, name), SharedResult):
                self._drop(name)
                return False
        self._place.write_note(name, data, over=None, blobs=blobs)
        self._drop(name)
        return True

    def _drop(self, name: str) -> _Held | None:
        with self._lock:
            self._lines.pop(name, None)
            return self._held.pop(name, None)

    def _own_version(self, name: str) -> str:
        """Give the version of a note that is our claim, though another one was expected: an answer may get lost."""
        note = self._place.read_note(name)
        found = None if note is None else notes.read(note.data, name)
        return note.version if note and isinstance(found, Claim) and found.holder == self._who.holder else ABSENT

    def _judge(self, name: str, note: StoredNote) -> Claim | SharedResult | None:
        found = notes.read(note.data, name)
        if not isinstance(found, Claim) or found.holder == self._who.holder:
            self._watched.pop(name, None)
            return found if isinstance(found, SharedResult) else None
        patience = max(self.ttl, min(found.ttl, _MOST * self.ttl))
        now = self._clock()
        with self._lock:
            before = self._watched.get(name)
            if before is None or before.version != note.version:
                self._watched[name] = _Watched(note.version, 0.0, now)
                return found
            quiet = before.quiet + min(now - before.looked, patience / _LOOKS)
            self._watched[name] = _Watched(note.version, quiet, now)
        return None if quiet >= patience else found
