"""Taking out of a captured directory what its layer does not hold, so that nobody sees it who mounts the directory."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from buildah_py.linux.paths import Beneath

if TYPE_CHECKING:
    from buildah_py.layers.inventory import Captured


def tidy(upper: str, captured: Captured) -> None:
    """Remove files, whiteouts and directories that were merely copied up, and cut times as the layer has them.

    What stays keeps its times otherwise.

    Directories with something in them that stays are not among them, and nothing may use the directory meanwhile.
    """
    if not captured.unneeded and not captured.retimed:
        return
    top = Beneath(os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    times: dict[str, tuple[int, int]] = {}
    try:
        for path in captured.unneeded:
            parent = path.rpartition("/")[0]
            descriptor, name = top.parent(path)
            if parent not in times:
                status = os.stat(descriptor)
                times[parent] = status.st_atime_ns, status.st_mtime_ns
            if stat.S_ISDIR(top.lstat(path).st_mode):
                os.rmdir(name, dir_fd=descriptor)
                times.pop(path, None)
            else:
                os.unlink(name, dir_fd=descriptor)
        for parent, kept in times.items():
            descriptor, name = top.parent(parent)
            os.utime(name, ns=kept, dir_fd=descriptor, follow_symlinks=False)
        for entry in captured.retimed:
            descriptor, name = top.parent(entry.path)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=descriptor, follow_symlinks=False)
    finally:
        top.close()
