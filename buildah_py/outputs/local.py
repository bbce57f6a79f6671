"""Write a merged file tree into a directory of the machine.

The owner of everything is who runs pybuild, as with buildx; modes, times, links and extended attributes are kept. What
gives a file's owner's rights to others goes where the owner does not come along, and device nodes are left out.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from buildah_py import meter
from buildah_py.errors import ArchiveError, OutputError, UsageError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK
from buildah_py.layers.files import ranges
from buildah_py.linux.identity import has_single_id, in_user_namespace
from buildah_py.outputs import target
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE: Final = 1 << 25
_CAPABILITY: Final = "security.capability"
_LENT: Final = stat.S_ISUID | stat.S_ISGID
"""Bits that let others act as a file's owner or group."""


def write_local(dest: str, tree: Tree, *, delete: bool = False, warn: Callable[[str], object] = lambda _: None) -> None:
    """Write `tree` into the directory `dest`; with `delete` remove what else is there.

    A new directory appears whole or not at all. In one that exists each file is replaced as a whole, and symbolic links
    are replaced, never followed. `warn` is told what was left out. Raises OutputError that names `dest` and, where it
    is about one, the path below it.
    """
    with target.naming(dest):
        place = os.path.realpath(dest)
        new = not os.path.lexists(place)
        if not new and not os.path.isdir(place):
            raise OutputError(f"{dest} is not a directory", hint="name a directory")
        if delete and place == "/":
            raise UsageError("mode=delete would empty the machine's root directory", hint="name another directory")
        root = target.beside(place) if new else place
        if new:
            os.mkdir(root)
    try:
        writer = _Writer(root, dest, fresh=new)
        try:
            with meter.start(f"writing {dest}") as moved:
                writer.fill(tree, moved, delete=delete)
            writer.tell(warn)
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
        self._privileged = os.geteuid() == 0
        # Elsewhere everything belongs to the user outside.
        self._keeps_owners = not in_user_namespace() and not has_single_id()
        self._nodes: list[str] = []

    def fill(self, tree: Tree, moved: meter.Meter, *, delete: bool) -> None:
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
                    self._place(tree, entry, moved)
            except OSError as error:
                raise OutputError(
                    f"{os.path.join(self._dest, entry.path)} cannot be written: {error.strerror or error}",
                ) from error

    def tell(self, warn: Callable[[str], object]) -> None:
        if self._nodes:
            shown = ", ".join(f"/{path}" for path in self._nodes[:3]) + (", …" if len(self._nodes) > 3 else "")
            many = f"{len(self._nodes)} device node{'s' if len(self._nodes) > 1 else ''}"
            warn(f"{self._dest}: {many} left out ({shown}); type=tar keeps them")

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

    def _place(self, tree: Tree, entry: Entry, moved: meter.Meter) -> None:
        if entry.kind in (CHAR, BLOCK) or (entry.kind == HARDLINK and entry.link in self._nodes):
            self._nodes.append(entry.path)
            return
        parent, fresh = self._stack[-1]
        name = os.path.basename(entry.path)
        if fresh:
            self._make(tree, entry, parent, name, moved)
            return
        part = target.beside(name)
        try:
            self._make(tree, entry, parent, part, moved)
            kind = _kind(parent, name)
            if kind is not None and stat.S_ISDIR(kind):
                _remove(parent, name)
            os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)
        finally:
            # Also where both names were links to one file already: rename then does nothing.
            if _kind(parent, part) is not None:
                os.unlink(part, dir_fd=parent)

    def _make(self, tree: Tree, entry: Entry, parent: int, name: str, moved: meter.Meter) -> None:
        if entry.kind == FILE:
            self._make_file(tree, entry, parent, name, moved)
        elif entry.kind == HARDLINK:
            os.link(entry.link, name, src_dir_fd=self._stack[0][0], dst_dir_fd=parent, follow_symlinks=False)
        elif entry.kind == SYMLINK:
            os.symlink(entry.link, name, dir_fd=parent)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        else:
            assert entry.kind == FIFO
            os.mkfifo(name, 0o600, dir_fd=parent)
            os.chmod(name, entry.mode, dir_fd=parent)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _make_file(self, tree: Tree, entry: Entry, parent: int, name: str, moved: meter.Meter) -> None:
        source = tree.open(entry.path)
        try:
            out = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                _copy(source, out, entry, moved)
                self._finish(out, entry)
            finally:
                os.close(out)
        finally:
            os.close(source)

    def _finish(self, descriptor: int, entry: Entry) -> None:
        """Attributes before the mode, the mode before the time: each may be lost by what comes before it."""
        for name, value in entry.xattrs:
            if name == _CAPABILITY:
                kept = self._privileged and self._keeps_owner(descriptor, entry)
            else:  # the others are root's business: labels of security modules
                kept = self._privileged or name.startswith("user.")
            if kept:
                os.setxattr(descriptor, name, value)
        mode = entry.mode
        if entry.kind == FILE and mode & _LENT and not self._keeps_owner(descriptor, entry):
            mode &= ~_LENT
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(entry.mtime, entry.mtime))

    def _keeps_owner(self, descriptor: int, entry: Entry) -> bool:
        """Whether a file has here the owner and the group that the image gives it."""
        status = os.fstat(descriptor)
        return self._keeps_owners and (status.st_uid, status.st_gid) == (entry.uid, entry.gid)


def _copy(source: int, out: int, entry: Entry, moved: meter.Meter) -> None:
    """Copy within the kernel, or share blocks where the file system can; holes stay holes."""
    if os.fstat(source).st_size != entry.size:
        raise _damaged(entry)
    os.ftruncate(out, entry.size)
    for is_data, start, end in ranges(source, entry.size):
        position = start if is_data else end
        moved.add(position - start)
        os.lseek(source, position, os.SEEK_SET)
        os.lseek(out, position, os.SEEK_SET)
        while position < end:
            sent = os.sendfile(out, source, None, min(end - position, _AT_ONCE))
            if not sent:
                raise _damaged(entry)
            position += sent
            moved.add(sent)


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
