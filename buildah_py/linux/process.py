"""Settings of this process: prctl(2), capabilities(7), close_range(2), ioctls of its terminal."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from buildah_py.linux.libc import check, function, syscall

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

_CAPABILITY_VERSION_3 = 0x20080522
_SYS_CLOSE_RANGE = 436

_prctl = function("prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_capset = function("capset", ctypes.c_char_p, ctypes.c_char_p)
_capget = function("capget", ctypes.c_char_p, ctypes.c_char_p)
_setfsuid = function("setfsuid", ctypes.c_uint)
_setfsgid = function("setfsgid", ctypes.c_uint)
_close_range = syscall(ctypes.c_uint, ctypes.c_uint, ctypes.c_uint)


def set_parent_death_signal(signal: int) -> None:
    """Have the kernel send us `signal` when the thread that made us ends. Changing user or capabilities undoes it."""
    check(_prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0))


def set_dumpable(dumpable: bool) -> None:
    """Let others of our user look into this process (its /proc entries, ptrace), or not."""
    check(_prctl(_PR_SET_DUMPABLE, int(dumpable), 0, 0, 0))


def set_name(name: str) -> None:
    """Name this thread, as ps shows it (15 bytes)."""
    buffer = ctypes.create_string_buffer(os.fsencode(name)[:15])
    check(_prctl(_PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0))


def set_command_line(text: str) -> None:
    """Have others see `text` instead of the arguments that this process was executed with; proc(5), arg_start.

    It is written over them, so that no more of it is seen than they were long.
    """
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    data = os.fsencode(text)[: end - start - 1].ljust(end - start, b"\0")
    ctypes.memmove(start, data, len(data))


def set_child_subreaper(subreaper: bool) -> None:
    """Become the parent of descendants whose own parent ends."""
    check(_prctl(_PR_SET_CHILD_SUBREAPER, int(subreaper), 0, 0, 0))


def set_no_new_privileges() -> None:
    """Make execve(2) grant nothing from set-user-id bits or file capabilities, for ever."""
    check(_prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def set_seccomp_filter(program: bytes) -> None:
    """Install a seccomp filter: an array of struct sock_filter."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    check(_prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0))


def limit_bounding_set(kept: int) -> None:
    """Take all capabilities from the bounding set but those of a bit mask."""
    for capability in range(64):
        if kept >> capability & 1 or _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
            continue
        if ctypes.get_errno() == errno.EINVAL:  # the kernel knows no more
            return
        check(-1)


def clear_ambient_capabilities() -> None:
    """Empty the ambient set."""
    check(_prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))


def set_file_system_ids(uid: int, gid: int) -> None:
    """Have this process own the files that it makes as `uid` and `gid`, and keep its capabilities; setfsuid(2)."""
    effective, permitted, inheritable = capget()
    _setfsgid(gid)
    _setfsuid(uid)
    capset(effective, permitted, inheritable)  # those for files were dropped with the user 0


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's capability sets, given as bit masks."""
    header = struct.pack("=II", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    check(_capset(header, data))


def capget() -> tuple[int, int, int]:
    """Give this thread's effective, permitted and inheritable capabilities as bit masks."""
    header = ctypes.create_string_buffer(struct.pack("=II", _CAPABILITY_VERSION_3, 0), 8)
    data = ctypes.create_string_buffer(24)
    check(_capget(ctypes.cast(header, ctypes.c_char_p), ctypes.cast(data, ctypes.c_char_p)))
    words: tuple[int, ...] = struct.unpack("=6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def close_range(first: int, last: int = 0xFFFFFFFF) -> None:
    """Close all descriptors from `first` to `last`, both included."""
    if _close_range(_SYS_CLOSE_RANGE, first, last, 0) == -1:
        if ctypes.get_errno() != errno.ENOSYS:  # came with Linux 5.9
            check(-1)
        os.closerange(first, min(last + 1, os.sysconf("SC_OPEN_MAX")))


def close_all_but(*descriptors: int) -> None:
    """Close all descriptors but these and the standard streams."""
    wanted = sorted({0, 1, 2, *descriptors})
    for below, above in zip(wanted, [*wanted[1:], 1 << 31], strict=True):
        if above - below > 1:
            close_range(below + 1, above - 1)
