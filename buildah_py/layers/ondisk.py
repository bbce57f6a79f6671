"""Layers of an ordinary user on the disk: files have what their owner needs to read them, and a note of how they are.

Who is no root gets into no file or directory against its mode, and can set no file capabilities. There such files have
the mode that they have with the owner's permissions, and an attribute that says the true mode, and the capabilities.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from typing import TYPE_CHECKING

from buildah_py.layers.xattrs import CAPABILITY, NOTE
from buildah_py.linux.identity import may_override_modes

if TYPE_CHECKING:
    from buildah_py.layers.xattrs import Xattrs

_FILE, _DIRECTORY = 0o400, 0o700
_NOTED = re.compile(rb"([0-7]{1,4})(?: ((?:[0-9a-f]{2})*))?")


@functools.cache
def is_noted() -> bool:
    """Tell whether this process writes such notes."""
    return not may_override_modes()


def reachable(mode: int) -> int:
    """Give the mode, with its type, that lets the owner of a file or directory read it."""
    return mode | (_DIRECTORY if stat.S_ISDIR(mode) else _FILE)


def encode(mode: int, xattrs: Xattrs, *, directory: bool) -> tuple[int, Xattrs]:
    """Give the mode and the attributes, sorted, that stand on the disk for these."""
    if not is_noted():
        return mode, xattrs
    on_disk = mode | (_DIRECTORY if directory else _FILE)
    hidden = dict(xattrs).get(CAPABILITY)
    if on_disk == mode and hidden is None:
        return mode, xattrs
    note = NOTE, b"%o" % mode + (b"" if hidden is None else b" " + hidden.hex().encode())
    return on_disk, tuple(sorted([*((name, value) for name, value in xattrs if name != CAPABILITY), note]))


def decode(mode: int, xattrs: Xattrs) -> tuple[int, Xattrs]:
    """Give the mode and the attributes that are meant by those on the disk; the type of a file stays in its mode.

    A note means something where this process writes such notes, and nowhere else: anybody can give a file of his this
    attribute, and is to give it capabilities by that only where all files are one user's anyway. It is in no image.
    """
    note = next((value for name, value in xattrs if name == NOTE), None)
    if note is None:
        return mode, xattrs
    pairs = {name: value for name, value in xattrs if name != NOTE}
    found = _NOTED.fullmatch(note) if is_noted() else None
    if found is None:
        return mode, tuple(pairs.items())
    true, hidden = found.groups()
    if hidden is not None:
        pairs[CAPABILITY] = bytes.fromhex(hidden.decode())
    return stat.S_IFMT(mode) | int(true, 8), tuple(sorted(pairs.items()))


def set_mode(directory: str, mode: int) -> None:
    """Give the directory of a layer, which its owner can write to, the mode that the layer's root has."""
    mode, noted = encode(mode, (), directory=True)
    for name, value in noted:
        os.setxattr(directory, name, value)
    os.chmod(directory, mode)
