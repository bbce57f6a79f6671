"""Loans to a command in place, beside the image: instead of mounts, files that are put there and taken away again.

Caches are moved to where the command wants them, and back; what layers and contexts show is copied. Files that
were there before are kept aside meanwhile. A list of all that is in the state directory, so that after an interruption
the next one can put things back.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError
from buildah_py.sandbox.below import Below
from buildah_py.sandbox.initlayer import InitLayer, locate
from buildah_py.sandbox.journal import COPIED, KEPT_ASIDE, MADE, MOVED, is_directory, open_directory, remove
from buildah_py.sandbox.operations import BindMount, FileMount, OverlayMount, StubFile, TmpfsMount
from buildah_py.sandbox.picture import NOTHING, SELF, latest, look, take_picture
from buildah_py.sandbox.working_root import copy_of_layers
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from buildah_py.sandbox.journal import Journal
    from buildah_py.sandbox.operations import Operation
    from buildah_py.sandbox.picture import Look, TreePicture
    from buildah_py.sandbox.working_root import WorkingRoot

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN = 0o755


class Lending:
    """Loans to one command in the root `root`; `aside` is a directory on the same file system, for nobody else."""

    def __init__(self, root: WorkingRoot, init: str, aside: str, journal: Journal, caches: str) -> None:
        self._root = root
        self._top = root.top.rstrip("/")
        self._aside = aside
        self._journal = journal
        self._caches = caches
        self._count = 0
        self._back: list[tuple[str, str, str, Any]] = []
        """Deeds to undo: the kind of each, where it came from, the path in the root, and how it was."""
        self._made: list[str] = []
        self._times: dict[str, tuple[int, int]] = {}
        self._stubs: dict[str, Look] = {}
        self._sealed: dict[str, TreePicture] = {}
        self.last = 0
        """When the last of what a command may not change was made, by the file system's clock."""
        self.targets: list[str] = []
        """Paths in the root, without a slash before them, of what is lent."""
        self._below = Below((root.top,), lambda: os.open(root.top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), {})
        self._layer = InitLayer(init, self._below)

    def lend(self, operations: Iterable[Operation]) -> None:
        """Put all there. Raises SandboxError, OSError."""
        ordered = sorted(operations, key=lambda one: one.target.count("/"))
        for operation in ordered:
            if not isinstance(operation, StubFile):
                self._lend(operation)
        for operation in ordered:
            if isinstance(operation, StubFile):
                self._lend_stub(operation)

    def lend_file(self, target: str, content: bytes) -> None:
        """Put a file there that a container would have of its own, instead of what the image has; 0644."""
        self._put(target.strip("/"), FileMount(target, content, 0o644))

    def finish(self) -> None:
        """Let directories have the times that they have in the image, and take all for what was there before."""
        for path, times in self._times.items():
            self._set_times(path, times)
        self._root.note([*self._times, *self._made, *self._stubs])
        for target in self._sealed:  # nothing here can keep a command from writing there
            picture = self._sealed[target] = self._look_at(target)
            self.last = max(self.last, latest(picture))

    def _lend(self, operation: Operation) -> None:
        directory = operation.directory
        if isinstance(operation, BindMount):
            directory = os.path.isdir(source_of(operation))
        elif isinstance(operation, OverlayMount) and operation.path.strip("/"):
            directory = shows_directory(operation, userxattr=self._root.userxattr)
        target = self._layer.add(operation.target, directory).strip("/")
        self._put(target, operation)

    def _lend_stub(self, stub: StubFile) -> None:
        """Put a file there if there is none; it is the image's once the command has changed it."""
        self._layer.add_stub(stub.target, stub.content)
        names, _ = locate(self._below, stub.target)
        target = "/".join(names)
        init = f"{self._layer.path}/{target}"
        if os.path.lexists(f"{self._top}/{target}") or not os.path.isfile(init) or self._root.is_left(target):
            return
        place = self._make_way(target)
        self._journal.add(MADE, "", place)
        _write(place, FileMount(target, stub.content, stat.S_IMODE(os.stat(init).st_mode)))
        status = os.stat(init)
        os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._stubs[target] = look(os.lstat(place))

    def _make_way(self, target: str) -> str:
        """Make the directories above a target that are missing; gives its path."""
        parts = target.split("/")
        for length in range(1, len(parts)):
            here = "/".join(parts[:length])
            if not os.path.lexists(f"{self._top}/{here}"):
                self._touch("/".join(parts[: length - 1]))
                self._journal.add(MADE, "", f"{self._top}/{here}")
                os.mkdir(f"{self._top}/{here}", 0o755)
                os.chmod(f"{self._top}/{here}", _OPEN)
                self._made.append(here)
        self._touch("/".join(parts[:-1]))
        return f"{self._top}/{target}"

    def _put(self, target: str, operation: Operation) -> None:
        place = self._make_way(target)
        kept = ""
        if os.path.lexists(place):
            kept = self._free_name()
            self._journal.add(KEPT_ASIDE, place, kept)
            try:
                os.rename(place, kept)
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.EXDEV, errno.EROFS):
                    raise
                raise SandboxError(
                    f"nothing can be put at /{target} in place: it is a mount of the container around",
                    hint="give the mount of the RUN another target, or the container's",
                ) from None
        self.targets.append(target)
        self._back.append((KEPT_ASIDE, kept, target, None))
        self._show(operation, target, place)

    def _show(self, operation: Operation, target: str, place: str) -> None:
        if isinstance(operation, BindMount):
            self._bind(source_of(operation), target, place)
            if operation.readonly and not os.path.islink(place):
                self._sealed[target] = {}
            return
        self._journal.add(MADE, "", place)
        self._back.append((MADE, "", target, None))
        if isinstance(operation, OverlayMount):
            layers, path, userxattr = operation.lowers, operation.path.strip("/"), self._root.userxattr
            copy_of_layers(layers, path, place, userxattr=userxattr, owners=self._root.owners)
            if not operation.upper:
                self._sealed[target] = {}
        elif isinstance(operation, TmpfsMount):
            os.mkdir(place)
            os.chmod(place, operation.mode)
        elif isinstance(operation, FileMount):
            _write(place, operation)
            if operation.readonly:
                self._sealed[target] = {}
        else:
            raise SandboxError(f"{operation.describe()} cannot be had in place")

    def _look_at(self, target: str) -> TreePicture:
        """Look at what is at a target, but for what else was put in there."""
        left: dict[str, set[str]] = {}
        for other in self.targets:
            if other.startswith(f"{target}/"):
                directory, _, name = other[len(target) + 1 :].rpartition("/")
                left.setdefault(directory, set()).add(name)
        parent = self._open(target.rpartition("/")[0])
        if parent == -1:
            return {}
        try:
            return _picture(f"/proc/self/fd/{parent}/{target.rpartition('/')[2]}", left)
        finally:
            os.close(parent)

    def check(self) -> None:
        """Raise SandboxError where the command has changed what was read-only to it, as it is elsewhere."""
        for target, known in self._sealed.items():
            if self._look_at(target) != known:
                raise SandboxError(
                    f"the command has written to /{target}, which is read-only to it: elsewhere it could not have",
                    hint="give the mount `rw`: what is written there is thrown away in the end",
                )

    def _bind(self, source: str, target: str, place: str) -> None:
        """Show a file or directory of the machine: a cache is there itself, anything else by a link."""
        status = os.stat(source)
        if stat.S_ISDIR(status.st_mode) and source.startswith(f"{self._caches}/"):
            self._journal.add(MOVED, source, place)
            try:
                os.rename(source, place)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._journal.add(COPIED, source, place)
                copy_of_layers((source,), "", place, userxattr=self._root.userxattr, owners=self._root.owners)
                self._back.append((COPIED, source, target, _picture(place)))
                return
            self._back.append((MOVED, source, target, status))
            return
        self._journal.add(MADE, "", place)
        self._back.append((MADE, "", target, None))
        if not stat.S_ISDIR(status.st_mode):
            try:
                os.link(source, place)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM):
                    raise
            else:
                return
        os.symlink(source, place)

    def take_back(self) -> None:
        """Put all back, and what the image has there. Raises OSError.

        A command may have put a link anywhere on the way: nothing is done where one would lead.
        """
        self._below.close()
        self._layer.close()
        now = {path: self._times_of(path) for path in self._times}
        while self._back:
            kind, origin, target, known = self._back.pop()
            directory, _, name = target.rpartition("/")
            parent = self._open(directory)
            place = "" if parent == -1 else f"/proc/self/fd/{parent}/{name}"
            try:
                if kind == MOVED:
                    _move_back(origin, place, known)
                elif kind == COPIED:
                    self._copy_back(origin, place, known)
                elif place:
                    remove(place)
                    if origin:
                        os.rename(origin, place)
            finally:
                if parent != -1:
                    os.close(parent)
        for path, known in self._stubs.items():
            self._remove_stub(path, known)
        for path in reversed(self._made):
            self._remove_made(path)
        for path, times in now.items():
            if times is not None:
                self._set_times(path, times)
        self._root.note([*self._times, *self._made, *self._stubs, *self.targets])
        self._journal.clear()

    def _open(self, path: str) -> int:
        return open_directory(self._root.top, path)

    def _times_of(self, path: str) -> tuple[int, int] | None:
        directory = self._open(path)
        if directory == -1:
            return None
        try:
            status = os.fstat(directory)
        finally:
            os.close(directory)
        return status.st_atime_ns, status.st_mtime_ns

    def _set_times(self, path: str, times: tuple[int, int]) -> None:
        directory = self._open(path)
        if directory != -1:
            try:
                os.utime(f"/proc/self/fd/{directory}", ns=times)
            finally:
                os.close(directory)

    def _remove_stub(self, path: str, known: Look) -> None:
        parent = self._open(path.rpartition("/")[0])
        if parent == -1:
            return
        name = path.rpartition("/")[2]
        try:
            if look(os.stat(name, dir_fd=parent, follow_symlinks=False)) == known:
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        finally:
            os.close(parent)

    def _remove_made(self, path: str) -> None:
        parent = self._open(path.rpartition("/")[0])
        if parent == -1:
            return
        try:
            os.rmdir(path.rpartition("/")[2], dir_fd=parent)
        except OSError as error:  # the command has put something there, or removed it
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR):
                raise
        finally:
            os.close(parent)

    def _copy_back(self, source: str, place: str, known: TreePicture) -> None:
        new = self._journal.beside("new")
        if place and is_directory(place):
            if _picture(place) == known:
                remove(place)
                return
            copy_of_layers((place,), "", new, userxattr=self._root.userxattr, owners=self._root.owners)
            remove(place)
        else:  # the command has removed it with all that was in it
            os.mkdir(new, 0o700)
            _resemble(new, os.stat(source))
        old = self._journal.beside("old")
        os.rename(source, old)
        os.rename(new, source)
        remove_tree(old)

    def _touch(self, directory: str) -> None:
        """Remember the times of a directory in which something is about to come or go."""
        if any(f"{directory}/".startswith(f"{target}/") for target in self.targets):  # which goes as a whole
            return
        times = self._times_of(directory)
        if times is not None and directory not in self._made:
            self._times.setdefault(directory, times)

    def _free_name(self) -> str:
        self._count += 1
        return f"{self._aside}/{self._count}"


