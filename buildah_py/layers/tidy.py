"""Taking out of a captured directory what its layer does not hold, so that nobody sees it who mounts the directory."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from buildah_py.linux.paths import Beneath, open_beneath

if TYPE_CHECKING:
    from buildah_py.layers.inventory import Captured


def take_out(upper: str, stubs: str, path: str, *, changed: bool) -> bool:
    """Remove what a step made of the stub at `path`: a mere copy, as by chmod -R, or anything else if `changed` is set.

    A directory in its place stays. No link is followed on the way, and the directory that it lies in keeps its times.
    Whether the step had changed, replaced or removed what was removed here.
    """
    parent, _, name = path.strip("/").rpartition("/")
    top = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        directory = open_beneath(top, parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise
        return False
    finally:
        os.close(top)
    try:
        status, known = os.stat(name, dir_fd=directory, follow_symlinks=False), os.stat(directory)
        copied = _is_copy(status, f"{stubs}/{parent}/{name}")
        if stat.S_ISDIR(status.st_mode) or not (copied or changed):
            return False
        os.unlink(name, dir_fd=directory)
        os.utime(directory, ns=(known.st_atime_ns, known.st_mtime_ns))
    except FileNotFoundError:
        return False
    finally:
        os.close(directory)
    return not copied


def _is_copy(status: os.stat_result, stub: str) -> bool:
    try:
        known = os.lstat(stub)
    except FileNotFoundError:  # the image has its own
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_mtime_ns, status.st_size) == (known.st_mtime_ns, known.st_size)


def tidy(upper: str, captured: Captured) -> None:
    """Remove files, whiteouts and directories that were merely copied up, and cut times as the layer has them.

    Files that stay keep their times otherwise.

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
