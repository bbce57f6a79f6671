"""A list of what a command in place is lent, in a file, so that it is put back after an interruption, too."""

from __future__ import annotations

import errno
import json
import os
import stat

from buildah_py.linux.paths import open_beneath
from buildah_py.store.disk_usage import remove_tree

KEPT_ASIDE, MOVED, COPIED, MADE = "kept aside", "moved", "copied", "made"
"""Kinds of what was done: something of the image is elsewhere, a cache is moved, or copied, something is new."""


class Journal:
    """A file that says what was put where, as long as that is so. Caches are on the file system of `store`."""

    def __init__(self, path: str, store: str) -> None:
        self._path = path
        self._store = store
        self._entries: list[tuple[str, str, str]] = []

    def add(self, kind: str, origin: str, place: str) -> None:
        """Note what is about to be done."""
        self._entries.append((kind, origin, place))
        with open(f"{self._path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(self._entries, file)
        os.replace(f"{self._path}.new", self._path)

    def beside(self, name: str) -> str:
        """Give a path beside it, on the file system of the store, at which nothing is."""
        os.makedirs(f"{self._store}/sandbox", mode=0o700, exist_ok=True)
        path = f"{self._store}/sandbox/cache-{name}"
        remove(path)
        return path

    def clear(self) -> None:
        """Note that all was put back."""
        self._entries = []
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return

    def recover(self) -> bool:
        """Put back what an interrupted command was lent; whether there was anything."""
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                entries = json.load(file)
        except FileNotFoundError:
            return False
        for kind, origin, place in reversed(entries):
            parent = open_directory("/", os.path.dirname(place).strip("/"))
            if parent == -1:
                continue
            here = f"/proc/self/fd/{parent}/{os.path.basename(place)}"
            try:
                if kind == MOVED and is_directory(here) and not os.path.lexists(origin):
                    os.rename(here, origin)
                elif kind != KEPT_ASIDE:
                    remove(here)
            finally:
                os.close(parent)
        self.clear()
        return True


def open_directory(top: str, path: str) -> int:
    """Open a directory below `top`, to which no link leads; -1 where there is none."""
    descriptor = os.open(top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(descriptor, path, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return -1
    finally:
        os.close(descriptor)


def is_directory(path: str) -> bool:
    """Tell a directory from all else, links too."""
    return os.path.isdir(path) and not os.path.islink(path)


def remove(path: str) -> None:
    """Remove whatever is at a path, if anything is."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(status.st_mode):
        remove_tree(path)
    else:
        os.unlink(path)
