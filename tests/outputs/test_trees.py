from __future__ import annotations

import os
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import ArchiveError, OutputError, UsageError
from buildah_py.layers.entry import CHAR, FIFO, Entry
from buildah_py.layers.view import LayerTree, MergedView
from buildah_py.layers.writer import LayerWriter
from buildah_py.outputs.local import write_local
from buildah_py.outputs.tar import write_tar

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.root  # to make layers with owners and whiteouts

TIME = 1_600_000_000_000_000_000
HOLE = 3 << 20
SURROGATE = "caf\udce9"


@pytest.fixture
def tree(tmp_path: Path) -> MergedView:
    """Two layers: the upper one hides, replaces and adds."""
    base, top = tmp_path / "base", tmp_path / "top"
    base.mkdir()
    top.mkdir()
    with LayerWriter(str(base)) as writer:
        writer.add_dir("")
        writer.add_dir("bin", 0o755, mtime=TIME)
        writer.add_file("bin/su", b"su", 0o4755, mtime=TIME + 5, xattrs=(("user.note", b"\0x"),))
        writer.add_hardlink("bin/sudo", "bin/su")
        writer.add_file("bin/old", b"old", mtime=TIME)
        writer.add_symlink("bin/sh", "/bin/su", mtime=TIME)
        writer.add_dir("closed", 0o555, 7, 8, mtime=TIME)
        writer.add_file("closed/in", b"in", 0o400, 7, 8, mtime=TIME)
        writer.add_file("gone", b"gone")
        writer.add_dir("was-dir")
        writer.add_file("was-dir/x", b"x")
        writer.add_node("pipe", FIFO, 0o640, mtime=TIME)
        lower = LayerTree(str(base), writer.finish().inventory)
    with LayerWriter(str(top)) as writer:
        writer.add_dir("", implied=True)
        writer.add_dir("bin", implied=True)
        writer.add_file("bin/old", b"new", 0o600, mtime=TIME)
        writer.add_whiteout("gone")
        writer.add_symlink("was-dir", "bin", mtime=TIME)
        writer.add_file(SURROGATE, b"name", mtime=TIME)
        (tmp_path / "sparse").write_bytes(b"")
        os.truncate(tmp_path / "sparse", HOLE)
        with (tmp_path / "sparse").open("r+b") as file:
            file.seek(1 << 20)
            file.write(b"data" * 1024)
            file.flush()
            writer.add_file("sparse", file.fileno(), size=HOLE, mtime=TIME)
        upper = LayerTree(str(top), writer.finish().inventory)
    return MergedView([upper, lower])


NAMES = [
    "bin", "bin/old", "bin/sh", "bin/su", "bin/sudo", SURROGATE, "closed", "closed/in", "pipe", "sparse", "was-dir",
]  # fmt: skip


def test_tar(tmp_path: Path, tree: MergedView) -> None:
    dest = tmp_path / "x.tar"
    write_tar(str(dest), tree)
    with tarfile.open(dest, errors="surrogateescape") as opened:
        members = {member.name: member for member in opened}
        assert list(members) == NAMES
        assert opened.extractfile("bin/old").read() == b"new"  # type: ignore[union-attr]
        assert len(opened.extractfile("sparse").read()) == HOLE  # type: ignore[union-attr]
    assert members["bin/sudo"].islnk()
    assert members["bin/sudo"].linkname == "bin/su"
    assert members["bin/su"].mode == 0o4755
    assert members["bin/su"].pax_headers == {"SCHILY.xattr.user.note": "\0x"}
    assert (members["closed/in"].uid, members["closed/in"].gid, members["closed"].mode) == (7, 8, 0o555)
    assert members["was-dir"].linkname == "bin"
    assert members["pipe"].isfifo()
    write_tar(str(tmp_path / "y.tar"), tree)
    assert (tmp_path / "y.tar").read_bytes() == dest.read_bytes()
    write_tar(str(tmp_path / "z.tar"), tree, clamp_mtime=1)
    with tarfile.open(tmp_path / "z.tar") as opened:
        assert {member.mtime for member in opened} <= {0, 1}


def test_a_directory_is_what_gnu_tar_makes_of_the_tar(tmp_path: Path, tree: MergedView) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    write_local(str(ours), tree)
    write_tar(str(tmp_path / "x.tar"), tree)
    theirs.mkdir()
    subprocess.run(["tar", "-xpf", tmp_path / "x.tar", "-C", theirs, "--no-same-owner", "--xattrs"], check=True)
    assert look(ours) == look(theirs)
    assert sorted(look(ours)) == sorted(NAMES)
    assert (ours / "sparse").stat().st_blocks * 512 < HOLE


