"""The init layer: a lower directory with nothing but mount points and stubs.

It lies above the parent chain and below the upper, so whatever is in it can be mounted on and never be committed. As
the attributes of the top-most directory win in an overlay, a directory of it that the chain has too copies the chain's.
"""

from __future__ import annotations

import errno
import os
import stat

from buildah_py.linux.resolution import resolve
from buildah_py.sandbox.below import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.sandbox.below import Below


def locate(below: Below, path: str, *, follow_last: bool = True) -> tuple[list[str], int]:
    """Resolve a path in what lies below.

    Gives the names on the way, free of symbolic links, and how many of them exist. Raises NotADirectoryError where the
    way goes through something else, OSError (ELOOP) for links that go in circles.
    """

    def link(at: str) -> str | None:
        answer = below.look(at)
        return None if answer is None else answer[4]

    return resolve(path, link, follow_last=follow_last)


class InitLayer:
    """The layer being made in the directory `path`, above what is `below`.

    `needed` are permissions that its directories have beside those below: an ordinary user writes to no others.
    """

    __slots__ = ("_below", "_covered", "_layer", "_needed", "path")

    def __init__(self, path: str, below: Below, needed: int = 0) -> None:
        self.path = path
        self._needed = needed
        self._below = below
        self._layer = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._covered: list[list[str]] = []
        self._copy_attributes(ROOT)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._layer)

    def add(self, target: str, directory: bool) -> str:
        """Provide for a mount target; gives it without symbolic links. Raises OSError where the chain forbids it."""
        names, existing = locate(self._below, target)
        resolved = "/" + "/".join(names)
        if not names:
            raise OSError(errno.EBUSY, "the root cannot be mounted over", target)
        if existing == len(names):
            self._check_kind(resolved, directory)
        elif not any(names[: len(covered)] == covered for covered in self._covered):
            self._make(names, existing, directory)
        if directory:
            self._covered.append(names)
        return resolved

    def add_file(self, target: str, content: bytes) -> None:
        """Provide a file with content, whatever the chain has there (a symbolic link is shadowed)."""
        names, existing = locate(self._below, target, follow_last=False)
        if existing == len(names):
            if stat.S_ISDIR(self._mode("/".join(names))):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/" + "/".join(names))
            existing -= 1
        self._make(names, existing, directory=False)
        descriptor = os.open("/".join(names), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._layer)
        with open(descriptor, "wb") as file:
            file.write(content)

    def add_stub(self, target: str, content: bytes) -> None:
        """Provide a file with content where the chain has nothing, and nothing is mounted on the way to it."""
        try:
            names, existing = locate(self._below, target)
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:  # there is something else in the way
                raise
            return
        if existing == len(names) or any(names[: len(covered)] == covered for covered in self._covered):
            return
        self._make(names, existing, directory=False)
        with open(os.open("/".join(names), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._layer), "wb") as file:
            file.write(content)

    def _mode(self, path: str) -> int:
        answer = self._below.look(path)
        assert answer is not None
        return answer[0]

    def _check_kind(self, resolved: str, directory: bool) -> None:
        mode = self._mode(resolved[1:])
        if directory and not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), resolved)
        if not directory and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), resolved)

    def _make(self, names: Sequence[str], existing: int, directory: bool) -> None:
        for length in range(1, len(names) + 1):
            here = "/".join(names[:length])
            if directory or length < len(names):
                try:
                    os.mkdir(here, 0o755, dir_fd=self._layer)
                except FileExistsError:
                    continue
                if length <= existing:
                    self._copy_attributes(here)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(here, flags, 0o644, dir_fd=self._layer))
        for length in range(existing, 0, -1):  # new entries have touched the times of what the chain has
            here = "/".join(names[:length])
            answer = self._below.look(here)
            assert answer is not None
            os.utime(here, ns=answer[3], dir_fd=self._layer, follow_symlinks=False)

    def _copy_attributes(self, path: str) -> None:
        """Have a directory look as the one below, if there is one."""
        answer = self._below.look(path)
        if answer is None:
            return
        mode, uid, gid, _, _, attributes = answer
        here = path or "."
        os.chown(here, uid, gid, dir_fd=self._layer, follow_symlinks=False)
        os.chmod(here, stat.S_IMODE(mode) | self._needed, dir_fd=self._layer)
        if attributes:
            copy = os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._layer)
            try:
                for name, value in attributes:
                    os.setxattr(copy, name, value)
            finally:
                os.close(copy)
