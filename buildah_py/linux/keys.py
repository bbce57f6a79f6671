"""Keyrings: keyctl(2)."""

from __future__ import annotations

import ctypes
import errno
import os

from buildah_py.linux.libc import check, syscall

_SYS_KEYCTL = {"x86_64": 250, "i686": 288, "armv7l": 311, "ppc64le": 271, "s390x": 280}
_SYS_KEYCTL_ELSEWHERE = 219  # architectures that came with one table of calls: aarch64, riscv64, loongarch64
_JOIN_SESSION_KEYRING = 1

_keyctl = syscall(ctypes.c_int, ctypes.c_char_p)


def join_new_session_keyring() -> None:
    """Have this process possess the keys of no session but a new, empty one; session-keyring(7).

    Where the kernel has no keyrings, or what is around us forbids them, nothing happens: a container's program cannot
    reach them there either.
    """
    number = _SYS_KEYCTL.get(os.uname().machine, _SYS_KEYCTL_ELSEWHERE)
    if _keyctl(number, _JOIN_SESSION_KEYRING, None) == -1 and ctypes.get_errno() not in {errno.ENOSYS, errno.EPERM}:
        check(-1)
