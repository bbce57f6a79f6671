"""Extended attributes: which ones belong into an image, and overlayfs's own."""

from __future__ import annotations

import errno
import os
import struct
from typing import Final

from buildah_py.errors import ArchiveError

Xattrs = tuple[tuple[str, bytes], ...]
"""Names and values, sorted by name."""

CAPABILITY: Final = "security.capability"
NOTE: Final = "user.pybuild.true"
"""On the disk alone: see `ondisk.py`."""
NONE: Final[Xattrs] = ()
_LARGEST: Final = 1 << 17  # one value may have 64 KiB
_ABSENT: Final = (errno.ENODATA, errno.EOPNOTSUPP)


def is_kept(name: str) -> bool:
    """Say whether an attribute means something outside of this machine: file capabilities and the users' own do.

    Labels and signatures of this machine's security modules (`security.selinux`, `security.ima`), `trusted.*` and
    overlayfs's own do not; neither do POSIX ACLs, which hold ids of this machine and which no other builder stores.
    """
    return name == CAPABILITY or (name.startswith("user.") and not name.startswith("user.overlay."))


def normalise(name: str, value: bytes) -> bytes:
    """Return file capabilities in revision 2: revision 3 holds the root user of the namespace they were made in."""
    if name == CAPABILITY and len(value) == 24:
        (magic,) = struct.unpack_from("<I", value)
        if magic >> 24 == 3:
            return struct.pack("<I", 0x02000000 | magic & 1) + value[4:20]
    return value


def kept(xattrs: tuple[tuple[str, bytes], ...]) -> tuple[tuple[str, bytes], ...]:
    """Return those of some attributes that belong into an image, sorted and normalised.

    Raises ArchiveError for more of them than any file system takes.
    """
    if not xattrs:
        return NONE
    found = sorted((name, normalise(name, value)) for name, value in xattrs if is_kept(name) and name != NOTE)
    if sum(len(value) for _, value in found) > _LARGEST:
        raise ArchiveError(f"extended attributes of more than {_LARGEST} bytes: no file system takes that")
    return tuple(found)


def names(descriptor: int) -> list[str]:
    """Return the names of all attributes of an open file."""
    try:
        return os.listxattr(descriptor)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


def values(descriptor: int, names: list[str]) -> tuple[tuple[str, bytes], ...]:
    """Return those of the named attributes of an open file that belong into an image, sorted and normalised."""
    if not names:
        return NONE
    kept = sorted(name for name in names if is_kept(name))
    return tuple((name, normalise(name, os.getxattr(descriptor, name))) for name in kept)


def read(descriptor: int) -> tuple[tuple[str, bytes], ...]:
    """Return the attributes of an open file that belong into an image, sorted and normalised."""
    return values(descriptor, names(descriptor))


def overlay_prefix(*, userxattr: bool) -> str:
    """Return how the names of overlayfs's attributes begin."""
    return "user.overlay." if userxattr else "trusted.overlay."


def overlay_value(descriptor: int, name: str) -> bytes:
    """Return one of overlayfs's attributes of an open file, empty where it is not set."""
    try:
        return os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno in _ABSENT:
            return b""
        raise
