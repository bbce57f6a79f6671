from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory, count_files, hides, read_entries, some_files

if TYPE_CHECKING:
    import random

NAMES = st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.binary(min_size=1, max_size=4)
    .map(lambda name: name.replace(b"/", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape"))
    .filter(bool),
)
PATHS = st.lists(NAMES, max_size=4).map("/".join)
ENTRIES = st.builds(
    Entry,
    path=PATHS,
    kind=st.sampled_from([FILE, DIR, SYMLINK, WHITEOUT]),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32),
    gid=st.integers(0, 2**32),
    size=st.integers(0, 2**60),
    digest=st.sampled_from(["", "sha256:" + "0" * 64]),
    link=PATHS,
    device=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    xattrs=st.dictionaries(NAMES, st.binary(max_size=9), max_size=2).map(lambda pairs: tuple(sorted(pairs.items()))),
    mtime=st.integers(-(2**60), 2**60),
    opaque=st.booleans(),
    implied=st.booleans(),
    stamp=st.just(""),
)


@given(st.lists(ENTRIES, max_size=6))
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    inventory = Inventory(entries)
    again = Inventory.from_bytes(inventory.to_bytes())
    assert again == inventory
    assert again.layer_digest == inventory.layer_digest


PLAIN = ENTRIES.map(
    lambda entry: entry._replace(
        kind=DIR if not entry.path or entry.kind == WHITEOUT else entry.kind, opaque=False, implied=not entry.path
    )
)


@given(st.lists(st.one_of(PLAIN, ENTRIES), max_size=4, unique_by=lambda entry: entry.path))
def test_what_is_asked_of_bytes_is_no_better_than_what_is_so(entries: list[Entry]) -> None:
    inventory = Inventory(entries)
    read = Inventory.lazily(inventory.to_bytes())
    assert inventory.is_plain == all(
        entry.kind in (FILE, DIR, SYMLINK) and not entry.opaque and (not entry.implied or not entry.path)
        for entry in entries
    )
    assert read.is_plain == inventory.is_plain
    assert read.has_attributes == inventory.has_attributes == any(entry.xattrs for entry in entries)


@pytest.mark.parametrize("kind", [HARDLINK, FIFO, CHAR, BLOCK, WHITEOUT])
def test_links_and_special_files_are_not_plain_but_may_be_named_so(kind: str) -> None:
    root, file = Entry("", DIR, implied=True), Entry(kind, FILE)
    assert Inventory.lazily(Inventory([root, file]).to_bytes()).is_plain
    assert not Inventory.lazily(Inventory([root, Entry("odd", kind)]).to_bytes()).is_plain
    foreign = Entry("odd", FILE, xattrs=(("system.posix_acl_access", b"1"),))
    assert not Inventory.lazily(Inventory([root, foreign]).to_bytes()).is_plain


@given(ENTRIES, ENTRIES)
def test_the_layer_digest_tells_all_but_times_apart(one: Entry, other: Entry) -> None:
    same = one._replace(mtime=0) == other._replace(mtime=0)
    assert (Inventory([one]).layer_digest == Inventory([other]).layer_digest) == same


@given(st.lists(ENTRIES, max_size=6, unique_by=lambda entry: entry.path), st.randoms())
def test_the_order_is_that_of_path_components(entries: list[Entry], chance: random.Random) -> None:
    def parts(entry: Entry) -> list[bytes]:
        return [part.encode("utf-8", "surrogateescape") for part in entry.path.split("/") if entry.path]

    wanted = sorted(entries, key=parts)
    chance.shuffle(entries)
    assert list(Inventory(entries)) == wanted


@given(st.lists(ENTRIES, max_size=4), st.data())
def test_damage_is_an_archive_error_or_another_inventory(entries: list[Entry], data: st.DataObject) -> None:
    good = Inventory(entries).to_bytes()
    cut = data.draw(st.integers(0, len(good)))
    try:
        again = Inventory.from_bytes(good[:cut])
    except ArchiveError:
        return
    assert list(again) == list(Inventory(entries))[: len(again)]


@given(st.lists(ENTRIES, max_size=8))
def test_what_is_told_without_making_entries(entries: list[Entry]) -> None:
    inventory = Inventory(entries)
    data = inventory.to_bytes()
    assert list(read_entries(BytesIO(data).read)) == list(inventory)
    if any(entry.kind == WHITEOUT or entry.opaque for entry in entries):
        assert hides(data)
    plain = [entry._replace(opaque=False, implied=False) for entry in inventory]
    wanted = [(entry.digest, entry.mtime) for entry in plain if entry.digest]
    data = Inventory(plain).to_bytes()
    assert count_files(data) == len(wanted)
    assert set(some_files(data, len(data))) == set(wanted)
    assert set(some_files(data, 2)) <= set(wanted)
    files = [entry._replace(path=f"f{number}") for number, entry in enumerate(plain) if entry.kind != WHITEOUT]
    assert not hides(Inventory([entry._replace(link="") for entry in files]).to_bytes())


ODD = st.sampled_from(["dir", "file", "whiteout", "o5", "644", "0", "sha256:" + "0" * 64, "dir/file", "file/0"])
ODD_ENTRIES = st.builds(
    Entry,
    path=ODD | PATHS,
    kind=st.sampled_from([FILE, DIR, SYMLINK, WHITEOUT]),
    digest=st.sampled_from(["", "sha256:" + "0" * 64]),
    link=ODD,
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 700),
    gid=st.integers(0, 700),
    size=st.sampled_from([0, 644]),
    device=st.just((0, 0)),
    xattrs=st.just(()),
    mtime=st.sampled_from([0, 5, 644]),
    opaque=st.booleans(),
    stamp=st.just(""),
)


@given(
    st.lists(ODD_ENTRIES | ENTRIES, max_size=8, unique_by=lambda entry: entry.path), st.lists(ODD | PATHS, max_size=5)
)
def test_single_entries_are_found_without_making_all(entries: list[Entry], others: list[str]) -> None:
    whole = Inventory(entries)
    lazy = Inventory.lazily(whole.to_bytes())
    for path in ["", *others, *(entry.path for entry in entries), *(entry.link for entry in entries)]:
        assert lazy.get(path) == whole.get(path)
    assert list(lazy) == list(whole)
    assert [lazy.get(entry.path) for entry in entries] == entries


def test_many_questions_make_all_entries() -> None:
    whole = Inventory(Entry(f"d/{number:03}", FILE, size=number) for number in range(200))
    lazy = Inventory.lazily(whole.to_bytes())
    for number in range(210):
        assert lazy.get(f"d/{number:03}") == whole.get(f"d/{number:03}")


def test_lookups() -> None:
    inventory = Inventory(
        [Entry("b/y", FILE, size=5), Entry("b", DIR), Entry("a", WHITEOUT), Entry("b/x", WHITEOUT), Entry("", DIR)]
    )
    assert inventory.names("") == ["a", "b"]
    assert inventory.names("b") == ["x", "y"]
    assert list(inventory.names("c")) == []
    assert inventory.get("b/y") == Entry("b/y", FILE, size=5)
    assert inventory.get("c") is None
    assert inventory.size == 5
    assert [entry.path for entry in inventory.whiteouts] == ["a", "b/x"]
    assert len(inventory) == 5


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"pybuild inventory 2\n", b"pybuild inventory 1\nx", b"pybuild inventory 1\n" + b"x\0" * 11]
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        Inventory.from_bytes(data)
