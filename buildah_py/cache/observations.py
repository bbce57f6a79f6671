"""What a RUN learned of layers whose contents its key need not hold, and whether others would have told it the same.

A layer of a COPY or ADD is a *slot*. Of a slot an observation holds, for each path that was looked up, a token of what
there was to learn: that it is not there; kind, mode, owner, size, link, attributes and a time that is content; with a
first read the content; with a listing the names and kinds in it. A command that is told the same does the same: see
docs/observing.md. A slot that could not be observed counts as a whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.cache.keys import canonical_json
from buildah_py.errors import CacheError
from buildah_py.layers.entry import DIR, SECOND, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.stamps import Stamps

EXISTS, ABSENT, LISTED, READ = 1, 2, 4, 8
"""What was learned of a path; flags of `sandbox.observer`."""
TIMED = 16
"""Its time counts, even one that is not content: the step may have set it to what it was."""

_VERSION: Final = 1
_HALF: Final = 16  # bytes of a token's digest
_ABSENT: Final = "-"


class Slot(NamedTuple):
    """A layer as a slot: its inventory, and its times that are not content."""

    inventory: Inventory
    stamps: Stamps

    def whole(self) -> str:
        """Give the digest of all its content."""
        return self.inventory.content_digest(self.stamps)

    def token(self, path: str, flags: int) -> str:
        """Say what there is to learn of a path."""
        entry = self.inventory.get(path)
        if entry is None and path:
            return _ABSENT
        entry = entry or Entry("", DIR, implied=True)
        parts = [_digest(self._described(entry, timed=flags & TIMED > 0))]
        if flags & READ:
            parts.append(entry.digest)
        if flags & LISTED:
            prefix = f"{path}/" if path else ""
            names = self.inventory.names(path)
            parts.append(_digest([[name, _kind(self.inventory.get(prefix + name))] for name in names]))
        return " ".join(parts)

    def _described(self, entry: Entry, *, timed: bool) -> list[object]:
        if entry.implied:
            return ["implied"]
        time = None if self.stamps.of(entry.mtime) else entry.mtime // SECOND
        if timed:
            time = entry.mtime
        attributes = [[name, value.hex()] for name, value in entry.xattrs]
        return [entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.link, attributes, time]


class Learned(NamedTuple):
    """Paths of a slot with their flags and tokens; the digest of `whole` where it was not observed."""

    paths: Mapping[str, tuple[int, str]]
    whole: str = ""


class Unlike(NamedTuple):
    """The first thing that a command would be told otherwise, in words, and how many there are."""

    text: str
    number: int


class Observation(NamedTuple):
    """What a RUN learned, slot by slot; or but the number of its `requests`, where it asked for too much.

    Whether files had extended attributes is learned by whoever asks for one in vain: see `sandbox.observer`.
    """

    slots: tuple[Learned, ...]
    requests: int = 0
    attributes: bool = False

    @property
    def read(self) -> int:
        """How many files were read."""
        return sum(flags & READ > 0 for slot in self.slots for flags, _ in slot.paths.values())

    def unlike(self, slots: Sequence[Slot]) -> Unlike | None:
        """Say what other slots would have told; None where it is the same."""
        if self.requests:
            return Unlike("it looked at so many files that it was not noted which (--observe=on)", 1)
        if len(slots) != len(self.slots):
            return Unlike("other COPY steps stand before it", 1)
        if self.attributes != have_attributes(slots):
            return Unlike("a copied file has an extended attribute, as none had, or none has one any more", 1)
        found = [text for learned, slot in zip(self.slots, slots, strict=True) for text in _differing(learned, slot)]
        return Unlike(found[0], len(found)) if found else None

    def pack(self) -> bytes:
        """Return the form that is kept."""
        slots = [one.whole or {path: list(known) for path, known in sorted(one.paths.items())} for one in self.slots]
        more = {"requests": self.requests, "attributes": self.attributes}
        return canonical_json({"version": _VERSION, "slots": slots, **more})


def unpack(data: bytes) -> Observation:
    """Read what `pack` gave. Raises CacheError for anything else."""
    try:
        raw = json.loads(data)
        if raw["version"] != _VERSION:
            raise CacheError("an observation is of another version of pybuild")
        slots = tuple(map(_learned, raw["slots"]))
        return Observation(slots, int(raw.get("requests", 0)), raw.get("attributes") is True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise CacheError("an observation is damaged") from error


def _learned(raw: Any) -> Learned:
    if isinstance(raw, str):
        return Learned({}, raw)
    for path in raw:
        os.fsencode(path)  # as inventories have it
    return Learned({path: (int(flags), str(token)) for path, (flags, token) in raw.items()})


def have_attributes(slots: Sequence[Slot]) -> bool:
    """Whether files of slots have extended attributes."""
    return any(slot.inventory.has_attributes for slot in slots)


def observe(slots: Sequence[Slot], seen: Sequence[Mapping[str, int] | None]) -> Observation:
    """Make the observation of flags by paths for each slot; None stands for one that was not observed."""
    return Observation(
        tuple(
            Learned({}, slot.whole())
            if flags is None
            else Learned({path: (known, slot.token(path, known)) for path, known in flags.items()})
            for slot, flags in zip(slots, seen, strict=True)
        ),
        attributes=have_attributes(slots),
    )


def _differing(learned: Learned, slot: Slot) -> Iterator[str]:
    if learned.whole:
        if slot.whole() != learned.whole:
            yield "files that count as a whole have changed"
        return
    if not slot.inventory.is_plain:
        yield "a COPY holds links, special files or marks that cannot be observed"
        return
    for path, (flags, token) in learned.paths.items():
        now = slot.token(path, flags)
        if now != token:
            yield _told(f"/{path}", flags, token.split(" "), now.split(" "))


def _told(path: str, flags: int, before: Sequence[str], now: Sequence[str]) -> str:
    """Say how a path differs."""
    if before == [_ABSENT]:
        return f"{path} appeared, which it looked for"
    if now == [_ABSENT]:
        return f"{path} is gone, which it looked at"
    if flags & READ and before[1:2] != now[1:2]:
        return f"{path} changed, which it read"
    if before[0] != now[0]:
        return f"{path} changed in size, mode, owner, kind or time, which it looked at"
    return f"the names in {path} differ, which it listed"


def _kind(entry: Entry | None) -> str:
    assert entry is not None
    return entry.kind


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":")).encode("ascii")).hexdigest()[: 2 * _HALF]
