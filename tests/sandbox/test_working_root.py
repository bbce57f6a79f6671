"""A root that is changed from chain to chain holds at any time what an overlay of the chain shows."""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox import filling
from buildah_py.sandbox.overlay import overlay
from buildah_py.sandbox.working_root import WorkingRoot

from .test_uppers import change, fill, own

pytestmark = [pytest.mark.root]

Tree = dict[str, tuple[object, ...]]


def tree(top: Path) -> Tree:
    """Give all that a program sees of a tree, but for inodes and the time of the top."""
    found: Tree = {}
    for directory, names, files in os.walk(top):
        for path in (Path(directory) / name for name in (*names, *files)):
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = path.read_bytes()
            attributes = {}
            if not stat.S_ISLNK(status.st_mode):
                names_kept = (one for one in os.listxattr(path) if one.startswith(("user.", "security.")))
                attributes = {name: os.getxattr(path, name) for name in names_kept}
            about = status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, content, attributes
            found[os.path.relpath(path, top)] = about
    return found


def shown(lowers: list[str], place: Path) -> Tree:
    mount = overlay(tuple(lowers), "", "", own(place), str(place))
    try:
        return tree(Path(f"/proc/self/fd/{mount}/."))
    finally:
        os.close(mount)


class Chains:
    """Layers made by random steps, and the root that they are made in."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place = place
        self.chance = random.Random(seed)
        self.count = 0
        base = place / "base"
        base.mkdir()
        fill(base)
        self.chains: list[tuple[str, ...]] = [(str(base),)]
        self.top = place / "root"
        self.top.mkdir()
        (place / "empty").mkdir()

    def step(self, root: WorkingRoot) -> None:
        """Show a chain, hold it to the overlay, change it, and keep the layer, as it is or in another directory."""
        chain = self.chance.choice(self.chains)
        attributes = os.stat(self.place / "base")
        root.show(chain, attributes)
        assert all(path.lstat().st_nlink == 1 for path in self.top.rglob("*") if not path.is_dir())
        assert tree(self.top) == shown([*chain, str(self.place / "empty")], self.place / "empty")
        self.count += 1
        upper = self.place / f"upper-{self.count}"
        upper.mkdir()
        root.settle(f"{self.place}/clock")
        change(self.top, self.chance.randrange(1 << 30))
        root.collect(str(upper))
        kind = self.chance.randrange(4)
        layer = self.place / f"layer-{self.count}"
        if kind == 0:  # an equal layer was there before
            shutil.copytree(upper, layer, symlinks=True, copy_function=_copy) if _is_plain(upper) else upper.rename(
                layer
            )
            shutil.rmtree(upper, ignore_errors=True)
        elif kind == 1:  # it is thrown away
            shutil.rmtree(upper)
            return
        else:
            upper.rename(layer)
            for directory, _, files in os.walk(layer):  # as capturing cuts times
                for name in files:
                    os.utime(f"{directory}/{name}", (self.count, self.count), follow_symlinks=False)
        self.chains.append((str(layer), *chain))


def _is_plain(upper: Path) -> bool:
    return all(path.is_dir() or path.is_file() or path.is_symlink() for path in upper.rglob("*"))


def _copy(source: str, target: str) -> None:
    shutil.copy2(source, target, follow_symlinks=False)
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))


@pytest.mark.parametrize("seed", range(6))
def test_it_holds_what_an_overlay_shows(tmp_path: Path, seed: int) -> None:
    chains = Chains(tmp_path, seed)
    root = WorkingRoot(str(chains.top), userxattr=False)
    for _ in range(25):
        chains.step(root)
        if chains.chance.randrange(8) == 0:  # another process goes on; somebody may have touched it meanwhile
            known = root.known()
            root.close()
            root = WorkingRoot(str(chains.top), userxattr=False)
            if chains.chance.randrange(3):
                change(chains.top, chains.chance.randrange(1 << 30))
            assert known is not None
            root.remember(*known)
    root.close()


def test_little_is_written_for_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command has written is not copied back, nor is what both chains have."""
    chains = Chains(tmp_path, 0)
    root = WorkingRoot(str(chains.top), userxattr=False)
    attributes = os.stat(tmp_path / "base")
    root.show(chains.chains[0], attributes)
    root.settle(f"{tmp_path}/clock")
    (chains.top / "new").write_text("new")
    (tmp_path / "upper").mkdir()
    root.collect(str(tmp_path / "upper"))
    (tmp_path / "upper").rename(tmp_path / "layer")
    written: list[str] = []
    make = filling.Filling.make

    def note(*words: Any) -> None:
        written.append(words[1])
        make(*words)

    monkeypatch.setattr(filling.Filling, "make", note)
    root.show((str(tmp_path / "layer"), *chains.chains[0]), attributes)
    assert written == []
    root.show(chains.chains[0], attributes)
    assert not (chains.top / "new").exists()
    assert written == []
    root.close()


def test_what_is_left_alone(tmp_path: Path) -> None:
    """It stays where it is, is no part of a layer, and an image that needs its place is refused."""
    chains = Chains(tmp_path, 0)
    (chains.top / "mine" / "inner").mkdir(parents=True)
    (chains.top / "mine" / "inner" / "file").write_text("mine")
    (chains.top / "other").write_text("another's")
    root = WorkingRoot(str(chains.top), ("mine/inner",), userxattr=False)
    attributes = os.stat(tmp_path / "base")
    root.show(chains.chains[0], attributes)
    assert (chains.top / "mine" / "inner" / "file").read_text() == "mine"
    assert not (chains.top / "other").exists()
    root.settle(f"{tmp_path}/clock")
    (chains.top / "mine" / "inner" / "more").write_text("no part of it")
    (tmp_path / "upper").mkdir()
    assert root.collect(str(tmp_path / "upper")) == ([], [])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").write_text("a file")
    with pytest.raises(SandboxError, match="no directory at /mine"):
        root.show((str(tmp_path / "other"), *chains.chains[0]), attributes)
    root.show(chains.chains[0], attributes)
    root.close()
