"""A full disk: how it is told from damage, and the space that is kept back so that something can be removed then.

Whoever removes things has to write down that they are gone. Without a reserve, a store on a full disk could not even be
opened.
"""

from __future__ import annotations

import errno
import os

from buildah_py.errors import StoreError

SIZE = 1 << 20
_WORTH = 16
"""How many times its size has to be free before the reserve is made."""
_FEW = 256 << 10
_NAME = "reserve"
_PAGE = 4096
_SHARED = 64 << 10
"""Bytes that may be wanted for what SQLite maps."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


def no_space(place: str) -> StoreError:
    """Say that there is no space left: on which file system, and what helps."""
    return StoreError(
        f"no space left in {place}{_file_system(place)}",
        hint="`pybuild du` shows what takes how much, `pybuild prune` frees some; PYBUILD_ROOT names a state directory "
        "on another disk",
    )


def _file_system(place: str) -> str:
    """Describe the file system of a directory: where it is mounted, its kind and size; "" where it is not there."""
    try:
        status, device = os.statvfs(place), os.stat(place).st_dev
        above = os.path.realpath(place)
        while above != "/" and os.stat(os.path.dirname(above)).st_dev == device:
            above = os.path.dirname(above)
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            kinds = {words[4]: words[words.index("-") + 1] for words in map(str.split, file) if "-" in words}
    except OSError:
        return ""
    size, free = (number * status.f_frsize / 1e6 for number in (status.f_blocks, status.f_bavail))
    kind = f"{kinds[above]}, " if above in kinds else ""
    inodes = ", no file can be made any more" if status.f_files and not status.f_favail else ""
    return f": the file system at {above} ({kind}{size:,.0f} MB) has {free:,.1f} MB left{inodes}"


def is_full(error: OSError) -> bool:
    """Tell whether an error means that there is no space left."""
    return error.errno in _FULL


def is_lacking(place: str, least: int = _FEW) -> bool:
    """Tell whether the file system of a directory has hardly anything left."""
    try:
        status = os.statvfs(place)
    except OSError:  # it is not there yet
        return False
    return status.f_bavail * status.f_frsize < least


def refuse_holes(root: str) -> None:
    """Raise OSError where what SQLite shares between processes could not be laid out as a whole.

    It maps that file, and gives it a byte of each page. Where blocks are smaller than pages the rest of a page gets its
    blocks when it is written to, and where there are none left then, the process is killed (SIGBUS). This is tried, not
    asked for: which of the free blocks are for whom (root may use more) no system call tells.
    """
    if os.statvfs(root).f_frsize >= _PAGE:
        return
    import tempfile

    with tempfile.TemporaryFile(dir=root) as file:
        os.posix_fallocate(file.fileno(), 0, _SHARED)


def fill_holes(database: str) -> None:
    """Give what SQLite has mapped of a database all of its blocks now. Raises StoreError where there are none left."""
    if os.statvfs(os.path.dirname(database)).f_frsize >= _PAGE:
        return
    for name in os.listdir("/proc/self/fd"):
        # By its own descriptor: closing another one would take the locks that it has on the file.
        try:
            if os.readlink(f"/proc/self/fd/{name}") == os.path.realpath(database) + "-shm":
                os.posix_fallocate(int(name), 0, os.fstat(int(name)).st_size)
        except FileNotFoundError:  # it was the listing's
            continue
        except OSError as error:
            if not is_full(error):
                raise
            raise no_space(os.path.dirname(database)) from error


def lay_aside(root: str) -> None:
    """Lay the reserve of a store aside, where it is not there and there is plenty."""
    path = os.path.join(root, _NAME)
    if os.path.exists(path) or is_lacking(root, _WORTH * SIZE):
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
    except OSError as error:
        if not is_full(error) and error.errno != errno.EOPNOTSUPP:
            raise
        os.unlink(path)
    finally:
        os.close(descriptor)


def spend(root: str) -> None:
    """Give the reserve of a store back, where nothing else is left; the next one who opens the store makes it anew."""
    path = os.path.join(root, _NAME)
    if os.path.exists(path) and is_lacking(root):
        os.unlink(path)
