"""What a command is lent in a working root is where it wants it, and is taken back, whatever the command has done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox.journal import Journal
from buildah_py.sandbox.lending import Lending
from buildah_py.sandbox.operations import BindMount, FileMount, OverlayMount, StubFile, TmpfsMount
from buildah_py.sandbox.working_root import WorkingRoot

from .test_uppers import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root]


class Place:
    """A root that holds a layer, and beside it caches and what belongs to nobody's command."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.count = 0
        for name in ("base", "root", "aside", "store/cache-mounts/c", "host"):
            (place / name).mkdir(parents=True)
        fill(place / "base")
        self.caches = place / "store" / "cache-mounts"
        self.top = place / "root"
        self.root = WorkingRoot(str(self.top), userxattr=False)
        self.root.show([str(place / "base")], os.stat(place / "base"))
        self.before = self.names()

    def names(self) -> dict[str, tuple[int, int, int]]:
        """Give modes, sizes and times of all that the root holds."""
        found = {}
        for path in self.top.rglob("*"):
            status = path.lstat()
            found[str(path.relative_to(self.top))] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return found

    def lending(self) -> Lending:
        journal = Journal(str(self.place / "aside" / "journal"), str(self.place / "store"))
        self.count += 1
        for name in ("init", "upper"):
            (self.place / f"{name}-{self.count}").mkdir()
        return Lending(
            self.root, str(self.place / f"init-{self.count}"), str(self.place / "aside"), journal, str(self.caches)
        )

    def lend(self, *operations: object) -> Lending:
        lending = self.lending()
        lending.lend(operations)  # type: ignore[arg-type]
        lending.finish()
        self.root.settle(str(self.place / "aside" / "clock"), lending.last)
        return lending

    def end(self, lending: Lending) -> list[str]:
        """Take what was lent back; what the command has changed."""
        changed, gone = self.root.collect(str(self.place / f"upper-{self.count}"), lending.targets)
        lending.take_back()
        assert sorted(os.listdir(self.place / "aside")) == []
        return [*changed, *gone]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.root.close()


def test_what_is_lent_leaves_no_trace(place: Place) -> None:
    (place.caches / "c" / "old").write_text("old")
    (place.place / "host" / "socket").write_text("a file")
    base = (str(place.place / "base"),)
    lending = place.lend(
        BindMount(str(place.caches / "c"), "/d/e", readonly=False),  # where the image has something
        TmpfsMount("/new/place/t", mode=0o1777),
        OverlayMount(base, "/new/shown", "d"),
        OverlayMount(base, "/new/one", "a"),
        FileMount("/l/secret", b"secret", 0o440, 7, 8),  # by a link: /l is d/e, which is the cache
        BindMount(str(place.place / "host"), "/volume", recursive=True),
        BindMount(str(place.place / "host" / "socket"), "/d/socket", readonly=False),
        StubFile("/x/stub", b"stub"),
        StubFile("/a", b"not this"),
    )
    top = place.top
    assert (top / "d/e/old").read_text() == "old"
    assert not (top / "d/e/a").exists()
    status = (top / "d/e/secret").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o440, 7, 8)
    assert (top / "new/place/t").stat().st_mode & 0o7777 == 0o1777
    assert (top / "new/shown/b").read_bytes() == (top / "d/b").read_bytes()
    assert (top / "new/one").read_text() == "aaa"
    assert (top / "volume/socket").read_text() == "a file"
    assert (top / "d/socket").stat().st_ino == (place.place / "host" / "socket").stat().st_ino
    assert (top / "x/stub").read_text() == "stub"
    (top / "d/e/new").write_text("new")
    (top / "new/place/t/file").write_text("gone")
    lending.check()
    assert place.end(lending) == []
    assert place.names() == place.before
    assert (place.caches / "c" / "new").read_text() == "new"
    assert not (place.caches / "c" / "secret").exists()


def test_what_the_command_makes_of_its_own_stays(place: Place) -> None:
    lending = place.lend(TmpfsMount("/new/t"), StubFile("/x/stub", b"stub"), StubFile("/x/gone", b"stub"))
    (place.top / "new" / "beside").write_text("mine")
    (place.top / "x" / "stub").write_text("mine")
    (place.top / "x" / "gone").unlink()
    assert {"new/beside", "x/stub", "x/gone"} <= {*place.end(lending)}
    assert (place.top / "new" / "beside").read_text() == "mine"
    assert (place.top / "x" / "stub").read_text() == "mine"
    assert not (place.top / "new" / "t").exists()


