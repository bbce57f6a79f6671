"""Opening below a descriptor: nothing that lies there leads out of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.linux.paths import Beneath, open_beneath, read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for path in (tree / "a" / "b", outside / "b"):
        path.mkdir(parents=True)
    (tree / "a" / "b" / "file").write_text("inside")
    (outside / "b" / "file").write_text("outside")
    (tree / "link").symlink_to("a")
    (tree / "out").symlink_to(outside)
    os.mkfifo(tree / "fifo")
    return tree


@pytest.fixture
def beneath(tree: Path) -> Iterator[Beneath]:
    opened = Beneath(os.open(tree, os.O_RDONLY))
    yield opened
    opened.close()


def read(descriptor: int) -> str:
    with open(descriptor, encoding="ascii") as file:
        return file.read()


def test_what_lies_beneath(beneath: Beneath) -> None:
    assert read(beneath.open("a/b/file", os.O_RDONLY)) == "inside"
    assert read(open_beneath(beneath.top, "a/b/file", os.O_RDONLY)) == "inside"
    assert beneath.lstat("a/b").st_ino == os.fstat(beneath.parent("a/b/file")[0]).st_ino
    assert beneath.readlink("link") == "a"
    assert beneath.lstat("").st_ino == os.fstat(beneath.top).st_ino


@pytest.mark.parametrize("path", ["out/b/file", "link/b/file", "out", "../outside/b/file", "/etc/passwd", "a/../out/b"])
def test_what_leads_elsewhere(beneath: Beneath, path: str) -> None:
    with pytest.raises(OSError):
        open_beneath(beneath.top, path, os.O_RDONLY)
    with pytest.raises(OSError):
        beneath.open(path, os.O_RDONLY)


def test_a_parent_that_is_replaced(beneath: Beneath, tree: Path) -> None:
    """The last parent stays what it was, another is looked for anew; neither is followed out."""
    assert read(beneath.open("a/b/file", os.O_RDONLY)) == "inside"
    (tree / "a").rename(tree / "away")
    (tree / "a").symlink_to(tree.parent / "outside")
    assert read(beneath.open("a/b/file", os.O_RDONLY)) == "inside"
    beneath.lstat("fifo")
    with pytest.raises(OSError):
        beneath.open("a/b/file", os.O_RDONLY)


def test_only_regular_files_are_read(beneath: Beneath) -> None:
    assert read_regular(beneath.top, "a/b/file", 3) == b"ins"
    assert read_regular(beneath.top, "/link/b/file", 100) == b"inside"
    for path in ("fifo", "a", "missing", "out/b/file", "a/b/file/x"):
        assert read_regular(beneath.top, path, 100) == b""
