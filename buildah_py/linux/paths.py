"""Opening and renaming files below a directory descriptor: openat2(2) and renameat2(2)."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from buildah_py.linux.libc import check, failure, function, syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

_SYS_OPENAT2 = 437  # the same number on every architecture, as for all calls since Linux 5.1
_HOW = struct.Struct("=QQQ")
# A ".." that races with a rename anywhere on the machine makes the kernel give up with EAGAIN; it asks for another try.
_TRIES = 128

_openat2 = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_renameat2 = function("renameat2", ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)


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


def read_regular(dirfd: int, path: str | bytes, most: int) -> bytes:
    """Read the beginning of a regular file, with `dirfd` as the root; nothing where there is no regular file.

    What is something else is never opened. Raises OSError for what a file system that is in order does not answer.
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


def renameat2(olddirfd: int, old: str | bytes, newdirfd: int, new: str | bytes, flags: int = 0) -> None:
    """Rename, with RENAME_NOREPLACE, RENAME_EXCHANGE or RENAME_WHITEOUT as flags."""
    check(_renameat2(olddirfd, os.fsencode(old), newdirfd, os.fsencode(new), flags), old, new)
