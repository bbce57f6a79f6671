"""What stat(2) says of files, so that it shows whether they have changed.

Any change of a file, of its attributes or of a directory's names sets the ctime, which nobody but the kernel does. So
what was stamped is as it was while the stamp is, provided that the ctime was settled then: see `is_settled` of
sources/stat_cache.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Stamp = tuple[int, int, int, int, int, int]
    """A file's ctime and mtime (ns since 1970), inode, size, mode and device."""

    LookedAt = tuple[str, Sequence[str], Sequence[Stamp]]
    """A directory's path below the root of its tree, `""` for the root's own, with names in it and their stamps."""


def stamp(path: str) -> Stamp | None:
    """Give the stamp of what is at `path`, a link's own; None for nothing. Raises OSError."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode, found.st_dev


def are_same(stamps: Iterable[tuple[str, Stamp | None]]) -> bool:
    """Tell whether these files are as they were, and what was not there is still not. Raises OSError."""
    return all(stamp(path) == known for path, known in stamps)


def is_same_tree(root: str, listed: Iterable[LookedAt]) -> bool:
    """Tell whether what was looked at below `root` is as it was. Raises OSError."""
    lstat = os.lstat
    for directory, names, stamps in listed:
        prefix = f"{root}/{directory}/" if directory else f"{root}/"
        for name, known in zip(names, stamps, strict=True):
            found = lstat(prefix + name)
            if known != (
                found.st_ctime_ns,
                found.st_mtime_ns,
                found.st_ino,
                found.st_size,
                found.st_mode,
                found.st_dev,
            ):
                return False
    return True