def test_a_cache_that_the_command_removes_is_empty(place: Place) -> None:
    (place.caches / "c").chmod(0o751)
    (place.caches / "c" / "old").write_text("old")
    lending = place.lend(BindMount(str(place.caches / "c"), "/cache", readonly=False))
    (place.top / "cache" / "old").unlink()
    (place.top / "cache").rmdir()
    (place.top / "cache").symlink_to("/")
    place.end(lending)
    assert os.listdir(place.caches / "c") == []
    assert (place.caches / "c").stat().st_mode & 0o777 == 0o751


def test_a_cache_on_another_file_system_is_copied(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = os.rename

    def refuse(source: str, target: str) -> None:
        if str(source).startswith(str(place.caches)) and str(target).startswith(str(place.top)):
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    cache = place.caches / "c"
    (cache / "old").write_text("old")
    (cache / "going").write_text("going")
    os.chown(cache, 7, 8)
    for _ in range(2):  # the second time nothing is changed
        inode = cache.stat().st_ino
        lending = place.lend(BindMount(str(cache), "/cache", readonly=False))
        assert (place.top / "cache" / "old").read_text() == "old"
        if (place.top / "cache" / "going").exists():
            (place.top / "cache" / "going").unlink()
            (place.top / "cache" / "new").write_text("new")
        place.end(lending)
        assert sorted(os.listdir(cache)) == ["new", "old"]
        assert cache.stat().st_uid == 7
        assert not (place.top / "cache").exists()
    assert cache.stat().st_ino == inode
    lending = place.lend(BindMount(str(cache), "/cache", readonly=False))
    for name in ("new", "old"):
        (place.top / "cache" / name).unlink()
    (place.top / "cache").rmdir()
    place.end(lending)
    assert os.listdir(cache) == []


def test_no_link_of_a_command_is_followed(place: Place) -> None:
    """Neither where something is taken back, nor after an interruption, nor where times are set."""
    mine = place.place / "host"
    (mine / "t").mkdir()
    (mine / "t" / "file").write_text("mine")
    (mine / "secret").write_text("mine")
    (mine / "cache").mkdir()
    os.utime(mine, (5, 5))
    (place.caches / "c" / "old").write_text("old")
    made = (
        TmpfsMount("/x/t"),
        FileMount("/x/secret", b"s"),
        BindMount(str(place.caches / "c"), "/x/cache", readonly=False),
    )
    for interrupted in (True, False):
        lending = place.lend(*made)
        (place.top / "x").rename(place.top / "moved")
        (place.top / "x").symlink_to(mine)
        if interrupted:
            assert Journal(str(place.place / "aside" / "journal"), str(place.place / "store")).recover()
            (place.top / "x").unlink()
            (place.top / "moved").rename(place.top / "x")
        lending.take_back()
        assert (mine / "t" / "file").read_text() == "mine"
        assert (mine / "secret").read_text() == "mine"
        assert (mine / "cache").is_dir()
        assert mine.stat().st_mtime == 5
    assert os.listdir(place.caches / "c") == []


def test_an_interrupted_command_is_undone(place: Place) -> None:
    (place.caches / "c" / "old").write_text("old")
    place.lend(
        BindMount(str(place.caches / "c"), "/cache", readonly=False),
        FileMount("/secret", b"secret"),
        FileMount("/a", b"instead"),
        TmpfsMount("/t"),
    )
    (place.top / "cache" / "new").write_text("new")
    journal = Journal(str(place.place / "aside" / "journal"), str(place.place / "store"))
    assert journal.recover()
    assert sorted(os.listdir(place.caches / "c")) == ["new", "old"]
    assert not {"cache", "secret", "t"} & {*os.listdir(place.top)}
    assert not journal.recover()


@pytest.mark.parametrize("how", ["file", "tree", "gone"])
def test_what_is_read_only_is_held_to_that(place: Place, how: str) -> None:
    base = (str(place.place / "base"),)
    lending = place.lend(
        FileMount("/secret", b"secret"),
        OverlayMount(base, "/shown"),
        TmpfsMount("/shown/x/rw"),
        FileMount("/own", b"own", readonly=False),
    )
    (place.top / "shown" / "x" / "rw" / "file").write_text("is allowed")
    (place.top / "own").write_text("as well")
    lending.check()
    if how == "file":
        (place.top / "secret").chmod(0o777)
    elif how == "tree":
        (place.top / "shown" / "d" / "e" / "a").write_text("new")
    else:
        (place.top / "secret").unlink()
    with pytest.raises(SandboxError, match="is read-only to it"):
        lending.check()
    lending.take_back()
