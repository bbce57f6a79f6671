"""Rooms of the state directory that only grow unless somebody looks after them: their size, and their bounds."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

MAX_LOGS = 100
MAX_LOG_BYTES = 256 << 20
MAX_STAT_CACHES = 100
_DEEP = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def disk_usage(path: str) -> int:
    """The bytes on the disk of a file or of everything in a directory, as du(1) counts them; 0 where nothing is.

    What vanishes meanwhile does not count.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_blocks * 512
        root = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return 0
    blocks = status.st_blocks
    linked: set[tuple[int, int]] = set()
    todo = ["."]
    try:
        while todo:
            directory = todo.pop()
            try:
                descriptor = os.open(directory, _DIRECTORY, dir_fd=root)
            except FileNotFoundError:
                continue
            try:
                for name, status in _children(descriptor):
                    if stat.S_ISDIR(status.st_mode):
                        todo.append(f"{directory}/{name}")
                    elif status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in linked:
                            continue
                        linked.add((status.st_dev, status.st_ino))
                    blocks += status.st_blocks
            finally:
                os.close(descriptor)
    finally:
        os.close(root)
    return blocks * 512


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, however deep; another process may be removing it too.

    Raises FileNotFoundError where there is none.
    """
    root = os.open(path, _DIRECTORY)
    deep = 0
    todo, done = ["."], []
    try:
        while todo:
            directory = todo.pop()
            done.append(directory)
            try:
                descriptor = os.open(directory, _DIRECTORY, dir_fd=root)
            except FileNotFoundError:
                continue
            try:
                for name, status in _children(descriptor):
                    if not stat.S_ISDIR(status.st_mode):
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(name, dir_fd=descriptor)
                    elif len(directory) + len(name) < _DEEP:
                        todo.append(f"{directory}/{name}")
                    else:  # a path longer than the kernel takes would follow
                        deep += 1
                        os.rename(name, f"{_DEEP}.{deep}", src_dir_fd=descriptor, dst_dir_fd=root)
                        todo.append(f"./{_DEEP}.{deep}")
            finally:
                os.close(descriptor)
        for directory in reversed(done[1:]):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory, dir_fd=root)
    finally:
        os.close(root)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def _children(descriptor: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with os.scandir(descriptor) as listing:
        for item in listing:
            try:
                found.append((item.name, item.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    return found


def trim_logs(directory: str, living: Container[str], *, most: int = MAX_LOGS, most_bytes: int = MAX_LOG_BYTES) -> int:
    """Remove the oldest builds' logs above a number and a size, but those of living builds; the bytes freed.

    Names begin with the start of their build, in digits of one length.
    """
    freed = 0
    total = 0
    for place, name in enumerate(sorted(os.listdir(directory), reverse=True)):
        path = os.path.join(directory, name)
        size = disk_usage(path)
        total += size
        if name not in living and (place >= most or total > most_bytes):
            with contextlib.suppress(FileNotFoundError):
                remove_tree(path)
            total -= size
            freed += size
    return freed


def trim_files(directory: str, *, most: int = MAX_STAT_CACHES) -> int:
    """Remove the files of a directory that were read or written longest ago, above a number; the bytes freed."""
    try:
        with os.scandir(directory) as listing:
            found = [(item.stat(), item.path) for item in listing if item.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return 0
    found.sort(key=lambda item: max(item[0].st_atime_ns, item[0].st_mtime_ns), reverse=True)
    freed = 0
    for status, path in found[most:]:
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        freed += status.st_blocks * 512
    return freed
