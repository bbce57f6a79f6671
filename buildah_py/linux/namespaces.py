"""Namespaces: unshare(2), setns(2), sethostname(2)."""

from __future__ import annotations

import ctypes
import os

from buildah_py.linux.libc import check, function

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_unshare = function("unshare", ctypes.c_int)
_setns = function("setns", ctypes.c_int, ctypes.c_int)
_sethostname = function("sethostname", ctypes.c_char_p, ctypes.c_size_t)


def unshare(flags: int) -> None:
    """Move this process (for CLONE_NEWPID: its later children) into new namespaces."""
    check(_unshare(flags))


def setns(descriptor: int, kind: int = 0) -> None:
    """Join the namespace behind a descriptor; `kind` is a CLONE_NEW* that it must be, or 0 for any."""
    check(_setns(descriptor, kind))


def sethostname(name: str) -> None:
    """Name the host of this UTS namespace."""
    encoded = os.fsencode(name)
    check(_sethostname(encoded, len(encoded)))
