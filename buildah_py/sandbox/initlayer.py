"""The init layer: a lower directory with nothing but mount points and stubs.

It lies above the parent chain and below the upper, so whatever is in it can be mounted on and never be committed. As
the attributes of the top-most directory win in an overlay, a directory of it that the chain has too copies the chain's.
"""

from __future__ import annotations

import errno
import os
import stat

from buildah_py.linux.resolution import resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def locate(root: int, path: str, *, follow_last: bool = True) -> tuple[list[str], int]:
    """Resolve a path inside a root in which nothing changes.

    Gives the names on the way, free of symbolic links, and how many of them exist. Raises NotADirectoryError where the
    way goes through something else, OSError (ELOOP) for links that go in circles.
    """

    def link(at: str) -> str | None:
        try:
            mode = os.stat(at, dir_fd=root, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), f"/{os.path.dirname(at)}") from None
        return os.readlink(at, dir_fd=root) if stat.S_ISLNK(mode) else ""

    return resolve(path, link, follow_last=follow_last)


class InitLayer:
    """The layer being made: `chain` is a descriptor of the chain's merged view (-1 when empty), `path` its place."""

    __slots__ = ("_chain", "_covered", "_layer", "path")

    def __init__(self, path: str, chain: int) -> None:
        self.path = path
        self._chain = chain
        self._layer = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._covered: list[list[str]] = []
        if chain != -1:
            _copy_attributes(chain, ".", self._layer, ".")

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._layer)

    def add(self, target: str, directory: bool) -> str:
        """Provide for a mount target; gives it without symbolic links. Raises OSError where the chain forbids it."""
        names, existing = self._locate(target)
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
        names, existing = self._locate(target, follow_last=False)
        if existing == len(names):
            mode = os.stat("/".join(names), dir_fd=self._chain, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "/" + "/".join(names))
            existing -= 1
        self._make(names, existing, directory=False)
        descriptor = os.open("/".join(names), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._layer)
        with open(descriptor, "wb") as file:
            file.write(content)

    def add_stub(self, target: str, content: bytes) -> None:
        """Provide a file with content where the chain has nothing, and nothing is mounted on the way to it."""
        try:
            names, existing = self._locate(target)
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:  # there is something else in the way
                raise
            return
        if existing == len(names) or any(names[: len(covered)] == covered for covered in self._covered):
            return
        self._make(names, existing, directory=False)
        with open(os.open("/".join(names), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._layer), "wb") as file:
            file.write(content)

    def _locate(self, path: str, *, follow_last: bool = True) -> tuple[list[str], int]:
        if self._chain == -1:
            return [name for name in os.path.normpath("/" + path).split("/") if name], 0
        return locate(self._chain, path, follow_last=follow_last)

    def _check_kind(self, resolved: str, directory: bool) -> None:
        mode = os.stat(resolved[1:], dir_fd=self._chain, follow_symlinks=False).st_mode
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
                    _copy_attributes(self._chain, here, self._layer, here)
            else:
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                os.close(os.open(here, flags, 0o644, dir_fd=self._layer))
        for length in range(existing, 0, -1):  # new entries have touched the times of what the chain has
            here = "/".join(names[:length])
            known = os.stat(here, dir_fd=self._chain, follow_symlinks=False)
            os.utime(here, ns=(known.st_atime_ns, known.st_mtime_ns), dir_fd=self._layer, follow_symlinks=False)


def _copy_attributes(source: int, source_name: str, target: int, target_name: str) -> None:
    known = os.stat(source_name, dir_fd=source, follow_symlinks=False)
    os.chown(target_name, known.st_uid, known.st_gid, dir_fd=target, follow_symlinks=False)
    os.chmod(target_name, stat.S_IMODE(known.st_mode), dir_fd=target)
    origin = os.open(source_name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=source)
    try:
        names = [name for name in os.listxattr(origin) if not name.startswith(("trusted.overlay.", "user.overlay."))]
        if names:
            copy = os.open(target_name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=target)
            try:
                for name in names:
                    os.setxattr(copy, name, os.getxattr(origin, name))
            finally:
                os.close(copy)
    finally:
        os.close(origin)
