"""What an observation holds of layers, and what makes it one of something else."""

from __future__ import annotations

import json

import pytest

from buildah_py.cache.observations import ABSENT, EXISTS, LISTED, READ, TIMED, Observation, Slot, observe, unpack
from buildah_py.errors import CacheError
from buildah_py.layers.entry import DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.stamps import ALL_GIVEN, NO_STAMPS, Stamps

NOTE = (("user.note", b"1"),)
ENTRIES = (
    Entry("", DIR, 0o755),
    Entry("d", DIR, 0o755, mtime=7 * SECOND),
    Entry("d/f", FILE, 0o644, 1, 2, 3, "sha256:aa", xattrs=NOTE, mtime=7 * SECOND),
    Entry("d/l", SYMLINK, 0o777, link="f", mtime=7 * SECOND),
)
SEEN = {"": EXISTS, "d": EXISTS | LISTED, "d/f": EXISTS | READ, "d/l": EXISTS, "no": ABSENT}


def slot(*changed: Entry, without: str | None = None, stamps: Stamps = NO_STAMPS) -> Slot:
    entries = {entry.path: entry for entry in (*ENTRIES, *changed) if entry.path != without}
    return Slot(Inventory(entries.values()), stamps)


def entry(path: str, **changes: object) -> Entry:
    found = next(entry for entry in ENTRIES if entry.path == path)
    return found._replace(**changes)  # type: ignore[arg-type]


CHANGES = {
    "mode": (entry("d/f", mode=0o600), "/d/f changed in size, mode"),
    "user": (entry("d/f", uid=9), "/d/f changed in size, mode"),
    "group": (entry("d/f", gid=9), "/d/f changed in size, mode"),
    "size": (entry("d/f", size=9), "/d/f changed in size, mode"),
    "attribute": (entry("d/f", xattrs=(("user.note", b"2"),)), "/d/f changed in size, mode"),
    "time": (entry("d/f", mtime=8 * SECOND), "/d/f changed in size, mode"),
    "content": (entry("d/f", digest="sha256:bb"), "/d/f changed, which it read"),
    "link": (entry("d/l", link="g"), "/d/l changed in size, mode"),
    "kind": (Entry("d/l", FILE, 0o777, mtime=7 * SECOND), "the names in /d differ"),
    "mode of a directory": (entry("d", mode=0o700), "/d changed in size, mode"),
    "mode of the root": (entry("", mode=0o700), "/ changed in size, mode"),
    "name": (Entry("d/n", FILE), "the names in /d differ"),
    "appeared": (Entry("no", FILE), "/no appeared, which it looked for"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_learned_and_is_another_now(name: str) -> None:
    changed, told = CHANGES[name]
    observation = unpack(observe([slot()], [SEEN]).pack())
    assert observation.unlike([slot()]) is None
    unlike = observation.unlike([slot(changed)])
    assert unlike is not None
    assert unlike.text.startswith(told)


def test_what_was_not_learned() -> None:
    observation = observe([slot()], [{"d": EXISTS, "d/f": EXISTS, "d/l": EXISTS}])
    changed = slot(entry("d/f", digest="sha256:bb"), Entry("d/n", FILE), entry("", mode=0o700))
    assert observation.unlike([changed]) is None
    gone = observation.unlike([slot(without="d/l")])
    assert gone is not None
    assert gone.text == "/d/l is gone, which it looked at"


def test_kinds_in_a_list() -> None:
    """A listing tells of each name whether it is a directory."""
    observation = observe([slot()], [{"d": EXISTS | LISTED}])
    assert observation.unlike([slot(entry("d/f", size=9, mode=0o600))]) is None
    unlike = observation.unlike([slot(Entry("d/f", SYMLINK, link="l", xattrs=entry("d/f").xattrs))])
    assert unlike is not None
    assert unlike.text == "the names in /d differ, which it listed"


def test_times_that_are_not_content() -> None:
    other = slot(entry("d/f", mtime=8 * SECOND), stamps=ALL_GIVEN)
    assert observe([slot(stamps=ALL_GIVEN)], [SEEN]).unlike([other]) is None
    assert observe([slot(stamps=ALL_GIVEN)], [{"d/f": EXISTS | TIMED}]).unlike([other]) is not None
    assert observe([slot()], [SEEN]).unlike([slot(stamps=ALL_GIVEN)]) is not None  # it was content, and is not


@pytest.mark.parametrize(
    "odd",
    [
        Entry("h", HARDLINK, link="d/f"),
        Entry("p", FIFO),
        Entry("w", WHITEOUT),
        Entry("o", DIR, opaque=True),
        Entry("i", DIR, implied=True),
        Entry("a", FILE, xattrs=(("system.posix_acl_access", b""),)),
        Entry("t", FILE, xattrs=(("trusted.note", b""),)),
    ],
    ids=lambda odd: odd.path,
)
def test_what_counts_as_a_whole(odd: Entry) -> None:
    """Of these a path tells something that is not of it alone; so does a layer that gets one."""
    assert slot().inventory.is_plain
    assert not slot(odd).inventory.is_plain
    whole = unpack(observe([slot(odd)], [None]).pack())
    assert whole.unlike([slot(odd)]) is None
    assert whole.unlike([slot(odd, entry("d/f", digest="sha256:bb"))]) is not None
    assert observe([slot()], [{}]).unlike([slot(odd)]) is not None


def test_each_slot_by_itself() -> None:
    observation = observe([slot(), slot()], [{"d/f": EXISTS | READ}, None])
    other = slot(entry("d/l", link="g"))
    assert observation.unlike([other, slot()]) is None
    assert observation.unlike([slot(), other]) is not None
    assert observation.unlike([slot()]) is not None
    assert observation.read == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"{}",
        b'{"version": 2, "slots": []}',
        b'{"version": 1}',
        b'{"version": 1, "slots": 7}',
        b'{"version": 1, "slots": [7]}',
        b'{"version": 1, "slots": [{"a": 7}]}',
        b'{"version": 1, "slots": [{"a": [1]}]}',
        b'{"version": 1, "slots": [{"a": [Infinity, ""]}]}',
        b'{"version": 1, "slots": [{"\\ud800": [1, ""]}]}',
        b"[" * 100_000,
    ],
)
def test_damage(data: bytes) -> None:
    with pytest.raises(CacheError):
        unpack(data)


def test_tokens_of_another_form_are_of_something_else() -> None:
    paths = {path: [flags, token] for path, flags in SEEN.items() for token in ("",)}
    observation = unpack(json.dumps({"version": 1, "slots": [paths]}).encode())
    assert isinstance(observation, Observation)
    assert observation.unlike([slot()]) is not None


def test_names_of_any_bytes() -> None:
    name = b"d/\xff\n\x1b".decode("utf-8", "surrogateescape")
    observation = unpack(observe([slot(Entry(name, FILE, digest="sha256:aa"))], [{name: EXISTS | READ}]).pack())
    assert observation.unlike([slot(Entry(name, FILE, digest="sha256:aa"))]) is None
    assert observation.unlike([slot(Entry(name, FILE, digest="sha256:bb"))]) is not None


def test_of_a_step_that_asked_for_too_much_only_that_is_known() -> None:
    seen = observe([slot()], [{"f": EXISTS | READ}])
    assert unpack(seen.pack()) == seen
    too_much = unpack(Observation((), 9000).pack())
    assert too_much.requests == 9000
    told = too_much.unlike([slot()])
    assert told is not None
    assert "so many files that it was not noted which (--observe=on)" in told.text
