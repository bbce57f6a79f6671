"""Layers below a container, at the places where mount points go: looked at in a mount of them, and remembered.

A step has the layers of the step before with one more. Mostly that one has nothing of what the answers are about, which
need not be looked up again then, for which all layers would have to be mounted once more than for the root.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Lower = tuple[int, int, int, tuple[int, int], str, tuple[tuple[str, bytes], ...]]
    """Mode, uid, gid, atime and mtime in ns, target of a symbolic link, extended attributes of a directory."""

ROOT = ""
_PRIVATE = ("trusted.overlay.", "user.overlay.")
_MOST_CHAINS = 64


class Below:
    """Answers about what `lowers`, top-most first, show at a path: those that are `known`, and others by a look.

    `mount` gives a descriptor of all of them, merged, which is asked for when it is needed first.
    """

    def __init__(self, lowers: tuple[str, ...], mount: Callable[[], int], known: Mapping[str, Lower | None]) -> None:
        self.answers = dict(known)
        self._lowers = lowers
        self._mount = mount
        self._mounted = -1

    def close(self) -> None:
        """Let go of the layers."""
        if self._mounted != -1:
            os.close(self._mounted)

    def look(self, path: str) -> Lower | None:
        """Say what is at a path without links, relative to the root; None for nothing. Raises NotADirectoryError."""
        if path not in self.answers:
            self.answers[path] = self._look(path) if self._lowers else None
        return self.answers[path]

    def _look(self, path: str) -> Lower | None:
        if path == ROOT:  # an overlay's is that of its top-most layer
            root = os.open(self._lowers[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                return _answer(root, ".")
            finally:
                os.close(root)
        if self._mounted == -1:
            self._mounted = self._mount()
        try:
            return _answer(self._mounted, path)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"/{os.path.dirname(path)}") from None


def _answer(root: int, path: str) -> Lower:
    found = os.stat(path, dir_fd=root, follow_symlinks=False)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:  # a whiteout, which a single layer, not being merged, shows
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    target = ""
    attributes: tuple[tuple[str, bytes], ...] = ()
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(path, dir_fd=root)
    elif stat.S_ISDIR(found.st_mode):
        attributes = _attributes(root, path)
    return found.st_mode, found.st_uid, found.st_gid, (found.st_atime_ns, found.st_mtime_ns), target, attributes


def _attributes(root: int, path: str) -> tuple[tuple[str, bytes], ...]:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root)
    try:
        names = [name for name in os.listxattr(directory) if not name.startswith(_PRIVATE)]
        return tuple((name, os.getxattr(directory, name)) for name in names)
    finally:
        os.close(directory)


class RememberedAnswers:
    """The answers that containers have found, by their layers."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ...], dict[str, Lower | None]] = {}

    def keep(self, lowers: tuple[str, ...], answers: Mapping[str, Lower | None]) -> None:
        """Remember what was found; the directories of layers are never written to again."""
        if len(self._answers) >= _MOST_CHAINS:
            self._answers.clear()
        self._answers[lowers] = dict(answers)

    def known(self, lowers: tuple[str, ...]) -> dict[str, Lower | None]:
        """Give the answers that hold for these layers: their own, or those of all but the top-most."""
        same = self._answers.get(lowers)
        if same is not None:
            return same
        below = self._answers.get(lowers[1:])
        if below is None or not lowers:
            return {}
        names = {path.partition("/")[0] for path in below} - {ROOT}
        if any(os.path.lexists(f"{lowers[0]}/{name}") for name in names):
            return {}
        return {path: answer for path, answer in below.items() if path != ROOT}
