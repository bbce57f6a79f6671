"""Looking at what the directories of an overlay show, as they lie on the disk, without mounting them."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from buildah_py.layers.lower import Lowers
from buildah_py.linux import resolution

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from buildah_py.layers.lower import LowerPath


class ShownRoot(Lowers):
    """The root that an upper directory and those below it make up, top-most first.

    Links are resolved within it; no path leads out of the directories.
    """

    def __init__(self, roots: Sequence[str], *, userxattr: bool = False) -> None:
        super().__init__(roots, userxattr=userxattr)
        self._known: dict[str, LowerPath] = {"": self.root()}

    def find(self, path: str) -> tuple[str, os.stat_result] | None:
        """Return where `path` leads to and what that is; None where nothing is. Raises OSError."""
        names, existing = resolution.resolve(path, self._link)
        if existing < len(names):
            return None
        clean = "/".join(names)
        status = self._at(clean).stat
        return None if status is None else (clean, status)

    def read(self, path: str, most: int) -> bytes:
        """Return the first bytes of a regular file, b"" for anything else. Raises OSError."""
        found = self.find(path)
        if found is None or not stat.S_ISREG(found[1].st_mode):
            return b""
        with open(self.open(self._at(found[0]), found[0]), "rb", buffering=0) as file:
            return file.read(most) or b""

    def _at(self, path: str) -> LowerPath:
        """Return what a path without links is."""
        above = ""
        for name in filter(None, path.split("/")):
            at = f"{above}/{name}" if above else name
            if at not in self._known:
                self._known[at] = self.directory(self._known[above], above, 1).find(name)
            above = at
        return self._known[above]

    def _link(self, path: str) -> str | None:
        found = self._at(path)
        if found.stat is None:
            return None
        return self.readlink(found, path) if stat.S_ISLNK(found.stat.st_mode) else ""
