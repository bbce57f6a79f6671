"""Small files on their way into a layer, gathered by directory; many are created by a process of their own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from buildah_py.layers.create import Attributes, File
    from buildah_py.layers.creator import Creator
    from buildah_py.layers.entry import Entry

_BATCH_FILES: Final = 64
_BATCH_BYTES: Final = 1 << 19
_ALONE: Final = 8
"""Batches that the caller creates itself: starting a process takes about as long."""


class FileSpool:
    """Creates files in the directories below `root` (a descriptor), which have to exist.

    `put` may return before the file is there; `wait` returns when all are, and raises what went wrong with one.
    """

    def __init__(self, root: int, attributes: Attributes) -> None:
        self._root = root
        self._attributes = attributes
        self._parent = ""
        self._files: list[File] = []
        self._data: list[bytes] = []
        self._held = 0
        self._batches = 0
        self._alone = _ALONE if (os.cpu_count() or 1) > 1 else None
        self._creator: Creator | None = None

    def put(self, parent: str, name: str, entry: Entry, data: bytes) -> None:
        """Have the file `name` made in the directory `parent`."""
        if parent != self._parent or self._held >= _BATCH_BYTES or len(self._files) >= _BATCH_FILES:
            self.flush()
            self._parent = parent
        _, _, mode, uid, gid, size, _, _, _, xattrs, mtime, *_ = entry
        self._files.append((name, mode, uid, gid, mtime, xattrs, size))
        if size:
            self._data.append(data)
            self._held += size

    def wait(self) -> None:
        """Return when every file is there."""
        self.flush()
        if self._creator is not None:
            self._creator.wait()

    def close(self) -> None:
        """End the process; what it has not begun is left out."""
        self._files, self._data = [], []
        if self._creator is not None:
            self._creator.close()
            self._creator = None

    def flush(self) -> None:
        """Pass on what was gathered."""
        if not self._files:
            return
        files, data = self._files, self._data
        self._files, self._data, self._held = [], [], 0
        if self._creator is not None:
            self._creator.create(self._parent, files, data)
            return
        self._attributes.create_files(self._root, self._parent, files, b"".join(data))
        self._batches += 1
        if self._batches == self._alone:
            from buildah_py.layers.creator import Creator

            self._creator = Creator(self._root, owners=self._attributes.owners)
