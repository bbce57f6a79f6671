"""A tree with one file in it: what ADD fetched from a URL."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR, Entry
from buildah_py.layers.tree import SourceTree

if TYPE_CHECKING:
    from collections.abc import Sequence


class SingleFile(SourceTree):
    """The tree that holds the file `entry`, whose bytes are at `path` on this machine and whose digest is known."""

    def __init__(self, entry: Entry, path: str) -> None:
        self.file = entry
        self._path = path

    def entry(self, path: str) -> Entry | None:
        """Return the entry of the file, or of the directory that it is in."""
        if not path:
            return Entry("", DIR, 0o755, mtime=self.file.mtime)
        return self.file if path == self.file.path else None

    def names(self, path: str) -> Sequence[str]:
        """Return the file's name alone."""
        if path:
            raise NotFound(f"/{path} is not a directory")
        return [self.file.path]

    def digest(self, path: str) -> str:
        """Return the file's digest."""
        self._check(path)
        return self.file.digest

    def open(self, path: str) -> int:
        """Return a descriptor of the file."""
        self._check(path)
        return os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def _check(self, path: str) -> None:
        if path != self.file.path:
            raise NotFound(f"/{path} does not exist")
