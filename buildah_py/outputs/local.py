"""Write a merged file tree into a directory of the machine.

The owner of everything is who runs pybuild, as with buildx; modes, times, links and extended attributes are kept.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError, OutputError, UsageError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK
from buildah_py.layers.files import ranges
from buildah_py.outputs import target
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NODES: Final = {FIFO: stat.S_IFIFO, CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK}


def write_local(dest: str, tree: Tree, *, delete: bool = False) -> None:
    """Write `tree` into the directory `dest`; with `delete` remove what else is there.

    A new directory appears whole or not at all. In one that exists each file is replaced as a whole, and symbolic links
    are replaced, never followed. Raises OutputError that names `dest` and, where it is about one, the path below it.
    """
    with target.naming(dest):
        place = os.path.realpath(dest)
        new = not os.path.lexists(place)
        if not new and not os.path.isdir(place):
            raise OutputError(f"{dest} is no directory", hint="name a directory")
        if delete and place == "/":
            raise UsageError("mode=delete would empty the machine's root directory", hint="name another directory")
        root = target.beside(place) if new else place
        if new:
            os.mkdir(root)
    try:
        writer = _Writer(root, dest, fresh=new)
        try:
            writer.fill(tree, delete=delete)
        finally:
            writer.close()
        if new:
            with target.naming(dest):
                os.rename(root, place)
    except BaseException:
        if new:
            import shutil

            with target.naming(root):
                shutil.rmtree(root)
        raise


class _Writer:
    """A stack of open directories, from the root to where the next entry goes."""

    def __init__(self, root: str, dest: str, *, fresh: bool) -> None:
        self._dest = dest
        with target.naming(dest):
            self._stack = [(os.open(root, _DIRECTORY), fresh)]
        self._root = os.geteuid() == 0

    def fill(self, tree: Tree, *, delete: bool) -> None:
        if delete:
            with target.naming(self._dest):
                self._clear(tree, "")
        for entry, before in walk(tree):
            try:
                if not before:
                    self._leave(entry)
                elif entry.kind == DIR:
                    self._enter(entry)
                    if delete:
                        self._clear(tree, entry.path)
                else:
                    self._place(tree, entry)
            except OSError as error:
                raise OutputError(
                    f"{os.path.join(self._dest, entry.path)} cannot be written: {error.strerror or error}",
                    hint="type=tar keeps everything in one file" if entry.kind in (CHAR, BLOCK) else "",
                ) from error

    def close(self) -> None:
        for descriptor, _ in self._stack:
            os.close(descriptor)
        self._stack.clear()

    def _clear(self, tree: Tree, path: str) -> None:
        descriptor, fresh = self._stack[-1]
        if not fresh:
            for name in set(os.listdir(descriptor)).difference(tree.names(path)):
                _remove(descriptor, name)

    def _enter(self, entry: Entry) -> None:
        parent, fresh = self._stack[-1]
        name = os.path.basename(entry.path)
        kind = None if fresh else _kind(parent, name)
        if kind is not None and not stat.S_ISDIR(kind):
            _remove(parent, name)
            kind = None
        if kind is None:
            os.mkdir(name, 0o700, dir_fd=parent)
        self._stack.append((os.open(name, _DIRECTORY, dir_fd=parent), kind is None))

    def _leave(self, entry: Entry) -> None:
        descriptor, _ = self._stack.pop()
        try:
            self._finish(descriptor, entry)
        finally:
            os.close(descriptor)

    def _place(self, tree: Tree, entry: Entry) -> None:
        parent, fresh = self._stack[-1]
        name = os.path.basename(entry.path)
        if fresh:
            self._make(tree, entry, parent, name)
            return
        part = target.beside(name)
        try:
            self._make(tree, entry, parent, part)
            kind = _kind(parent, name)
            if kind is not None and stat.S_ISDIR(kind):
                _remove(parent, name)
            os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            # Also where both names were links to one file already: rename then does nothing.
            if _kind(parent, part) is not None:
                os.unlink(part, dir_fd=parent)

    def _make(self, tree: Tree, entry: Entry, parent: int, name: str) -> None:
        if entry.kind == FILE:
            self._make_file(tree, entry, parent, name)
        elif entry.kind == HARDLINK:
            os.link(entry.link, name, src_dir_fd=self._stack[0][0], dst_dir_fd=parent, follow_symlinks=False)
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        else:
            mode = _NODES[entry.kind] | 0o600
            os.mknod(name, mode, os.makedev(*entry.device), dir_fd=parent)
            os.chmod(name, entry.mode, dir_fd=parent)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _make_file(self, tree: Tree, entry: Entry, parent: int, name: str) -> None:
        source = tree.open(entry.path)
        try:
            out = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                _copy(source, out, entry)
                self._finish(out, entry)
            finally:
                os.close(out)
        finally:
            os.close(source)

    def _finish(self, descriptor: int, entry: Entry) -> None:
        """Attributes before the mode, the mode before the time: each may be lost by what comes before it."""
        for name, value in entry.xattrs:
            # The others are root's business: capabilities, labels of security modules.
            if self._root or name.startswith("user."):
                os.setxattr(descriptor, name, value)
        os.fchmod(descriptor, entry.mode)
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))


def _copy(source: int, out: int, entry: Entry) -> None:
    """Copy within the kernel, or share blocks where the file system can; holes stay holes."""
    if os.fstat(source).st_size != entry.size:
        raise _damaged(entry)
    os.ftruncate(out, entry.size)
    for is_data, start, end in ranges(source, entry.size):
        position = start if is_data else end
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(out, position, os.SEEK_SET)
        while position < end:
            sent = os.sendfile(out, source, None, min(end - position, 1 << 30))
            if not sent:
                raise _damaged(entry)
            position += sent


def _damaged(entry: Entry) -> ArchiveError:
    return ArchiveError(
        f"/{entry.path} is not what it was when its layer was made: it had {entry.size} bytes",
        hint="build again with --no-cache",
    )


def _kind(directory: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _remove(directory: int, name: str) -> None:
    kind = _kind(directory, name)
    if kind is not None and stat.S_ISDIR(kind):
        import shutil

        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)
