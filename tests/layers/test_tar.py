"""The canonical tar, as GNU tar and Python read it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildah_py.errors import ArchiveError
from buildah_py.layers import header
from buildah_py.layers.apply import unpack
from buildah_py.layers.capture import capture
from buildah_py.layers.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.limits import ArchiveLimits
from buildah_py.layers.reader import TarReader
from buildah_py.layers.tar import pack
from buildah_py.layers.writer import LayerWriter
from tests.layers.layer_trees import CHANGES, Change, change, look

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 1_000_000_000
BYTES = st.binary(min_size=1, max_size=90).filter(lambda name: not {0, 0x2F} & set(name) and name not in (b".", b".."))
PARTS = st.one_of(BYTES, st.text("abä/€", min_size=1, max_size=120).map(lambda text: text.replace("/", "").encode()))
NAMES = st.lists(PARTS.filter(bool), min_size=1, max_size=6).map(
    lambda parts: b"/".join(parts).decode("utf-8", "surrogateescape")
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from([FILE, DIR, SYMLINK, HARDLINK, CHAR]))
    return Entry(
        draw(NAMES),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.one_of(st.integers(0, 70000), st.integers(2**21 - 2, 2**32 - 2))),
        draw(st.one_of(st.integers(0, 70000), st.integers(2**21 - 2, 2**32 - 2))),
        draw(st.one_of(st.integers(0, 10), st.integers(2**33 - 2, 2**50))) if kind == FILE else 0,
        "",
        draw(NAMES) if kind in (SYMLINK, HARDLINK) else "",
        draw(st.tuples(st.integers(0, 0xFFF), st.integers(0, 0xFFFFF))) if kind == CHAR else (0, 0),
        tuple(sorted(draw(st.dictionaries(st.sampled_from(["user.a", "user.é"]), st.binary(max_size=300))).items())),
        draw(st.integers(-(2**34), 2**35)) * SECOND,
    )


@settings(max_examples=300, deadline=None)
@given(entry=entries())
def test_headers_are_read_back_by_us_and_by_tarfile(entry: Entry) -> None:
    blocks = header.header(entry, entry.mtime // SECOND)
    assert len(blocks) % 512 == 0
    member = next(iter(TarReader(io.BytesIO(blocks).read, ArchiveLimits(size=1 << 62))))
    name = member.name.decode("utf-8", "surrogateescape")
    assert name == entry.path + ("/" if entry.kind == DIR else "")
    assert (member.kind, member.mode, member.uid, member.gid) == (entry.kind, entry.mode, entry.uid, entry.gid)
    assert (member.size, member.mtime, member.device) == (entry.size, entry.mtime, entry.device)
    assert member.link.decode("utf-8", "surrogateescape") == entry.link
    assert member.xattrs == entry.xattrs
    with tarfile.open(fileobj=io.BytesIO(blocks + header.END), errors="surrogateescape") as archive:
        info = archive.next()
        assert info is not None
        assert (info.name, info.linkname) == (entry.path, entry.link)
        assert (info.mode, info.uid, info.gid, info.size) == (entry.mode, entry.uid, entry.gid, entry.size)
        assert info.mtime == entry.mtime // SECOND
        assert not info.uname
        assert not info.gname


@pytest.mark.parametrize(
    ("entry", "has_pax"),
    [
        (Entry("a" * 100, FILE), False),
        (Entry("a" * 101, FILE), True),
        (Entry("a" * 155 + "/" + "b" * 100, FILE), False),
        (Entry("a" * 155 + "/" + "b" * 99, DIR), False),
        (Entry("a" * 155 + "/" + "b" * 100, DIR), True),
        (Entry("a" * 156 + "/" + "b" * 10, FILE), True),
        (Entry("é", FILE), True),
        (Entry("\udcff", FILE), False),
        (Entry("x", SYMLINK, link="y" * 100), False),
        (Entry("x", SYMLINK, link="y" * 101), True),
        (Entry("x", FILE, uid=0o7777777), False),
        (Entry("x", FILE, uid=0o10000000), True),
        (Entry("x", FILE, size=8**11 - 1), False),
        (Entry("x", FILE, size=8**11), True),
        (Entry("x", FILE, mtime=-1), True),
        (Entry("x", FILE, xattrs=(("user.x", b""),)), True),
    ],
)
def test_pax_headers_only_where_ustar_cannot_say_it(entry: Entry, *, has_pax: bool) -> None:
    blocks = header.header(entry, entry.mtime // SECOND)
    assert (blocks[156:157] == b"x") == has_pax
    assert (len(blocks) > 512) == has_pax


def test_whiteouts_stand_before_their_siblings() -> None:
    listed = [Entry("d", DIR, 0o755, mtime=SECOND), Entry("d/.a", SYMLINK, link="x"), Entry("d/z", WHITEOUT)]
    out = io.BytesIO()
    pack(Inventory([*listed, Entry("z", WHITEOUT), Entry("a", DIR, opaque=True), Entry("a/b", DIR)]), "/", out.write)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        infos = archive.getmembers()
    assert [info.name for info in infos] == [".wh.z", "a", "a/.wh..wh..opq", "a/b", "d", "d/.wh.z", "d/.a"]
    assert all(info.size == info.mtime == info.mode == 0 for info in infos if ".wh." in info.name)
    assert out.getvalue().endswith(bytes(1024))


def made(top: Path, changes: Sequence[Change]) -> Captured:
    top.mkdir(mode=0o755)
    change(top, changes)
    return capture(str(top), [])


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(changes=CHANGES)
def test_gnu_tar_unpacks_what_we_pack(changes: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        captured = made(top / "tree", changes)
        with (top / "layer.tar").open("wb", buffering=0) as out:
            assert pack(captured.inventory, str(top / "tree"), out.write) == captured.diff_id
        (top / "gnu").mkdir(mode=0o755)
        done = subprocess.run(
            ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", top / "layer.tar", "-C", top / "gnu"],
            check=True,
            capture_output=True,
        )
        assert not done.stderr
        assert look(top / "gnu") == look(top / "tree")


@pytest.mark.root
@pytest.mark.parametrize("form", ["gnu", "posix", "ustar", "oldgnu", "v7"])
@settings(max_examples=12, deadline=None)
@given(changes=CHANGES)
def test_we_unpack_what_gnu_tar_packs(form: str, changes: list[Change]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        old = form in ("ustar", "v7")
        if old:  # these know no large numbers, v7 no devices and no long names
            changes = [item for item in changes if item[0] not in ("chown", "device", "fifo", "xattr")]
            changes = [(kind, *(path.replace("n" * 60, "n") for path in item), n) for kind, *item, n in changes]  # type: ignore[misc]
        captured = made(top / "tree", changes)
        command = ["tar", f"--format={form}", "--numeric-owner", "-S", "-cf", "-", "-C", str(top / "tree"), "."]
        if form == "posix":
            command[1:1] = ["--xattrs", "--xattrs-include=user.*"]
        if old:
            command.remove("-S")
        data = subprocess.run(command, check=True, capture_output=True).stdout
        (top / "ours").mkdir()
        again = unpack(io.BytesIO(data), str(top / "ours"))
        assert again.size == len(data)
        wanted, got = look(top / "tree"), look(top / "ours")
        if form != "posix":
            wanted = {path: seen._replace(xattrs=()) for path, seen in wanted.items()}
        assert got == wanted
        kept = {entry.path: entry.digest for entry in captured.inventory if entry.kind == FILE}
        assert {entry.path: entry.digest for entry in again.inventory if entry.kind == FILE} == kept


@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_files_of_pax(tmp_path: Path, version: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "f").open("wb") as file:
        for position in (0, 3_000_000, 9_000_000):
            file.seek(position)
            file.write(b"data" * 2000)
        file.truncate(20_000_000)
    data = subprocess.run(
        ["tar", "--format=posix", f"--sparse-version={version}", "-S", "-cf", "-", "-C", tree, "f"],
        check=True,
        capture_output=True,
    ).stdout
    assert len(data) < 100_000
    (tmp_path / "ours").mkdir()
    unpack(io.BytesIO(data), str(tmp_path / "ours"))
    ours = tmp_path / "ours/f"
    assert ours.read_bytes() == (tree / "f").read_bytes()
    assert ours.stat().st_blocks * 512 < 1_000_000


def test_holes_are_packed_as_zeros_without_being_stored(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "f").open("wb") as file:
        file.seek(7_000_001)
        file.write(b"end")
        file.truncate(9_000_001)
    captured = capture(str(tree), [])
    out = io.BytesIO()
    assert pack(captured.inventory, str(tree), out.write) == captured.diff_id
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        content = archive.extractfile("f")
        assert content is not None
        assert content.read() == (tree / "f").read_bytes()


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("damage", ["content", "shorter", "longer", "gone", "link", "directory"])
def test_a_damaged_layer_is_not_packed(tmp_path: Path, size: int, damage: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x" * size)
    captured = capture(str(tmp_path), [])
    file.unlink()
    if damage == "content":
        file.write_bytes(b"x" * (size - 1) + b"y")
    elif damage == "shorter":
        file.write_bytes(b"x" * (size - 1))
    elif damage == "longer":
        file.write_bytes(b"x" * (size + 1))
    elif damage == "link":
        file.symlink_to("/etc/hostname")
    elif damage == "directory":
        file.mkdir()
    with pytest.raises(ArchiveError, match="/f"):
        pack(captured.inventory, str(tmp_path), io.BytesIO().write)


def test_times_are_clamped_on_the_way_out(tmp_path: Path) -> None:
    with LayerWriter(str(tmp_path)) as writer:
        for second in (0, 5, 9):
            writer.add_file(f"f{second}", b"x", mtime=second * SECOND + 1)
        captured = writer.finish()
    out = io.BytesIO()
    assert (
        pack(captured.inventory, str(tmp_path), out.write, retime=lambda mtime: min(mtime, 5 * SECOND))
        != captured.diff_id
    )
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert [info.mtime for info in archive] == [0, 5, 5]


def test_the_bytes_are_the_same_for_ever(tmp_path: Path) -> None:
    """Stored layers and other machines' caches depend on it."""
    with LayerWriter(str(tmp_path)) as writer:
        writer.add_dir("d", 0o1755, os.geteuid(), os.getegid(), mtime=SECOND)
        writer.add_file("d/" + "n" * 200, b"some bytes", 0o640, os.geteuid(), os.getegid(), mtime=SECOND // 2)
        writer.add_symlink("d/é", "target", os.geteuid(), os.getegid(), mtime=2 * SECOND)
        captured = writer.finish()
    if os.geteuid() == 0:
        digests = (captured.diff_id, captured.inventory.layer_digest)
        assert digests == (
            "sha256:6832d18edd3c7ea2f9229c4e14a6fba0ceefb9532ff5c5153eb59e7bef0bc93c",
            "sha256:2e906c5f9e5756ce6d5f0c6c4d5b03ddac48f5152f9d850801c062fe80ecb970",
        )
