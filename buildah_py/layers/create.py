"""Create files in a layer's directory. The process that does it beside us imports little but this."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import ArchiveError
from buildah_py.layers import ondisk
from buildah_py.layers.owner import give
from buildah_py.linux.paths import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.layers.xattrs import Xattrs

    # name, mode, uid, gid, mtime, xattrs and how many bytes it has
    File = tuple[str, int, int, int, int, Xattrs, int]

DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ACL: Final = "system.posix_acl_default"


class Attributes(NamedTuple):
    """How a process sets what is not bytes.

    `owners` says whether files are given away at all, `own` who they belong to when made. With `modes` files are made
    with their modes; else these are set afterwards, as is needed where a umask or a default ACL has a say. `noted` says
    that what this process could not read or set is noted (`ondisk.py`).
    """

    owners: bool
    own: tuple[int, int]
    modes: bool = False
    noted: bool = False

    @classmethod
    def of_process(cls, *, owners: bool) -> Attributes:
        """Give those of this process."""
        return cls(owners, (os.geteuid(), os.getegid()), noted=ondisk.is_noted())

    def finish(self, descriptor: int, mode: int, uid: int, gid: int, mtime: int, xattrs: Xattrs, path: str) -> None:
        """Give an open file or directory its owner, mode, attributes and time, in the order in which they last."""
        if self.owners and (uid, gid) != self.own:
            give(descriptor, uid, gid, path)
        if self.noted:
            mode, xattrs = ondisk.encode(mode, xattrs, directory=stat.S_ISDIR(os.fstat(descriptor).st_mode))
            os.fchmod(descriptor, mode | 0o200)  # which setting a user's attributes takes
        else:
            os.fchmod(descriptor, mode)  # after chown, which takes setuid away
        if xattrs:
            _set_xattrs(descriptor, xattrs, path)
        if self.noted:
            os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(mtime, mtime))

    def create_files(self, root: int, parent: str, files: Iterable[File], data: bytes | memoryview) -> None:
        """Make files in the directory `parent` below `root`; `data` are their bytes, one after the other."""
        start = 0
        directory = open_beneath(root, parent, DIRECTORY)
        try:
            for name, mode, uid, gid, mtime, xattrs, size in files:
                readable = mode & 0o400 or not self.noted
                own = not self.owners or (uid, gid) == self.own
                plain = self.modes and mode <= 0o777 and not xattrs and readable and own
                descriptor = os.open(name, CREATE, mode if plain else 0o600, dir_fd=directory)
                try:
                    if size:
                        write_all(descriptor, data[start : start + size])
                        start += size
                    if plain:
                        os.utime(descriptor, ns=(mtime, mtime))
                    else:
                        self.finish(descriptor, mode, uid, gid, mtime, xattrs, f"{parent}/{name}" if parent else name)
                finally:
                    os.close(descriptor)
        finally:
            os.close(directory)


def has_default_acl(directory: int) -> bool:
    """Whether what is made in an open directory, and below it, gets its mode from an ACL."""
    try:
        return _ACL in os.listxattr(directory)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return False
        raise


def write_all(descriptor: int, data: bytes | memoryview, position: int = 0) -> None:
    """Write all of `data` at `position`."""
    written = os.pwrite(descriptor, data, position)
    if written != len(data):
        view = memoryview(data)
        while written < len(view):
            written += os.pwrite(descriptor, view[written:], position + written)


def _set_xattrs(descriptor: int, xattrs: Xattrs, path: str) -> None:
    for name, value in xattrs:
        try:
            os.setxattr(descriptor, name, value)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise ArchiveError(f"/{path}: the extended attribute {name} has a value that means nothing") from error
            if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSPC, errno.E2BIG, errno.ERANGE):
                raise
            raise ArchiveError(
                f"/{path}: the extended attribute {name} cannot be set: {error.strerror}",
                hint="keep pybuild's state on a file system that has extended attributes (ext4, xfs, btrfs)",
            ) from error
