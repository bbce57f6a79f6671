"""Opening files below a directory descriptor: openat2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from buildah_py.linux.libc import failure, syscall

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS


_SYS_OPENAT2 = 437  # the same number on every architecture, as for all calls since Linux 5.1
_HOW = struct.Struct("=QQQ")
# A ".." that races with a rename anywhere on the machine makes the kernel give up with EAGAIN; it asks for another try.
_TRIES = 128

_openat2 = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)


def openat2(
    dirfd: int,
    path: str | bytes,
    flags: int,
    mode: int = 0,
    resolve: int = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
) -> int:
    """Open a path with `dirfd` as the root that neither `..` nor a symbolic link can leave.

    See openat2(2). The descriptor is close-on-exec. Raises OSError, ENOSYS before Linux 5.6.
    """
    how = _HOW.pack(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    for _ in range(_TRIES):
        descriptor = _openat2(_SYS_OPENAT2, dirfd, name, how, 24)
        if descriptor >= 0:
            return descriptor
        if ctypes.get_errno() not in {errno.EAGAIN, errno.EINTR}:
            break
    raise failure(path)


def open_beneath(dirfd: int, path: str | bytes, flags: int) -> int:
    """Open what lies below `dirfd` ("" is the directory itself) without following a link anywhere on the way.

    Whoever may write to the directories meanwhile decides what is opened, but only of what they hold. Raises OSError:
    ELOOP for a link, EXDEV for what leads outside.
    """
    return openat2(dirfd, path or ".", flags, 0, _BENEATH)


class Beneath:
    """Opens many paths below a directory, one name at a time from a descriptor of their parent, as `open_beneath` does.

    The last parent stays open, so that what comes in the order of a walk costs one short look-up each.
    """

    __slots__ = ("_descriptor", "_path", "top")

    def __init__(self, top: int) -> None:
        """Take the descriptor `top` over; it is closed by `close`."""
        self.top = top
        self._path = ""
        self._descriptor = top

    def close(self) -> None:
        """Close the descriptors."""
        self._leave()
        os.close(self.top)

    def parent(self, path: str) -> tuple[int, str]:
        """Give a descriptor of the directory that `path` lies in, good until the next call, and its name there."""
        parent, _, name = path.rpartition("/")
        if parent != self._path:
            self._leave()
            self._descriptor = open_beneath(self.top, parent, os.O_PATH | os.O_DIRECTORY)
            self._path = parent
        return self._descriptor, name or "."

    def open(self, path: str, flags: int) -> int:
        """Open `path`, "" for the top; close-on-exec, and no link, whatever the flags."""
        descriptor, name = self.parent(path)
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)

    def lstat(self, path: str) -> os.stat_result:
        """Say what `path` is."""
        descriptor, name = self.parent(path)
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)

    def readlink(self, path: str) -> str:
        """Read a symbolic link."""
        descriptor, name = self.parent(path)
        return os.readlink(name, dir_fd=descriptor)

    def _leave(self) -> None:
        if self._descriptor != self.top:
            os.close(self._descriptor)
        self._descriptor, self._path = self.top, ""


def read_regular(dirfd: int, path: str | bytes, most: int) -> bytes:
    """Read the beginning of a regular file, with `dirfd` as the root; nothing where there is no regular file.

    Anything else is never opened. Raises OSError for what a file system that is in order does not answer.
    """
    try:
        found = openat2(dirfd, path, os.O_PATH)
        try:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                return b""
        finally:
            os.close(found)
        descriptor = openat2(dirfd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            return b""
        raise
    with open(descriptor, "rb", buffering=0) as file:
        chunks = []
        while most and (chunk := file.read(min(most, 1 << 16))):
            chunks.append(chunk)
            most -= len(chunk)
    return b"".join(chunks)
