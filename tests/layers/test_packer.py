from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError, StoreError
from buildah_py.layers import PATCH, TAR
from buildah_py.layers.capture import capture
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK
from buildah_py.layers.pack_file import PatchBase, Reading
from buildah_py.layers.packed import PackedTar
from buildah_py.layers.packer import LayerPacker
from buildah_py.layers.spread import entries_of, spread, spread_delta
from buildah_py.layers.tar import pack
from buildah_py.layers.writer import LayerWriter
from tests.layers.layer_trees import KINDS, PATHS, Change, change, look, overlay

if TYPE_CHECKING:
    from buildah_py.layers.inventory import Captured

pytestmark = pytest.mark.root

COPIED = [kind for kind in KINDS if kind not in ("fifo", "device", "root_mode")]
CHANGES = st.lists(st.tuples(st.sampled_from(COPIED), PATHS, PATHS, st.integers(0, 7)), max_size=25)
FEW = st.lists(st.tuples(st.sampled_from(COPIED), PATHS, PATHS, st.integers(0, 7)), max_size=3)


class Bench:
    """A tree that changes, and the layers that were packed of it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tree = place / "tree"
        self.tree.mkdir()
        self.homes: list[Path] = []
        self.reused = 0

    def fill(self, files: int = 40) -> None:
        for number in range(files):
            path = self.tree / f"d{number % 4}" / f"f{number:02}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"%d " % number * 100)

    def look(self) -> Captured:
        return capture(str(self.tree), ())

    def pack(self, captured: Captured, base: PatchBase | None = None) -> Captured:
        home = self.place / f"layer{len(self.homes)}"
        home.mkdir()
        self.homes.append(home)
        with LayerPacker(str(home), base) as packer:
            for entry in captured.inventory:
                attributes = (entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
                if entry.kind == DIR:
                    packer.add_dir(entry.path, *attributes, implied=not entry.path)
                elif entry.kind == SYMLINK:
                    packer.add_symlink(entry.path, entry.link, entry.uid, entry.gid, entry.mtime)
                elif entry.kind == HARDLINK:
                    packer.add_hardlink(entry.path, entry.link)
                elif packer.reuse(entry):
                    self.reused += 1
                elif entry.size > 100_000:
                    with open(self.tree / entry.path, "rb") as file:
                        assert packer.add_file(entry.path, file.fileno(), *attributes) == entry
                else:
                    packer.add_small_file(entry, (self.tree / entry.path).read_bytes())
            made = packer.finish()
            assert packer.path == str(home / (PATCH if made.base else TAR))
        return made

    def patch(self, captured: Captured, below: Captured) -> Captured:
        path = self.homes[0] / TAR
        with Reading(str(path)) as reading:
            return self.pack(captured, PatchBase(below.diff_id, str(path), iter(below.inventory), reading))

    def open(self, number: int) -> PackedTar:
        home = self.homes[number]
        if (home / TAR).exists():
            return PackedTar(str(home / TAR))
        return PackedTar(str(home / PATCH), lambda _: str(self.homes[0] / TAR))

    def spread(self, number: int, made: Captured) -> Path:
        directory = self.place / f"spread{number}"
        directory.mkdir()
        with self.open(number) as packed, LayerWriter(str(directory), digest=False) as writer:
            spread(packed, made.inventory, writer, made.diff_id)
            writer.finish()
        return directory

    def spread_delta(self, number: int, made: Captured) -> Path | None:
        directory = self.place / f"delta{number}"
        directory.mkdir()
        with self.open(number) as packed, LayerWriter(str(directory), digest=False) as writer:
            if packed.delta is None:
                return None
            spread_delta(packed, made.inventory, writer, entries_of(packed.delta, made.inventory))
            writer.finish()
        return directory


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def own(made: Captured, tree: Captured) -> bool:
    """Whether a packed layer is that of a tree, but for the root: an implied one is in no layer."""
    return list(made.inventory) == [entry for entry in tree.inventory if entry.path]


def tar_of(tree: Captured, source: Path) -> tuple[str, bytes]:
    """Give the tar as it is made of a tree, without the root."""
    written = bytearray()
    inventory = type(tree.inventory)(entry for entry in tree.inventory if entry.path)
    return pack(inventory, str(source), lambda data: written.extend(memoryview(data))), bytes(written)


@given(CHANGES, FEW)
@settings(max_examples=35)
def test_what_is_packed_is_the_tar_of_the_tree(first: list[Change], then: list[Change]) -> None:
    """Whole, and as a patch of what was before: the same bytes; spread again, the same tree."""
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.fill()
        change(bench.tree, first)
        before = bench.look()
        whole = bench.pack(before)
        assert own(whole, before)
        assert (whole.diff_id, (bench.homes[0] / TAR).read_bytes()) == tar_of(before, bench.tree)
        assert whole.size == (bench.homes[0] / TAR).stat().st_size
        change(bench.tree, then)
        after = bench.look()
        patched = bench.patch(after, whole)
        assert own(patched, after)
        wanted = tar_of(after, bench.tree)
        with bench.open(1) as packed:
            assert (patched.diff_id, b"".join(packed.pieces())) == wanted
            for offset in range(0, patched.size, 7777):
                assert packed.read_at(offset, min(512, patched.size - offset)) == wanted[1][offset : offset + 512]
        seen = look(bench.tree)
        del seen[""]
        for number, made in enumerate([whole, patched]):
            spread_out = look(bench.spread(number, made))
            del spread_out[""]
            if number:
                assert spread_out == seen


@given(FEW, CHANGES)
@settings(max_examples=25)
def test_what_differs_over_the_old_tree_is_the_new_one(first: list[Change], then: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name))
        bench.fill(120)
        change(bench.tree, first)
        whole = bench.pack(bench.look())
        base = bench.spread(0, whole)
        change(bench.tree, then)
        made = bench.patch(bench.look(), whole)
        delta = bench.spread_delta(1, made) if made.base else None
        if delta is None:
            return
        with overlay([delta, base], None) as merged:
            shown = look(merged)
        wanted = look(bench.tree)
        del wanted[""], shown[""]
        assert shown == wanted


def test_a_patch_holds_no_more_than_what_differs(bench: Bench) -> None:
    bench.fill(4000)
    whole = bench.pack(bench.look())
    (bench.tree / "d1/f2001").write_bytes(b"changed")
    (bench.tree / "d2/f2002").unlink()
    (bench.tree / "d2/new").write_bytes(b"new")
    (bench.tree / "d3/f2003").rename(bench.tree / "d3/moved")
    shutil.copystat(bench.tree / "d0", bench.tree / "d1")
    made = bench.patch(bench.look(), whole)
    assert bench.reused == 3997
    assert made.base == whole.diff_id
    assert (bench.homes[1] / PATCH).stat().st_size < 12_000
    with bench.open(1) as packed:
        assert packed.delta is not None
        assert sorted(packed.delta.gone) == ["d2/f2002", "d3/f2003"]
        assert {"d1/f2001", "d2/new", "d3/moved"} <= set(packed.delta.own)
        assert not {path for path in packed.delta.own if path.startswith("d0/")}


def test_what_has_little_in_common_becomes_a_whole_tar(bench: Bench) -> None:
    bench.fill()
    whole = bench.pack(bench.look())
    for path in bench.tree.glob("*/*"):
        path.write_bytes(os.urandom(3000))
    made = bench.patch(bench.look(), whole)
    assert made.base == ""
    assert sorted(path.name for path in bench.homes[1].iterdir()) == [TAR]
    with bench.open(1) as packed:
        assert b"".join(packed.pieces()) == tar_of(bench.look(), bench.tree)[1]


def test_files_of_several_names_are_no_delta(bench: Bench) -> None:
    bench.fill()
    os.link(bench.tree / "d0/f00", bench.tree / "d0/other")
    whole = bench.pack(bench.look())
    (bench.tree / "d1/f01").write_bytes(b"changed")
    made = bench.patch(bench.look(), whole)
    with bench.open(1) as packed:
        assert made.base
        assert packed.delta is None
    seen = look(bench.tree)
    assert look(bench.spread(1, made))["d0/other"] == seen["d0/other"]


def damage(path: Path, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.fixture
def patched(bench: Bench) -> tuple[Bench, Captured, Captured]:
    bench.fill()
    whole = bench.pack(bench.look())
    (bench.tree / "d1/f01").write_bytes(b"changed")
    return bench, whole, bench.patch(bench.look(), whole)


def test_a_base_that_changed_is_noticed(patched: tuple[Bench, Captured, Captured]) -> None:
    bench, whole, _ = patched
    damage(bench.homes[0] / TAR, 700)
    with pytest.raises(StoreError, match="has changed since"):
        bench.patch(bench.look(), whole)


@pytest.mark.parametrize("what", [TAR, PATCH])
def test_damage_is_noticed_when_a_tree_is_made(patched: tuple[Bench, Captured, Captured], what: str) -> None:
    bench, _, made = patched
    damage(bench.homes[0 if what == TAR else 1] / what, 520)
    with pytest.raises(ArchiveError, match="damaged"):
        bench.spread(1, made)


def test_damage_is_noticed_when_what_differs_is_made(patched: tuple[Bench, Captured, Captured]) -> None:
    bench, _, made = patched
    path = bench.homes[1] / PATCH
    damage(path, path.read_bytes().index(b"changed"))
    with pytest.raises(ArchiveError, match="d1/f01 is not what it was"):
        bench.spread_delta(1, made)


@pytest.mark.parametrize("length", [0, 10, 600, -1, -30])
def test_a_patch_that_is_cut_short(patched: tuple[Bench, Captured, Captured], length: int) -> None:
    bench, _, _ = patched
    path = bench.homes[1] / PATCH
    data = path.read_bytes()
    path.write_bytes(data[:length])
    with pytest.raises(ArchiveError, match="is not a patch"):
        bench.open(1)


@pytest.mark.parametrize("text", [b"[]", b'{"base": 1}', b'{"base": "x", "segments": [[0]], "delta": null}', b"\xff"])
def test_a_trailer_that_is_none(patched: tuple[Bench, Captured, Captured], text: bytes) -> None:
    bench, _, _ = patched
    path = bench.homes[1] / PATCH
    path.write_bytes(text + len(text).to_bytes(8, "little") + b"pybuild patch 1\n")
    with pytest.raises(ArchiveError, match="damaged"):
        bench.open(1)


def test_a_missing_base(patched: tuple[Bench, Captured, Captured]) -> None:
    bench, _, _ = patched
    (bench.homes[0] / TAR).unlink()
    with pytest.raises(ArchiveError, match="No such file"):
        bench.open(1)


def test_a_large_file_among_what_differs(bench: Bench) -> None:
    bench.fill(200)
    (bench.tree / "d0/larger").write_bytes(os.urandom(8_000_000))
    (bench.tree / "d1/large").write_bytes(os.urandom(3_000_000))
    whole = bench.pack(bench.look())
    with open(bench.tree / "d1/large", "r+b") as file:
        file.write(b"changed")
    (bench.tree / "d1/other").write_bytes(os.urandom(400_000))
    made = bench.patch(bench.look(), whole)
    assert made.base == whole.diff_id
    delta = bench.spread_delta(1, made)
    assert delta is not None
    assert sorted(path.name for path in (delta / "d1").iterdir()) == ["large", "other"]
    for name in ("d1/large", "d1/other"):
        assert (delta / name).read_bytes() == (bench.tree / name).read_bytes()


def test_a_small_file_that_only_the_packer_took_over(bench: Bench) -> None:
    """Equal content under another mode, owner and time: the bytes are reused, the header is not."""
    bench.fill()
    whole = bench.pack(bench.look())
    path = bench.tree / "d1/f01"
    path.chmod(0o600)
    os.chown(path, 3, 4)
    os.utime(path, (5, 5))
    made = bench.patch(bench.look(), whole)
    assert bench.reused == 40
    entry = made.inventory.get("d1/f01")
    assert entry is not None
    assert (entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime) == (FILE, 0o600, 3, 4, 5_000_000_000)
    assert tar_of(bench.look(), bench.tree)[0] == made.diff_id
