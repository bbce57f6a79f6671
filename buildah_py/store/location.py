"""Where the state directory lies, and that it is for its user alone.

Build arguments, build files and the files of images are nobody else's.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from buildah_py.linux.identity import MARKER, needs_user_namespace

if TYPE_CHECKING:
    from collections.abc import Mapping


_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def state_root(environ: Mapping[str, str], uid: int) -> str:
    """`$PYBUILD_ROOT`, else /var/lib/pybuild for root who may mount, and `$XDG_DATA_HOME/pybuild` for others."""
    if root := environ.get("PYBUILD_ROOT"):
        return os.path.abspath(root)
    # Layers have another form in a user namespace: one store cannot be both.
    if uid == 0 and MARKER not in environ and not needs_user_namespace(environ):
        return "/var/lib/pybuild"
    data = environ.get("XDG_DATA_HOME", "")
    if not data.startswith("/"):
        data = os.path.join(environ.get("HOME", "/"), ".local/share")
    return os.path.join(data, "pybuild")


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
