from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from buildah_py.errors import CacheError
from buildah_py.image import descriptor
from buildah_py.layers.entry import CHAR, DIR, FILE, HARDLINK, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.inventory import Inventory
from buildah_py.sharing import artifact, mount_transfer
from buildah_py.sharing.local import LocalCache
from buildah_py.sharing.mount_transfer import Packed, pack_mount, read_snapshot, restore
from buildah_py.sharing.snapshot import Pack, Piece, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable


def _fill(path: Path) -> None:
    path.mkdir(mode=0o750)
    generator = random.Random(1)
    for number in range(300):
        file = path / f"d{number % 7}" / f"f{number}"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(generator.randbytes(generator.randrange(2000)))
        os.utime(file, ns=(number, number * 1_000_000_007))
    (path / "large").write_bytes(generator.randbytes(5 << 20))
    shutil.copyfile(path / "large", path / "again")
    (path / "run").write_bytes(b"#!/bin/sh\n")
    (path / "run").chmod(0o4711)
    os.link(path / "run", path / "zz-hard")
    (path / "link").symlink_to("../../etc/passwd")
    (path / "empty").touch()
    os.mkfifo(path / "fifo")


def _tree(path: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for where, directories, files in os.walk(path):
        for name in (".", *directories, *files):
            one = os.path.join(where, name)
            status = os.lstat(one)
            if stat.S_ISFIFO(status.st_mode):
                continue
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(one)
            elif stat.S_ISREG(status.st_mode):
                with open(one, "rb") as file:
                    content = file.read()
            times = 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns
            found[os.path.relpath(one, path)] = status.st_mode, status.st_uid, status.st_gid, times, content
    return found


def _export(directory: Path, cache: LocalCache, before: Snapshot | None, staged: Path) -> tuple[Packed, int]:
    """Export, and say how many bytes of packs were sent."""
    staged.mkdir()
    packed = pack_mount(str(directory), before, str(staged))
    cache.put(packed.blob, lambda: io.BytesIO(packed.data))
    sent = 0
    for blob in packed.packs:
        if not cache.has(blob):
            cache.put(blob, lambda blob=blob: open(packed.files[blob.digest], "rb"))  # type: ignore[misc]  # noqa: SIM115
            sent += blob.size
    return packed, sent


def test_what_was_exported_is_restored(tmp_path: Path) -> None:
    _fill(tmp_path / "mount")
    cache = LocalCache(str(tmp_path / "cache"))
    packed, sent = _export(tmp_path / "mount", cache, None, tmp_path / "staged")
    assert sent < (5 << 20) + 400_000, "equal files are sent once"
    (tmp_path / "restored").mkdir()
    restore(read_snapshot(cache, packed.blob), cache, str(tmp_path / "restored"))
    assert _tree(tmp_path / "restored") == _tree(tmp_path / "mount")
    assert (tmp_path / "restored/run").stat().st_nlink == 2


def test_only_changed_files_are_sent_again(tmp_path: Path) -> None:
    _fill(tmp_path / "mount")
    cache = LocalCache(str(tmp_path / "cache"))
    packed, _ = _export(tmp_path / "mount", cache, None, tmp_path / "staged")
    same, sent = _export(tmp_path / "mount", cache, read_snapshot(cache, packed.blob), tmp_path / "staged2")
    assert (same.blob, sent) == (packed.blob, 0)
    (tmp_path / "mount/d1/new").write_bytes(b"new" * 100)
    (tmp_path / "mount/large").unlink()
    more, sent = _export(tmp_path / "mount", cache, read_snapshot(cache, packed.blob), tmp_path / "staged3")
    assert sent < 200
    (tmp_path / "restored").mkdir()
    restore(read_snapshot(cache, more.blob), cache, str(tmp_path / "restored"))
    assert _tree(tmp_path / "restored") == _tree(tmp_path / "mount")


def test_packs_that_are_mostly_dead_are_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_transfer, "PACK_SIZE", 1000)
    monkeypatch.setattr(mount_transfer, "_MAX_SMALL", 2)
    mount = tmp_path / "mount"
    mount.mkdir()
    for number in range(40):
        (mount / f"f{number:02}").write_bytes(os.urandom(100))
    cache = LocalCache(str(tmp_path / "cache"))
    first, _ = _export(mount, cache, None, tmp_path / "s1")
    assert len(first.packs) == 4
    for number in range(8):
        (mount / f"f{number:02}").unlink()
    second, _ = _export(mount, cache, read_snapshot(cache, first.blob), tmp_path / "s2")
    left = {one.digest for one in first.packs} - {one.digest for one in second.packs}
    assert left == {first.packs[0].digest}
    before = second
    for number in range(4):
        (mount / f"g{number}").write_bytes(os.urandom(100))
        before, _ = _export(mount, cache, read_snapshot(cache, before.blob), tmp_path / f"t{number}")
    assert len(before.packs) <= 3 + 3
    (tmp_path / "restored").mkdir()
    restore(read_snapshot(cache, before.blob), cache, str(tmp_path / "restored"))
    assert _tree(tmp_path / "restored") == _tree(mount)


