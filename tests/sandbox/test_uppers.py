"""Changes of steps are the same layer, whether their root was an overlay, fuse-overlayfs's, or a copy."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from buildah_py.layers.capture import capture
from buildah_py.layers.whiteouts import _kernel, make_whiteout, mark_opaque
from buildah_py.linux import mounts
from buildah_py.sandbox.copied_root import copy_ahead, copy_root
from buildah_py.sandbox.overlay import overlay
from buildah_py.sandbox.root import Root
from buildah_py.sandbox.uppers import collect_changes, translate
from buildah_py.sandbox.working_root import WorkingRoot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from buildah_py.layers.entry import Entry

    Way = Callable[[Path, Path], AbstractContextManager[tuple[Path, Path, Callable[[], object]]]]

pytestmark = [pytest.mark.root]
NAMES = ("a", "b", "c", "d/a", "d/b", "d/e/a", "d/e/f/b", "x", "new", "d/new", "newer/a", "-o dd,:\n", "d/e")


def fill(lower: Path) -> None:
    """Make a small tree with all that a layer can have."""
    for directory in ("d/e/f", "empty", "x"):
        (lower / directory).mkdir(parents=True)
    for name in ("a", "b", "d/a", "d/b", "d/e/a", "d/e/f/b", "-o dd,:\n"):
        (lower / name).write_text(name * 3)
        os.chown(lower / name, 7, 70_000)
    os.link(lower / "a", lower / "c")
    (lower / "l").symlink_to("d/e")
    os.mkfifo(lower / "d/fifo")
    os.chmod(lower / "d/a", 0o6755)
    os.setxattr(lower / "d/b", "user.note", b"kept")
    os.setxattr(lower / "d/b", "security.capability", bytes.fromhex("0000000200040000000000000000000000000000"))
    os.truncate(lower / "b", 3 << 20)


def change(root: Path, seed: int) -> None:
    """Do what steps do, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(chance.randrange(1, 14)):
        path = root / chance.choice(NAMES)
        there = os.path.lexists(path)
        is_directory = path.is_dir() and not path.is_symlink()
        kind = chance.randrange(9)
        if kind == 0 and there:
            shutil.rmtree(path) if is_directory else path.unlink()
        elif kind == 1 and there and is_directory:
            shutil.rmtree(path)
            path.mkdir()
        elif kind == 2 and not there:
            path.mkdir(parents=True)
        elif kind in (3, 4) and path.parent.is_dir() and not is_directory:
            with path.open("a") as file:
                file.write(f"{kind}\n")
        elif kind == 5 and path.exists():
            os.chmod(path, chance.choice((0o700, 0o2755, 0o644 if not is_directory else 0o711)))
            os.chown(path, 5, 6)
        elif kind == 6 and there and not is_directory and not os.path.lexists(root / "link"):
            os.link(path, root / "link", follow_symlinks=False)
        elif kind == 7 and there and not is_directory and path.is_file():
            os.setxattr(path, "user.note", b"new")
        elif kind == 8 and not there and path.parent.is_dir():
            path.symlink_to("nowhere")


def layer(upper: Path, lower: Path) -> list[Entry]:
    """Give what a layer holds but for its times."""
    found = capture(str(upper), [str(lower)])
    return [entry._replace(mtime=0) for entry in found.inventory]


def directories(place: Path, *names: str) -> Iterator[Path]:
    for name in names:
        (place / name).mkdir()
        yield place / name


@contextmanager
def by_overlay(place: Path, lower: Path) -> Iterator[tuple[Path, Path, Callable[[], object]]]:
    upper, work, root = directories(place, "upper", "work", "root")
    mount = overlay((str(lower),), str(upper), str(work), own(place), str(root))
    mounts.move_mount(mount, mounts.AT_FDCWD, str(root))
    os.close(mount)
    try:
        yield root, upper, lambda: None
    finally:
        mounts.umount2(str(root), mounts.MNT_DETACH)