def look(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in top.rglob("*"):
        status = path.lstat()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        xattrs = [
            (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
        ]
        found[str(path.relative_to(top))] = (
            stat.filemode(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns // 1_000_000_000,
            status.st_nlink if path.is_file() else 0, content, xattrs,
        )  # fmt: skip
    return found


def test_a_directory_that_is_there(tmp_path: Path, tree: MergedView) -> None:
    dest, outside = tmp_path / "dest", tmp_path / "outside"
    write_local(str(tmp_path / "fresh"), tree)
    outside.mkdir()
    (outside / "old").write_text("untouched")
    (dest / "sparse/deep").mkdir(parents=True)
    (dest / "closed").write_text("a file")
    (dest / "extra").mkdir()
    (dest / "extra/x").write_text("x")
    (dest / "bin").symlink_to(outside)
    (dest / "gone").symlink_to(outside / "old")
    for _ in range(2):
        write_local(str(dest), tree)
        found = look(dest)
        assert {name: found[name] for name in NAMES} == look(tmp_path / "fresh")
        assert sorted(set(found) - set(NAMES)) == ["extra", "extra/x", "gone"]
    (dest / "bin/extra").write_text("x")
    write_local(str(dest), tree, delete=True)
    assert look(dest) == look(tmp_path / "fresh")
    assert os.listdir(outside) == ["old"]
    assert (outside / "old").read_text() == "untouched"


class Half:
    """A tree whose second file cannot be read as it was."""

    def entry(self, path: str) -> Entry | None:
        return Entry(path, "file", 0o644, size={"a": 0, "b": 10}[path])

    def names(self, path: str) -> Sequence[str]:
        return [] if path else ["a", "b"]

    def digest(self, path: str) -> str:
        raise AssertionError(path)

    def open(self, path: str) -> int:
        assert path in "ab"
        return os.open("/dev/null", os.O_RDONLY)


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    for write in (write_tar, write_local):
        with pytest.raises(ArchiveError, match="/b is not what it was"):
            write(str(tmp_path / "x"), Half())
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path, tree: MergedView) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file is not a directory"):
        write_local(str(tmp_path / "file"), tree)
    with pytest.raises(OutputError, match="missing/x cannot be written: No such file"):
        write_local(str(tmp_path / "missing/x"), tree)
    with pytest.raises(UsageError, match="root directory"):
        write_local("/", tree, delete=True)


def test_a_full_disk(tmp_path: Path, tree: MergedView) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=8", "pybuild", disk], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(OutputError, match=f"{disk}/x.* cannot be written: No space left on device"):
            write_local(str(disk / "x"), tree)
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_deep_tree(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    depth = 400
    with LayerWriter(str(layer), digest=False) as writer:
        writer.add_dir("")
        for level in range(1, depth):
            writer.add_dir("/".join(["d"] * level))
        view = MergedView([LayerTree(str(layer), writer.finish().inventory)])
    write_local(str(tmp_path / "x"), view)
    assert Path(tmp_path, "x", *["d"] * (depth - 1)).is_dir()
    write_tar(str(tmp_path / "x.tar"), view)


CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service, permitted and effective


def test_nothing_of_an_image_lends_its_new_owner_to_others(tmp_path: Path) -> None:
    base, dest = tmp_path / "base", tmp_path / "dest"
    base.mkdir()
    caps = (("security.capability", CAPABILITY), ("user.note", b"x"))
    with LayerWriter(str(base)) as writer:
        writer.add_dir("")
        writer.add_file("own", b"", 0o6755, 0, 0, xattrs=caps)
        writer.add_file("user", b"", 0o6755, 1000, 0, xattrs=caps)
        writer.add_file("group", b"", 0o6755, 0, 1000, xattrs=caps)
        writer.add_dir("shared", 0o2775, 0, 1000)
        writer.add_node("null", CHAR, 0o666, device=(1, 3))
        writer.add_hardlink("null-too", "null")
        view = MergedView([LayerTree(str(base), writer.finish().inventory)])
    warnings: list[str] = []
    write_local(str(dest), view, warn=warnings.append)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in dest.iterdir()}
    assert modes == {"own": 0o6755, "user": 0o755, "group": 0o755, "shared": 0o2775}
    kept = {name: sorted(os.listxattr(dest / name)) for name in ("own", "user", "group")}
    assert kept == {"own": ["security.capability", "user.note"], "user": ["user.note"], "group": ["user.note"]}
    assert warnings == [f"{dest}: 2 device nodes left out (/null, /null-too); type=tar keeps them"]
