"""Mounting a file system that is served over /dev/fuse."""

from __future__ import annotations

import os

from buildah_py.linux import mounts

DEVICE = "/dev/fuse"
_NUMBER = os.makedev(10, 229)


def open_device() -> int:
    """Open the device that a file system is served over; -1 where there is none, or none for us."""
    try:
        device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return -1
    if os.fstat(device).st_rdev != _NUMBER:  # a container around us may have put something else there
        os.close(device)
        return -1
    return device


def mount(device: int, attributes: int = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV) -> int:
    """Make the file system that is served over an open device and give its detached mount. Raises OSError."""
    context = mounts.fsopen("fuse")
    try:
        mounts.fsconfig(context, "source", "pybuild")
        for key, value in (("fd", str(device)), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")):
            mounts.fsconfig(context, key, value)
        mounts.fsconfig(context, "default_permissions")
        mounts.fsconfig(context, "allow_other")
        return mounts.fsmount(context, attributes)
    finally:
        os.close(context)
