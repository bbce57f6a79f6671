"""File system calls that Python lacks."""

from __future__ import annotations

import ctypes
import resource

from buildah_py.linux.libc import check, function

_syncfs = function("syncfs", ctypes.c_int)
_sync_file_range = function("sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_WRITE = 2


def syncfs(descriptor: int) -> None:
    """Write everything of the file system that holds `descriptor` to its device."""
    check(_syncfs(descriptor))


def sync_file_range(descriptor: int, start: int, length: int) -> None:
    """Start to write a part of an open file to its device; does not wait for that."""
    check(_sync_file_range(descriptor, start, length, _WRITE))


def raise_descriptor_limit() -> None:
    """Let this process have as many files open as it may: the usual limit is low for the sake of select(2)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
