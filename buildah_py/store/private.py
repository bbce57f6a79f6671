"""A state directory is for its user alone: build arguments, build files and the files of images are nobody else's."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(root: str, database: str) -> None:
    """Shut a state directory and its database to others, also where an earlier pybuild left them open. Raises OSError.

    SQLite gives what it lays beside a database the modes of that. A directory that all users share stays as it is.
    """
    os.close(os.open(database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    for path in (root, database, f"{database}-wal", f"{database}-shm"):
        with suppress(FileNotFoundError):
            status = os.stat(path)
            if status.st_mode & _OTHERS and not status.st_mode & stat.S_ISVTX and status.st_uid == os.geteuid():
                os.chmod(path, stat.S_IMODE(status.st_mode) & ~_OTHERS)
