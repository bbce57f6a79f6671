"""Stamps of files by stat(2), so that it shows whether they have changed.

Any change of a file, of its attributes or of a directory's names sets the ctime, which nobody but the kernel does. So
what was stamped is as it was while the stamp is, provided that the ctime was settled then: see `is_settled` of
sources/stat_cache.py.
"""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    Stamp = tuple[int, int, int, int, int, int]
    """A file's ctime and mtime (ns since 1970), inode, size, mode and device."""

    LookedAt = tuple[str, str, bytes]
    """A directory's path below the root of its tree, `""` for the root's own, names in it and their packed stamps.

    Names are joined by NUL; a stamp is six numbers of 64 bits, as `array` has them on this machine.
    """

FIELDS: Final = 6


def stamp(path: str) -> Stamp | None:
    """Give the stamp of what is at `path`, a link's own; None for nothing that this user may see. Raises OSError."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_dev


def are_same(stamps: Iterable[tuple[str, Stamp | None]]) -> bool:
    """Tell whether these files are as they were, and what was not there is still not. Raises OSError."""
    return all(stamp(path) == known for path, known in stamps)


def look_at(root: str, directory: str, names: Iterable[str]) -> array[int]:
    """Give the stamps of names in a directory below `root`, one after the other.

    Raises OSError, also where one is gone, and OverflowError for a time before 1970.
    """
    lstat = os.lstat
    prefix = f"{root}/{directory}/" if directory else f"{root}/"
    found: list[int] = []
    for name in names:
        seen = lstat(prefix + name)
        found += (seen.st_ctime_ns, seen.st_mtime_ns, seen.st_ino, seen.st_size, seen.st_mode, seen.st_dev)
    return array("Q", found)


def is_same_tree(root: str, listed: Iterable[LookedAt]) -> bool:
    """Tell whether what was looked at below `root` is as it was. Raises OSError, OverflowError."""
    return all(look_at(root, directory, names.split("\0")).tobytes() == stamps for directory, names, stamps in listed)
