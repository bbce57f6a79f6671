"""Measuring and removing trees, whatever they look like and whoever changes them meanwhile."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from buildah_py.store.disk_usage import disk_usage, remove_tree, trim_logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def nest(path: Path, names: list[str]) -> int:
    """Make directories in each other, with a file beside each; the bytes on the disk."""
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    size = os.fstat(here).st_blocks
    for name in names:
        os.mkdir(name, dir_fd=here)
        os.mkdir("beside", dir_fd=here)
        file = os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here)
        os.write(file, b"x" * 5000)
        inner, beside = (os.open(one, os.O_RDONLY, dir_fd=here) for one in (name, "beside"))
        size += sum(os.fstat(one).st_blocks for one in (file, inner, beside))
        for one in (file, beside, here):
            os.close(one)
        here = inner
    os.close(here)
    return size * 512


@pytest.mark.parametrize("names", [["n" * 200] * 50, ["d"] * 150], ids=["long", "deep"])
def test_trees_of_any_depth(tmp_path: Path, names: list[str]) -> None:
    size = nest(tmp_path / "tree", names)
    assert disk_usage(str(tmp_path / "tree")) == size
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", [disk_usage, remove_tree])
@pytest.mark.parametrize("depth", [3, 80])
def test_a_directory_that_becomes_a_link_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[[str], int | None], depth: int
) -> None:
    """Whoever wins a race has nothing looked at or removed that lies outside."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    nest(tree, ["d"] * depth)
    nest(outside, ["d"] * depth)
    for path in outside.rglob("file"):
        path.write_bytes(b"y" * 50_000)
    names = [f"also{number}" for number in range(8)]  # which are where the way back from what was moved leads to
    for name in names:
        (tree / name).mkdir()
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"y" * 50_000)
    kept, most = disk_usage(str(outside)), disk_usage(str(tree))
    opened = os.open
    seen = []

    def swapping(name: Any, *rest: Any, **more: Any) -> int:
        seen.append(name)
        if len(seen) == 2 + depth // 2 and (tree / "d").is_dir():  # somewhere inside
            os.rename(tree / "d", tmp_path / "away")
            os.symlink(outside / "d", tree / "d")
        return opened(name, *rest, **more)

    monkeypatch.setattr(os, "open", swapping)
    with contextlib.suppress(OSError):  # it may give up
        assert (function(str(tree)) or 0) <= most
    monkeypatch.undo()
    assert disk_usage(str(outside)) == kept
    assert all((tmp_path / name / "file").exists() for name in names)
    assert (tmp_path / "away").is_dir(), "the swap was in time"


def test_a_tree_that_is_filled_while_it_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nest(tmp_path / "tree", ["a", "b"])
    removed = os.rmdir
    filled: list[str] = []

    def filling(name: Any, *, dir_fd: int | None = None) -> None:
        if name == "b" and len(filled) < 3:
            filled.append(name)
            inner = os.open("b", os.O_RDONLY, dir_fd=dir_fd)
            os.mkdir("new", dir_fd=inner)
            os.close(inner)
        removed(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", filling)
    remove_tree(str(tmp_path / "tree"))
    assert os.listdir(tmp_path) == []
    assert len(filled) == 3


def test_records_and_logs_of_builds_go_by_number_size_and_age(tmp_path: Path) -> None:
    names = [f"179600000000000000{number}-1-1" for number in range(10)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.log").write_bytes(b"x" * 9000)
    trim_logs(str(tmp_path), {names[0]}, oldest=1796000000000000003)
    assert sorted(os.listdir(tmp_path)) == [names[0], *names[3:]]
    trim_logs(str(tmp_path), {names[0]}, most=5)
    assert sorted(os.listdir(tmp_path)) == [names[0], *names[5:]]
    trim_logs(str(tmp_path), (), most_bytes=30_000)
    assert max(os.listdir(tmp_path)) == names[9]
    assert len(os.listdir(tmp_path)) <= 3
