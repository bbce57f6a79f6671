"""Calls that PRoot does not know: they are refused as if the kernel had none of them."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

import pytest

from buildah_py.linux import process
from buildah_py.sandbox import tracer

STATX, RENAMEAT2, EXECVEAT, UNAME = (332, 316, 322, 63) if platform.machine() == "x86_64" else (291, 276, 281, 160)
OPENAT2, FACCESSAT2, CLOSE_RANGE = 437, 439, 436


def error_of(number: int, *arguments: int) -> int:
    """Make a system call in a child that has the filter; gives its error, 0 for none."""
    child = os.fork()
    if child == 0:
        process.set_no_new_privileges()
        process.set_seccomp_filter(tracer.system_call_filter())
        libc = ctypes.CDLL(None, use_errno=True)
        result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        os._exit(0 if result != -1 else ctypes.get_errno())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("number", [STATX, RENAMEAT2, EXECVEAT, OPENAT2, FACCESSAT2, 1000])
def test_calls_that_it_does_not_know(number: int) -> None:
    assert error_of(number, -1, 0, 0, 0, 0) == errno.ENOSYS


def test_others_are_made() -> None:
    assert error_of(CLOSE_RANGE, 100, 101, 0) == 0
    assert error_of(UNAME, 0) == errno.EFAULT
