"""The C library, loaded once, and the one place where a -1 becomes an OSError."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIBC = ctypes.CDLL(None, use_errno=True)


def function(name: str, *argtypes: Any) -> Callable[..., int]:
    """Give the C library's `name` with its argument types declared; its result is a C int."""
    found = _LIBC[name]
    found.argtypes = argtypes
    found.restype = ctypes.c_int
    return found


def syscall(*argtypes: Any) -> Callable[..., int]:
    """Give the raw entry for a call that the C library may not know; the number is its first argument."""
    found = _LIBC["syscall"]
    found.argtypes = (ctypes.c_long, *argtypes)
    found.restype = ctypes.c_long
    return found


def failure(*paths: str | bytes | None) -> OSError:
    """Make the OSError for the current errno, with up to two paths for its message."""
    number = ctypes.get_errno()
    first = os.fsdecode(paths[0]) if paths and paths[0] is not None else None
    if len(paths) > 1 and paths[1] is not None:
        return OSError(number, os.strerror(number), first, None, os.fsdecode(paths[1]))
    return OSError(number, os.strerror(number), first)


def check(result: int, *paths: str | bytes | None) -> int:
    """Return `result`, or raise the OSError that a -1 stands for."""
    if result == -1:
        raise failure(*paths)
    return result
