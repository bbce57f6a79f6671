from __future__ import annotations

import hashlib
import io
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError, StoreError
from buildah_py.layers import spool
from buildah_py.layers.capture import capture
from buildah_py.layers.entry import CHAR, DIR, FILE, HARDLINK, WHITEOUT
from buildah_py.layers.inventory import Inventory
from buildah_py.layers.tar import pack
from buildah_py.layers.writer import LayerWriter
from tests.layers.layer_trees import CHANGES, Change, change, look

if TYPE_CHECKING:
    import random

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Captured

UID, GID = os.geteuid(), os.getegid()


@pytest.fixture(params=[False, True], ids=["alone", "process"], autouse=True)
def _processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run everything with small files created by the caller and by a process of their own."""
    monkeypatch.setattr(spool, "_ALONE", 1 if request.param else sys.maxsize)
    monkeypatch.setattr(spool, "_BATCH_FILES", 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def rebuild(entries: list[Entry], source: Path, dest: Path) -> Captured:
    with LayerWriter(str(dest)) as writer:
        for entry in entries:
            add(writer, entry, source)
        return writer.finish()


def add(writer: LayerWriter, entry: Entry, source: Path) -> None:
    path, kind, mode, uid, gid, *_ = entry
    if kind == "dir":
        writer.add_dir(path, mode, uid, gid, entry.xattrs, entry.mtime)
    elif kind == FILE:
        descriptor = os.open(source / path, os.O_RDONLY)
        try:
            made = writer.add_file(path, descriptor, mode, uid, gid, entry.xattrs, entry.mtime)
        finally:
            os.close(descriptor)
        assert made == entry
    elif kind == "symlink":
        writer.add_symlink(path, entry.link, uid, gid, entry.mtime)
    elif kind == HARDLINK:
        writer.add_hardlink(path, entry.link)
    elif kind == WHITEOUT:
        writer.add_whiteout(path)
    else:
        writer.add_node(path, kind, mode, uid, gid, entry.device, entry.mtime)


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(changes=CHANGES, chance=st.randoms(use_true_random=False))
def test_a_copy_is_the_same_layer_in_any_order(changes: list[Change], chance: random.Random) -> None:
    with tempfile.TemporaryDirectory() as name:
        tree, straight, shuffled = (Path(name, part) for part in ("tree", "straight", "shuffled"))
        for path in (tree, straight, shuffled):
            path.mkdir(mode=0o755)
        change(tree, changes)
        wanted = capture(str(tree), [])
        assert rebuild(list(wanted.inventory), tree, straight) == wanted
        # Any order in which parents and first names come before what needs them.
        entries = list(wanted.inventory)
        chance.shuffle(entries)
        order: list[Entry] = []
        done: set[str] = {""}
        while entries:
            for entry in entries:
                parent = entry.path.rpartition("/")[0]
                if parent in done and (entry.kind != HARDLINK or entry.link in done):
                    order.append(entry)
                    done.add(entry.path)
                    entries.remove(entry)
                    break
        assert rebuild(order, tree, shuffled) == wanted
        assert look(straight) == look(shuffled) == look(tree)
        for entry in wanted.inventory:
            status = os.lstat(straight / entry.path)
            assert status.st_mtime_ns == entry.mtime


def test_what_is_added_later_replaces(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_dir("d", 0o700)
        for number in range(20):
            writer.add_file(f"d/{number}", b"x")
            writer.add_dir(f"d/dir{number}")
            writer.add_file(f"d/dir{number}/f", b"y")
        writer.add_file("d/5", b"later")
        writer.add_symlink("d/6", "5")
        writer.add_dir("d/7", 0o711)
        writer.add_file("d/7/below", b"z")
        writer.add_file("d/dir8", b"now a file")
        writer.add_dir("d", 0o755, UID, GID, mtime=3_000_000_000)
        captured = writer.finish()
    wanted = {str(number) for number in range(20)} | {f"dir{number}" for number in range(20)}
    assert set(os.listdir(tmp_path / "d")) == wanted
    assert (tmp_path / "d/5").read_bytes() == b"later"
    assert (tmp_path / "d/6").is_symlink()
    assert (tmp_path / "d/7/below").read_bytes() == b"z"
    assert (tmp_path / "d/dir8").read_bytes() == b"now a file"
    assert (tmp_path / "d").stat().st_mtime == 3
    assert pack(captured.inventory, str(tmp_path), io.BytesIO().write) == captured.diff_id
    assert captured.inventory.get("d/dir8/f") is None


def test_removed_first_names_of_hard_links(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_dir("d")
        writer.add_file("d/first", b"x" * 9)
        writer.add_hardlink("second", "d/first")
        writer.add_hardlink("third", "second")
        writer.add_hardlink("another", "third")
        writer.add_file("d", b"directory gone")
        writer.add_hardlink("third", "another")
        captured = writer.finish()
    assert [(entry.path, entry.kind, entry.link, entry.size) for entry in captured.inventory] == [
        ("another", FILE, "", 9),
        ("d", FILE, "", 14),
        ("second", HARDLINK, "another", 0),
        ("third", HARDLINK, "another", 0),
    ]
    assert len({(tmp_path / name).stat().st_ino for name in ("another", "second", "third")}) == 1
    assert pack(captured.inventory, str(tmp_path), io.BytesIO().write) == captured.diff_id


@pytest.mark.parametrize("size", [0, 1, 511, 512, 1 << 18, (1 << 18) + 1, 3_000_001])
def test_sources_of_a_file(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "source").write_bytes(data)
    (tmp_path / "dest").mkdir()
    pieces = io.BytesIO(data)
    with LayerWriter(str(tmp_path / "dest")) as writer, (tmp_path / "source").open("rb") as file:
        file.seek(size // 2)  # the position does not matter
        made = [
            writer.add_file("a", data),
            writer.add_file("b", file.fileno()),
            writer.add_file("c", pieces.read, size=size),
        ]
        captured = writer.finish()
    assert {entry.digest for entry in made} == {"sha256:" + hashlib.sha256(data).hexdigest()}
    assert list(captured.inventory) == made
    assert all((tmp_path / "dest" / name).read_bytes() == data for name in "abc")
    assert pack(captured.inventory, str(tmp_path / "dest"), io.BytesIO().write) == captured.diff_id


def test_memory_that_a_function_gives_is_no_hole(tmp_path: Path) -> None:
    data = memoryview(os.urandom(1 << 20))
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_file("f", lambda length: data[:length], size=1 << 20)
        writer.finish()
    assert (tmp_path / "f").read_bytes() == data


def test_holes_are_kept(tmp_path: Path) -> None:
    with (tmp_path / "source").open("w+b") as file:
        file.seek(5_000_000)
        file.write(b"x")
        file.truncate(9_000_000)
        (tmp_path / "dest").mkdir()
        with LayerWriter(str(tmp_path / "dest")) as writer:
            writer.add_file("f", file.fileno())
            writer.finish()
        file.seek(0)
        copy = tmp_path / "dest/f"
        assert copy.read_bytes() == file.read()
        assert copy.stat().st_blocks * 512 < 100_000


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_source_that_ends_early(tmp_path: Path, size: int) -> None:
    short = io.BytesIO(b"x" * (size - 1))
    with LayerWriter(str(tmp_path)) as writer, pytest.raises(EOFError):
        writer.add_file("f", short.read, size=size)


def write_all(writer: LayerWriter, paths: list[str]) -> None:
    for path in paths:
        writer.add_file(path, b"x")
    writer.finish()


def test_what_goes_wrong_in_the_process_is_raised(tmp_path: Path) -> None:
    names = [str(number) for number in range(100)]
    names[50] = "n" * 256
    with LayerWriter(str(tmp_path)) as writer, pytest.raises(OSError, match="File name too long"):
        write_all(writer, names)
    assert len(os.listdir(tmp_path)) < 100


@pytest.mark.parametrize(
    "path", ["no/parent", "file/below", "gone/below", "link/below", ".wh.x", "..", "d/", "d/.", ""]
)
def test_paths_that_cannot_be_are_refused(tmp_path: Path, path: str) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_dir("d")
        writer.add_file("file", b"")
        writer.add_whiteout("gone")
        writer.add_symlink("link", "d")
        with pytest.raises(ArchiveError):
            write_all(writer, [path])


def test_a_character_device_zero_is_refused(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer, pytest.raises(ArchiveError, match="0:0"):
        writer.add_node("x", CHAR)


def test_a_used_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(ArchiveError, match="not empty"):
        LayerWriter(str(tmp_path))


def test_without_owners_they_are_in_the_inventory_alone(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path), owners=False) as writer:
        writer.add_dir("d", 0o755, 70, 71)
        writer.add_file("d/f", b"", 0o4755, 72, 73)
        captured = writer.finish()
    assert [(entry.uid, entry.gid) for entry in captured.inventory] == [(70, 71), (72, 73)]
    assert (tmp_path / "d/f").stat().st_uid == UID
    assert (tmp_path / "d/f").stat().st_mode & 0o7777 == 0o4755


def test_an_empty_layer(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        captured = writer.finish()
    assert captured.inventory == Inventory()
    assert captured.diff_id == "sha256:" + hashlib.sha256(bytes(1024)).hexdigest()
    assert captured.size == 1024
    assert tmp_path.stat().st_mode & 0o7777 == 0o755


def test_a_process_that_is_killed_is_missed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "alone" in request.node.name:
        pytest.skip("no process is started")
    others = children()
    with LayerWriter(str(tmp_path)) as writer:
        for number in range(9):
            writer.add_file(str(number), b"x")
        (child,) = children() - others
        os.kill(child, signal.SIGKILL)
        with pytest.raises(StoreError, match="ended unexpectedly"):
            writer.finish()
    assert children() == others


def children() -> set[int]:
    """Give the processes that this one has started and not waited for."""
    return {int(pid) for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()}


def test_device_nodes_that_nobody_can_make_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the inventory, and what is done to them later does not miss them."""

    def refuse(*_arguments: object, **_more: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    with LayerWriter(str(tmp_path), devices=False) as writer:
        writer.add_dir("d")
        assert not writer.add_node("d/a", CHAR, device=(1, 3))
        writer.add_hardlink("d/b", "d/a")
        writer.add_node("d/gone", CHAR, device=(1, 5))
        writer.add_file("d/gone", b"a file instead")
        writer.add_dir("e")
        writer.add_node("e/gone", CHAR, device=(1, 7))
        writer.add_file("e", b"a file too")
        layer = writer.finish()
    assert [(entry.path, entry.kind) for entry in layer.inventory if entry.path] == [
        ("d", DIR),
        ("d/a", CHAR),
        ("d/b", HARDLINK),
        ("d/gone", FILE),
        ("e", FILE),
    ]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d", "e", "gone"]
