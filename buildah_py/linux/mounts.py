"""Mounting: mount(2), the descriptor based calls of Linux 5.2 and later, and pivot_root(2)."""

from __future__ import annotations

import ctypes
import os
import struct

from buildah_py.linux.libc import check, failure, function, syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 4096
MS_MOVE = 8192
MS_PRIVATE = 1 << 18

MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

_MOVE_MOUNT_F_EMPTY_PATH = 0x04
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_CMD_CREATE = 6
_FSCONFIG_CMD_RECONFIGURE = 7
_FSPICK_CLOEXEC = 1
_FSPICK_EMPTY_PATH = 8

_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_FSOPEN = 430
_SYS_FSCONFIG = 431
_SYS_FSMOUNT = 432
_SYS_FSPICK = 433
_SYS_MOUNT_SETATTR = 442

_mount = function("mount", ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_umount2 = function("umount2", ctypes.c_char_p, ctypes.c_int)
_pivot_root = function("pivot_root", ctypes.c_char_p, ctypes.c_char_p)
_statfs = function("statfs", ctypes.c_char_p, ctypes.c_char_p)
_open_tree = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_move_mount = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_fsopen = syscall(ctypes.c_char_p, ctypes.c_uint)
_fsconfig = syscall(ctypes.c_int, ctypes.c_uint, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int)
_fsmount = syscall(ctypes.c_int, ctypes.c_uint, ctypes.c_uint)
_fspick = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_mount_setattr = syscall(ctypes.c_int, ctypes.c_char_p, ctypes.c_uint, ctypes.c_char_p, ctypes.c_size_t)


def file_system_type(path: str | bytes) -> int:
    """Give the number of the kind of a file system; statfs(2), f_type."""
    buffer = ctypes.create_string_buffer(256)
    check(_statfs(os.fsencode(path), buffer), path)
    kind: int = struct.unpack_from("@l", buffer)[0]
    return kind


def mount(
    source: str | bytes, target: str | bytes, fstype: str = "", flags: int = 0, options: str | bytes = ""
) -> None:
    """Mount a file system the classic way, by paths."""
    data = os.fsencode(options)
    check(_mount(os.fsencode(source), os.fsencode(target), fstype.encode() or None, flags, data or None), target)


def umount2(target: str | bytes, flags: int = 0) -> None:
    """Take away what is mounted at a path."""
    check(_umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str | bytes, put_old: str | bytes) -> None:
    """Make a mount the root of this mount namespace."""
    check(_pivot_root(os.fsencode(new_root), os.fsencode(put_old)), new_root)


def open_tree(dirfd: int, path: str | bytes, flags: int = OPEN_TREE_CLONE) -> int:
    """Give a descriptor for a mount; with OPEN_TREE_CLONE, of a detached copy of it. An empty path means `dirfd`."""
    name = os.fsencode(path)
    if not name:
        flags |= AT_EMPTY_PATH
    return check(_open_tree(_SYS_OPEN_TREE, dirfd, name, flags | OPEN_TREE_CLOEXEC), path)


def move_mount(mountfd: int, targetfd: int, target: str | bytes = "") -> None:
    """Attach the mount behind `mountfd` at `target` below `targetfd`; an empty target is `targetfd` itself."""
    name = os.fsencode(target)
    flags = _MOVE_MOUNT_F_EMPTY_PATH | (0 if name else _MOVE_MOUNT_T_EMPTY_PATH)
    check(_move_mount(_SYS_MOVE_MOUNT, mountfd, b"", targetfd, name, flags), target)


def fsopen(fstype: str) -> int:
    """Begin a new file system; gives a descriptor for fsconfig."""
    return check(_fsopen(_SYS_FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC))


def fsconfig(fsfd: int, key: str, value: str | bytes | None = None) -> None:
    """Set one parameter of a new file system: a string, or a flag where `value` is None."""
    if value is None:
        result = _fsconfig(_SYS_FSCONFIG, fsfd, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
    else:
        result = _fsconfig(_SYS_FSCONFIG, fsfd, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
    if result == -1:
        raise failure(f"{key}={os.fsdecode(value)}" if value is not None else key)


def fsmount(fsfd: int, attributes: int = 0) -> int:
    """Create the configured file system and give a descriptor of its detached mount."""
    check(_fsconfig(_SYS_FSCONFIG, fsfd, _FSCONFIG_CMD_CREATE, None, None, 0))
    return check(_fsmount(_SYS_FSMOUNT, fsfd, _FSMOUNT_CLOEXEC, attributes))


def mount_setattr(
    dirfd: int,
    path: str | bytes,
    set_: int = 0,
    clear: int = 0,
    *,
    propagation: int = 0,
    recursive: bool = False,
    user_namespace: int = -1,
) -> None:
    """Change the attributes of a mount (of all below it, when recursive). An empty path means `dirfd`.

    With `user_namespace`, a descriptor, ids of files are seen as that namespace maps them (MOUNT_ATTR_IDMAP).
    """
    name = os.fsencode(path)
    flags = (0 if name else AT_EMPTY_PATH) | (AT_RECURSIVE if recursive else 0)
    if user_namespace != -1:
        set_ |= MOUNT_ATTR_IDMAP
    attributes = struct.pack("=QQQQ", set_, clear, propagation, max(user_namespace, 0))
    check(_mount_setattr(_SYS_MOUNT_SETATTR, dirfd, name, flags, attributes, len(attributes)), path)


def open_inert(path: str | bytes) -> int:
    """Open a directory through a mount of its own, on which devices do not work and nothing can be changed.

    For what others may change meanwhile. Who may mount nothing gets the directory as it is.
    """
    try:
        mount = open_tree(AT_FDCWD, path)
    except PermissionError:
        return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount_setattr(mount, "", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)
    return mount


def open_unchangeable(path: str | bytes) -> int:
    """Open a file or directory through a mount of its own that is read-only: root, too, changes no mode or owner there.

    For what others are handed, or may reach by a link of /proc. Raises OSError.
    """
    mount = open_tree(AT_FDCWD, path)
    mount_setattr(mount, "", MOUNT_ATTR_RDONLY)
    return mount


def make_read_only(mountfd: int) -> None:
    """Let nobody write to the file system behind a mount any more, wherever else it is mounted or held open.

    Raises OSError: EBUSY while a file of it is open for writing.
    """
    context = check(_fspick(_SYS_FSPICK, mountfd, b"", _FSPICK_CLOEXEC | _FSPICK_EMPTY_PATH))
    try:
        fsconfig(context, "ro")
        check(_fsconfig(_SYS_FSCONFIG, context, _FSCONFIG_CMD_RECONFIGURE, None, None, 0))
    finally:
        os.close(context)


def messages(fsfd: int) -> str:
    """Read what the kernel has to say about a new file system that it refused; empty where it says nothing."""
    lines = []
    while True:
        try:
            line = os.read(fsfd, 4096)
        except OSError:  # ENODATA: nothing more was said
            break
        lines.append(line.decode(errors="replace").strip())
    return "; ".join(lines)