def source_of(operation: BindMount) -> str:
    """Give the path of what is bound."""
    if isinstance(operation.source, str):
        return operation.source
    return os.readlink(f"/proc/self/fd/{operation.source}")


def shows_directory(operation: OverlayMount, *, userxattr: bool) -> bool:
    """Tell whether a directory is what layers show at the path of a mount."""
    from buildah_py.layers.lower import Lowers

    with Lowers(operation.lowers, userxattr=userxattr) as layers:
        view, here = layers.root(), ""
        for part in filter(None, operation.path.split("/")):
            view = layers.directory(view, here, 1).find(part)
            here = f"{here}/{part}".strip("/")
        return view.stat is not None and stat.S_ISDIR(view.stat.st_mode)


def _write(place: str, file: FileMount) -> None:
    descriptor = os.open(place, _CREATE, 0o600)
    with open(descriptor, "wb") as out:
        out.write(file.content)
        os.fchown(descriptor, file.uid, file.gid)
        os.fchmod(descriptor, file.mode)


def _picture(place: str, left: Mapping[str, Collection[str]] = NOTHING) -> TreePicture:
    """Look at a directory with all that is in it, or at a file; nothing where there is none."""
    try:
        status = os.lstat(place)
    except FileNotFoundError:
        return {}
    if not stat.S_ISDIR(status.st_mode):
        return {"": {SELF: look(status)}}
    top = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return take_picture(top, left)
    finally:
        os.close(top)


def _move_back(origin: str, place: str, known: os.stat_result) -> None:
    """Take a cache back; one that the command has removed is empty then."""
    if place and is_directory(place):
        os.rename(place, origin)
        return
    if place:
        remove(place)
    os.mkdir(origin, 0o700)
    _resemble(origin, known)


def _resemble(path: str, known: os.stat_result) -> None:
    os.chown(path, known.st_uid, known.st_gid)
    os.chmod(path, stat.S_IMODE(known.st_mode))
