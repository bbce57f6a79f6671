"""Making whiteouts and opaque directories in the forms that overlayfs reads.

A whiteout is a character device 0:0. On an overlay nobody can make one, so that a store there has the other form: an
empty file with an attribute, in a directory that is marked `x`, which Linux reads since 6.7; see "Whiteouts and opaque
directories" in the kernel's filesystems/overlayfs.rst.
"""

from __future__ import annotations

import errno
import os
import re
import stat

_READ_SINCE = (6, 7)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_whiteout(parent: int, name: str, prefix: str) -> None:
    """Hide what the layers below have under a name of the directory `parent`, a descriptor. Raises OSError.

    `prefix` begins the names of overlayfs's attributes.
    """
    try:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
    except PermissionError as error:
        if _kernel() < _READ_SINCE:  # it would show them as empty files
            what = f"{name}: no whiteout can be made here: put the state directory on a volume, or use Linux 6.7"
            raise PermissionError(errno.EPERM, what) from error
        _make_marked(parent, name, prefix)


def _kernel() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])


def _make_marked(parent: int, name: str, prefix: str) -> None:
    directory = os.open(".", _DIRECTORY, dir_fd=parent)
    try:
        mark = prefix + "opaque"
        known = os.getxattr(directory, mark) if mark in os.listxattr(directory) else b""
        if known == b"y":  # it hides everything, and what is marked in it is no whiteout
            return
        if not known:
            os.setxattr(directory, mark, b"x")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            os.setxattr(file, prefix + "whiteout", b"y")
        finally:
            os.close(file)
    finally:
        os.close(directory)


def mark_opaque(directory: int, prefix: str) -> None:
    """Hide all that the layers below have in an open directory, without the whiteouts that are in it already."""
    mark = prefix + "opaque"
    if mark in os.listxattr(directory) and os.getxattr(directory, mark) == b"x":
        with os.scandir(directory) as listing:
            names = [entry.name for entry in listing if entry.is_file(follow_symlinks=False)]
        for name in names:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            try:
                hidden = prefix + "whiteout" in os.listxattr(file)
            finally:
                os.close(file)
            if hidden:
                os.unlink(name, dir_fd=directory)
    os.setxattr(directory, mark, b"y")
