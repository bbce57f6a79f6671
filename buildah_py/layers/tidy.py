"""Taking out of a captured directory what its layer does not hold, so that nobody sees it who mounts the directory."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildah_py.layers.inventory import Captured


def tidy(upper: str, captured: Captured) -> None:
    """Remove files, whiteouts and directories that were merely copied up, and cut times as the layer has them.

    What stays keeps its times otherwise.

    Directories with something in them that stays are not among them, and nothing may use the directory meanwhile.
    """
    if not captured.unneeded and not captured.retimed:
        return
    top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    times: dict[str, tuple[int, int]] = {}
    try:
        for path in captured.unneeded:
            parent = path.rpartition("/")[0]
            if parent not in times:
                status = os.stat(parent or ".", dir_fd=top, follow_symlinks=False)
                times[parent] = status.st_atime_ns, status.st_mtime_ns
            if stat.S_ISDIR(os.stat(path, dir_fd=top, follow_symlinks=False).st_mode):
                os.rmdir(path, dir_fd=top)
                times.pop(path, None)
            else:
                os.unlink(path, dir_fd=top)
        for parent, kept in times.items():
            os.utime(parent or ".", ns=kept, dir_fd=top, follow_symlinks=False)
        for entry in captured.retimed:
            os.utime(entry.path or ".", ns=(entry.mtime, entry.mtime), dir_fd=top, follow_symlinks=False)
    finally:
        os.close(top)