@contextmanager
def by_copy(place: Path, lower: Path) -> Iterator[tuple[Path, Path, Callable[[], object]]]:
    (upper,) = directories(place, "upper")
    merged = os.open(lower, os.O_RDONLY)
    looks = copy_root(merged, f"{place}/root", [str(lower)])
    os.close(merged)
    yield place / "root", upper, lambda: collect_changes(f"{place}/root", looks, str(upper), userxattr=False)


@contextmanager
def by_working_root(place: Path, lower: Path) -> Iterator[tuple[Path, Path, Callable[[], object]]]:
    upper, top = directories(place, "upper", "root")
    root = WorkingRoot(str(top), userxattr=False)
    root.show([str(lower)], os.stat(lower))
    root.settle(f"{place}/clock")
    yield top, upper, lambda: root.collect(str(upper))
    root.close()


@contextmanager
def by_fuse(place: Path, lower: Path) -> Iterator[tuple[Path, Path, Callable[[], object]]]:
    if shutil.which("fuse-overlayfs") is None:
        pytest.skip("needs fuse-overlayfs")
    upper, work, root = directories(place, "upper", "work", "root")
    below = os.open(lower, os.O_RDONLY)
    copy_ahead(below, str(upper))
    os.close(below)
    options = f"lowerdir={lower},upperdir={upper},workdir={work},writeback=0"
    with subprocess.Popen(["fuse-overlayfs", "-f", "-o", options, root], stderr=subprocess.DEVNULL) as server:
        while not os.path.ismount(root):
            assert server.poll() is None
            time.sleep(0.002)
        try:
            yield root, upper, lambda: translate(str(upper), userxattr=False)
        finally:
            mounts.umount2(str(root), mounts.MNT_DETACH)


def own(place: Path) -> Root:
    return Root((), scratch=str(place), unprivileged=False, devices=False)


@pytest.mark.parametrize("way", [by_copy, by_fuse, by_working_root])
def test_the_layer_is_that_of_an_overlay(tmp_path: Path, way: Way) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    fill(lower)
    for seed in range(60):
        found = []
        ways: tuple[Way, ...] = by_overlay, way
        for number, kind in enumerate(ways):
            place = tmp_path / f"{seed}-{number}"
            place.mkdir()
            with kind(place, lower) as (root, upper, finish):
                change(root, seed)
                finish()
                found.append(layer(upper, lower))
        assert found[1] == found[0], seed


def test_whiteouts_where_no_device_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hide the same, in a merged directory and in one that becomes opaque, for the kernel and for us."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    lower, above, bottom = directories(tmp_path, "lower", "above", "bottom")
    fill(lower)
    monkeypatch.setattr(os, "mknod", refuse)
    if _kernel() < (6, 7):
        with open(above / "x", "wb") as file, pytest.raises(PermissionError, match="or use Linux"):
            make_whiteout(file.fileno(), "a", "trusted.overlay.")
        return
    (above / "d").mkdir()
    (above / "x").mkdir()
    for directory, names in ((above, ("a", "l")), (above / "d", ("a", "e")), (above / "x", ("gone",))):
        descriptor = os.open(directory, os.O_RDONLY)
        for name in names:
            make_whiteout(descriptor, name, "trusted.overlay.")
        if directory.name == "x":
            mark_opaque(descriptor, "trusted.overlay.")
            make_whiteout(descriptor, "b", "trusted.overlay.")
        os.close(descriptor)
    assert [entry.path for entry in layer(above, lower) if entry.kind == "whiteout"] == ["a", "d/a", "d/e", "l"]
    assert os.listdir(above / "x") == []
    mount = overlay((str(bottom), str(above), str(lower)), "", "", own(tmp_path), str(bottom))
    try:
        shown = {name: sorted(os.listdir(f"/proc/self/fd/{mount}/{name}")) for name in ("", "d", "x")}
        assert stat.S_ISDIR(os.stat(f"/proc/self/fd/{mount}/d").st_mode)
    finally:
        os.close(mount)
    assert shown == {"": ["-o dd,:\n", "b", "c", "d", "empty", "x"], "d": ["b", "fifo"], "x": []}
