"""A copy of a container's layers as its root, where nothing else can be written to.

Where files can share their bytes (reflinks: btrfs, xfs) they do. Names of one file become files of their own: in an
overlay, too, whoever writes to one of them changes no other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from buildah_py.layers import ondisk
from buildah_py.layers.xattrs import CAPABILITY, is_kept
from buildah_py.linux.paths import Beneath, open_beneath
from buildah_py.sandbox.picture import SELF, latest, let_time_pass, look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.sandbox.picture import TreePicture

_FICLONE = 0x40049409
_PIECE = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def copy_root(merged: int, target: str, layers: Sequence[str]) -> TreePicture:
    """Copy what the mount `merged` of `layers` (top-most first) shows into the new directory `target`.

    Gives how all of it looks; whatever is changed from now on looks different. Raises OSError.
    """
    os.mkdir(target, 0o700)
    copy = _Copy(merged, target, layers)
    try:
        return copy.run()
    finally:
        copy.close()


def copy_ahead(merged: int, upper: str) -> None:
    """Copy into an upper directory what fuse-overlayfs would not copy as the kernel does when it is changed.

    These are files with several names, of which it may change another one, and those that set ids of others than root,
    which lose that. What is not changed then is left out of the layer by capturing it. Raises OSError.
    """
    copy = _Copy(merged, upper, ())
    try:
        copy.ahead()
    finally:
        copy.close()


class _Copy:
    def __init__(self, merged: int, target: str, layers: Sequence[str]) -> None:
        self._source = Beneath(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=merged))
        self._target = Beneath(os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        self._layers = [os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for layer in layers]
        self._clones = True
        self._looks: TreePicture = {}

    def close(self) -> None:
        self._source.close()
        self._target.close()
        for layer in self._layers:
            os.close(layer)

    def run(self) -> TreePicture:
        stack = [("", self._names(""))]
        while stack:
            path, names = stack[-1]
            if not names:
                stack.pop()
                self._finish(path, os.O_RDONLY | os.O_DIRECTORY)
                continue
            name = names.pop()
            inner = f"{path}/{name}" if path else name
            if self._make(inner):
                stack.append((inner, self._names(inner)))
        place = f"{os.readlink(f'/proc/self/fd/{self._target.top}')}.clock"
        let_time_pass(place, latest(self._looks))
        return self._looks

    def _note(self, path: str, status: os.stat_result) -> None:
        parent, _, name = path.rpartition("/")
        self._looks.setdefault(parent, {})[name or SELF] = look(status)

    def ahead(self) -> None:
        made: set[str] = {""}
        waiting = [""]
        while waiting:
            path = waiting.pop()
            for name in self._names(path):
                inner = f"{path}/{name}" if path else name
                status = self._source.lstat(inner)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(inner)
                elif stat.S_ISREG(status.st_mode) and _is_odd(status):
                    parts = path.split("/")
                    for directory in ("/".join(parts[:length]) for length in range(1, len(parts) + 1)):
                        if directory not in made:
                            made.add(directory)
                            parent, last = self._target.parent(directory)
                            os.mkdir(last, 0o700, dir_fd=parent)
                    self._copy_file(inner, status.st_size)
        for directory in sorted(made - {""}, reverse=True):
            self._finish(directory, os.O_RDONLY | os.O_DIRECTORY)

    def _names(self, path: str) -> list[str]:
        directory = self._source.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return os.listdir(directory)
        finally:
            os.close(directory)

    def _make(self, path: str) -> bool:
        """Make one entry; whether it is a directory, which is finished when it is full."""
        status = self._source.lstat(path)
        parent, name = self._target.parent(path)
        if stat.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=parent)
            return True
        if stat.S_ISREG(status.st_mode):
            self._copy_file(path, status.st_size)
            return False
        copy_special(self._source, path, status, parent, name)
        self._note(path, self._target.lstat(path))
        return False

    def _copy_file(self, path: str, size: int) -> None:
        parent, name = self._target.parent(path)
        target = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            if size and not self._clone(path, target, size):
                source = self._source.open(path, _READ)
                try:
                    copy_bytes(source, target)
                finally:
                    os.close(source)
        finally:
            os.close(target)
        self._finish(path, _READ)

    def _clone(self, path: str, target: int, size: int) -> bool:
        """Let a file share the bytes of the layer that has it; false where that is not possible."""
        if not self._clones:
            return False
        for layer in self._layers:
            try:
                source = open_beneath(layer, path, _READ)
            except OSError:  # another layer has it
                continue
            try:
                if stat.S_ISREG(os.fstat(source).st_mode) and os.fstat(source).st_size == size:
                    fcntl.ioctl(target, _FICLONE, source)
                    return True
            except OSError:
                self._clones = False
            finally:
                os.close(source)
            return False
        return False

    def _finish(self, path: str, flags: int) -> None:
        """Give a file or directory the attributes that it has in the layers."""
        source, target = self._source.open(path, flags), self._target.open(path, flags)
        try:
            copy_attributes(source, target)
            status = os.fstat(target)
        finally:
            os.close(source)
            os.close(target)
        self._note(path, status)
        if stat.S_ISDIR(status.st_mode):
            self._looks.setdefault(path, {})


def _is_odd(status: os.stat_result) -> bool:
    sets_ids = status.st_mode & (stat.S_ISUID | stat.S_ISGID)
    return status.st_nlink > 1 or bool(sets_ids and (status.st_uid or status.st_gid))


def copy_attributes(
    source: int, target: int, *, owners: bool = True, mode: int | None = None, noted: bool = False
) -> None:
    """Give an open file or directory what another one has, but for its bytes; of extended attributes an image's.

    Without `owners` it stays with who it belongs to. `mode` is its true one, where it is not the one that it has. With
    `noted` it becomes part of a layer, in the form that these have on the disk; else it is as is meant. Raises OSError.
    """
    status = os.fstat(source)
    if owners:
        os.fchown(target, status.st_uid, status.st_gid)
    found = tuple((name, os.getxattr(source, name)) for name in filter(is_kept, os.listxattr(source)))
    true, found = ondisk.decode(status.st_mode if mode is None else mode, found)
    true = stat.S_IMODE(true)
    is_directory = stat.S_ISDIR(status.st_mode)
    if noted:
        true, found = ondisk.encode(true, found, directory=is_directory)
    elif ondisk.is_noted():
        found = tuple((name, value) for name, value in found if name != CAPABILITY)  # nobody lets this process set it
    if found:
        os.fchmod(target, true | 0o200)  # which setting a user's attributes takes, where there is no privilege
        for name, value in found:
            os.setxattr(target, name, value)
    os.fchmod(target, true)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_special(
    source: Beneath, path: str, status: os.stat_result, parent: int, name: str, *, owners: bool = True
) -> None:
    """Make what is neither a file nor a directory of `source` again as `name` in an open directory. Raises OSError."""
    if stat.S_ISLNK(status.st_mode):
        os.symlink(source.readlink(path), name, dir_fd=parent)
    else:
        os.mknod(name, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=parent)
    if owners:
        os.chown(name, status.st_uid, status.st_gid, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=parent)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)


def copy_bytes(source: int, target: int) -> None:
    """Copy what an open file holds, in the kernel where it can. Raises OSError."""
    try:
        while os.copy_file_range(source, target, 1 << 30):
            pass
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise
    else:
        return
    os.lseek(source, 0, os.SEEK_SET)
    os.lseek(target, 0, os.SEEK_SET)
    while data := os.read(source, _PIECE):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]