DATA = b"content"
NAME = descriptor.of("", DATA).digest


def _hostile(*entries: Entry, pieces: dict[str, Piece] | None = None) -> bytes:
    packs = [Pack(descriptor.of(artifact.PACK, b""), len(DATA))]
    where = {NAME: Piece(0, 0, len(DATA))} if pieces is None else pieces
    return Snapshot(Inventory([Entry("", DIR, 0o755), *entries]), packs, where).to_bytes()


@pytest.mark.parametrize(
    "entries",
    [
        [Entry("../escape", FILE, 0o644)],
        [Entry("a/../../escape", FILE, 0o644)],
        [Entry("/etc/escape", FILE, 0o644)],
        [Entry("link", SYMLINK, 0o777, link="/etc"), Entry("link/escape", FILE, 0o644)],
        [Entry("gone/file", FILE, 0o644)],
        [Entry("n" * 256, FILE, 0o644)],
        [Entry("device", CHAR, 0o644, device=(1, 3))],
        [Entry("hidden", WHITEOUT)],
        [Entry("hard", HARDLINK, link="/etc/passwd")],
        [Entry("hard", HARDLINK, link="later"), Entry("later", FILE, 0o644)],
        [Entry("mode", FILE, 0o10644)],
        [Entry("owner", FILE, 0o644, uid=-1)],
        [Entry("twice", FILE, 0o644), Entry("twice", DIR, 0o755)],
        [Entry("lacking", FILE, 0o644, size=9, digest=NAME)],
        [Entry("lacking", FILE, 0o644, size=7, digest="sha256:" + "0" * 64)],
    ],
)
def test_hostile_snapshots_are_refused(entries: list[Entry]) -> None:
    assert Snapshot.from_bytes(_hostile(), "the mount")
    with pytest.raises(CacheError, match="malformed"):
        Snapshot.from_bytes(_hostile(*entries), "the mount")


@pytest.mark.parametrize(
    "piece", [Piece(1, 0, 7), Piece(0, 1, 7), Piece(-1, 0, 7), Piece(0, -1, 7), Piece(0, 0, 1 << 60)]
)
def test_contents_lie_in_their_packs(piece: Piece) -> None:
    with pytest.raises(CacheError, match="malformed"):
        Snapshot.from_bytes(_hostile(pieces={NAME: piece}), "the mount")


def test_contents_are_compared_with_their_digests(tmp_path: Path) -> None:
    import zstandard

    lie = zstandard.ZstdCompressor().compress(b"CONTENT")
    cache = LocalCache(str(tmp_path / "cache"))
    blob = descriptor.of(artifact.PACK, lie)
    cache.put(blob, lambda: io.BytesIO(lie))
    inventory = Inventory([Entry("", DIR, 0o755), Entry("file", FILE, 0o644, size=7, digest=NAME)])
    (tmp_path / "restored").mkdir()
    with pytest.raises(CacheError, match="not what it should be"):
        restore(Snapshot(inventory, [Pack(blob, 7)], {NAME: Piece(0, 0, 7)}), cache, str(tmp_path / "restored"))


def _device(path: Path, _: Path) -> None:
    path.unlink()
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def _link_for_the_file(path: Path, outside: Path) -> None:
    path.unlink()
    path.symlink_to(outside / path.name)


def _link_for_the_directory(path: Path, outside: Path) -> None:
    path.parent.rename(outside.with_name("away"))
    path.parent.symlink_to(outside)


@pytest.mark.root
@pytest.mark.parametrize("change", [_device, _link_for_the_file, _link_for_the_directory])
@pytest.mark.parametrize("opened", [1, 2])
def test_a_mount_that_a_container_changes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, Path], None], opened: int
) -> None:
    """Of what lies elsewhere nothing is sent, and no device is opened: at its first opening, and at its second."""
    mount, outside = tmp_path / "mount", tmp_path / "outside"
    for path, content in ((mount / "d", "mount"), (outside, "other")):
        path.mkdir(parents=True)
        (path / "file").write_text(content)
    os.utime(outside / "file", ns=(0, (mount / "d" / "file").stat().st_mtime_ns))
    (tmp_path / "staged").mkdir()
    plain = os.open
    seen: list[Any] = []

    def changing(name: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(name).endswith("file") and not flags & os.O_PATH:
            seen.append(name)
            if len(seen) == opened:
                change(mount / "d" / "file", outside)
        descriptor = plain(name, flags, *rest, **more)
        assert not stat.S_ISCHR(os.fstat(descriptor).st_mode)
        return descriptor

    monkeypatch.setattr(os, "open", changing)
    with contextlib.suppress(CacheError):
        packed = pack_mount(str(mount), None, str(tmp_path / "staged"))
        monkeypatch.undo()
        (pack,) = packed.files.values()
        assert zstandard.ZstdDecompressor().decompressobj().decompress(Path(pack).read_bytes()) == b"mount"
