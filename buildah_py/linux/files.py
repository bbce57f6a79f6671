"""File system calls that Python lacks."""

from __future__ import annotations

import ctypes

from buildah_py.linux.libc import check, function

_syncfs = function("syncfs", ctypes.c_int)


def syncfs(descriptor: int) -> None:
    """Write everything of the file system that holds `descriptor` to its device."""
    check(_syncfs(descriptor))
