"""What a command in place is lent beside the image: instead of mounts, files that are put there and taken away again.

Caches are moved to where the command wants them, and back; what layers and contexts show is copied. What was there
before is kept aside meanwhile. A list of all that is in the state directory, so that after an interruption the next
one can put things back.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError
from buildah_py.linux.paths import open_beneath
from buildah_py.sandbox.below import Below
from buildah_py.sandbox.initlayer import InitLayer
from buildah_py.sandbox.operations import BindMount, FileMount, OverlayMount, TmpfsMount
from buildah_py.sandbox.picture import take_picture
from buildah_py.sandbox.working_root import copy_of_layers
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.sandbox.operations import Operation
    from buildah_py.sandbox.picture import TreePicture
    from buildah_py.sandbox.working_root import WorkingRoot

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_OPEN = 0o755
_KEPT_ASIDE, _MOVED, _COPIED, _MADE = "kept aside", "moved", "copied", "made"


class Journal:
    """A file that says what was put where, as long as that is so."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries: list[tuple[str, str, str]] = []

    def add(self, kind: str, origin: str, place: str) -> None:
        """Note what is about to be done."""
        self._entries.append((kind, origin, place))
        with open(f"{self._path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump(self._entries, file)
        os.replace(f"{self._path}.new", self._path)

    def beside(self, name: str) -> str:
        """Give a path beside it, on the file system of the store, at which nothing is."""
        path = f"{self._path}.{name}"
        _remove(path)
        return path

    def clear(self) -> None:
        """Note that all was put back."""
        self._entries = []
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return

    def recover(self) -> bool:
        """Put back what an interrupted command was lent; whether there was anything."""
        try:
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                entries = json.load(file)
        except FileNotFoundError:
            return False
        for kind, origin, place in reversed(entries):
            if kind == _MOVED and os.path.isdir(place) and not os.path.islink(place) and not os.path.lexists(origin):
                os.rename(place, origin)
            elif kind != _KEPT_ASIDE:
                _remove(place)
        self.clear()
        return True


class Lending:
    """What one command is lent in the root `root`; `aside` is a directory on the same file system, for nobody else."""

    def __init__(self, root: WorkingRoot, init: str, aside: str, journal: Journal, caches: str) -> None:
        self._root = root
        self._top = root.top.rstrip("/")
        self._aside = aside
        self._journal = journal
        self._caches = caches
        self._count = 0
        self._back: list[tuple[str, str, str, Any]] = []
        """What was done: its kind, where it came from, the path in the root, and how it was."""
        self._made: list[str] = []
        self._times: dict[str, tuple[int, int]] = {}
        self.targets: list[str] = []
        """Paths in the root, without a slash before them, of what is lent."""
        self._below = Below((root.top,), lambda: os.open(root.top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), {})
        self._layer = InitLayer(init, self._below)

    def lend(self, operations: Iterable[Operation]) -> None:
        """Put all there. Raises SandboxError, OSError."""
        for operation in sorted(operations, key=lambda one: one.target.count("/")):
            self._lend(operation)

    def lend_file(self, target: str, content: bytes) -> None:
        """Put a file there that a container would have of its own, instead of what the image has; 0644."""
        self._put(target.strip("/"), FileMount(target, content, 0o644))

    def finish(self) -> None:
        """Let directories have the times that they have in the image, and take all for what was there before."""
        for path, times in self._times.items():
            self._set_times(path, times)
        self._root.note([*self._times, *self._made])

    def _lend(self, operation: Operation) -> None:
        directory = operation.directory
        if isinstance(operation, BindMount):
            directory = os.path.isdir(source_of(operation))
        elif isinstance(operation, OverlayMount) and operation.path.strip("/"):
            directory = shows_directory(operation, userxattr=self._root.userxattr)
        target = self._layer.add(operation.target, directory).strip("/")
        self._put(target, operation)

    def _put(self, target: str, operation: Operation) -> None:
        parts = target.split("/")
        for length in range(1, len(parts)):
            here = "/".join(parts[:length])
            if not os.path.lexists(f"{self._top}/{here}"):
                self._touch("/".join(parts[: length - 1]))
                self._journal.add(_MADE, "", f"{self._top}/{here}")
                os.mkdir(f"{self._top}/{here}", 0o755)
                os.chmod(f"{self._top}/{here}", _OPEN)
                self._made.append(here)
        self._touch("/".join(parts[:-1]))
        place = f"{self._top}/{target}"
        kept = ""
        if os.path.lexists(place):
            kept = self._free_name()
            self._journal.add(_KEPT_ASIDE, place, kept)
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
        self._back.append((_KEPT_ASIDE, kept, target, None))
        self._show(operation, target, place)

    def _show(self, operation: Operation, target: str, place: str) -> None:
        if isinstance(operation, BindMount):
            self._bind(source_of(operation), target, place)
            return
        self._journal.add(_MADE, "", place)
        self._back.append((_MADE, "", target, None))
        if isinstance(operation, OverlayMount):
            layers, path, userxattr = operation.lowers, operation.path.strip("/"), self._root.userxattr
            copy_of_layers(layers, path, place, userxattr=userxattr, owners=self._root.owners)
        elif isinstance(operation, TmpfsMount):
            os.mkdir(place)
            os.chmod(place, operation.mode)
        elif isinstance(operation, FileMount):
            _write(place, operation)
        else:
            raise SandboxError(f"{operation.describe()} cannot be had in place")

    def _bind(self, source: str, target: str, place: str) -> None:
        """Show a file or directory of the machine: a cache is there itself, anything else by a link."""
        status = os.stat(source)
        if stat.S_ISDIR(status.st_mode) and source.startswith(f"{self._caches}/"):
            self._journal.add(_MOVED, source, place)
            try:
                os.rename(source, place)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._journal.add(_COPIED, source, place)
                copy_of_layers((source,), "", place, userxattr=self._root.userxattr, owners=self._root.owners)
                self._back.append((_COPIED, source, target, _picture(place)))
                return
            self._back.append((_MOVED, source, target, status))
            return
        self._journal.add(_MADE, "", place)
        self._back.append((_MADE, "", target, None))
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
                if kind == _MOVED:
                    _move_back(origin, place, known)
                elif kind == _COPIED:
                    self._copy_back(origin, place, known)
                elif place:
                    _remove(place)
                    if origin:
                        os.rename(origin, place)
            finally:
                if parent != -1:
                    os.close(parent)
        for path in reversed(self._made):
            self._remove_made(path)
        for path, times in now.items():
            if times is not None:
                self._set_times(path, times)
        self._root.note([*self._times, *self._made, *self.targets])
        self._journal.clear()

    def _open(self, path: str) -> int:
        """Open a directory of the root, to which no link leads; -1 where there is none."""
        top = os.open(self._root.top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return open_beneath(top, path, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return -1
        finally:
            os.close(top)

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
        if place and _is_directory(place):
            if _picture(place) == known:
                _remove(place)
                return
            copy_of_layers((place,), "", new, userxattr=self._root.userxattr, owners=self._root.owners)
            _remove(place)
        else:  # the command has removed it with all that was in it
            os.mkdir(new, 0o700)
            _resemble(new, os.stat(source))
        old = self._journal.beside("old")
        os.rename(source, old)
        os.rename(new, source)
        remove_tree(old)

    def _touch(self, directory: str) -> None:
        """Remember the times of a directory in which something is about to come or go."""
        times = self._times_of(directory)
        if times is not None and directory not in self._made:
            self._times.setdefault(directory, times)

    def _free_name(self) -> str:
        self._count += 1
        return f"{self._aside}/{self._count}"


def source_of(operation: BindMount) -> str:
    """Give the path on the machine of what a bind mount shows."""
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


def _picture(place: str) -> TreePicture:
    top = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return take_picture(top)
    finally:
        os.close(top)


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _move_back(origin: str, place: str, known: os.stat_result) -> None:
    """Take a cache back; one that the command has removed is empty then."""
    if place and _is_directory(place):
        os.rename(place, origin)
        return
    if place:
        _remove(place)
    os.mkdir(origin, 0o700)
    _resemble(origin, known)


def _resemble(path: str, known: os.stat_result) -> None:
    os.chown(path, known.st_uid, known.st_gid)
    os.chmod(path, stat.S_IMODE(known.st_mode))


def _remove(path: str) -> None:
    """Remove whatever is at a path, if anything is."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(status.st_mode):
        remove_tree(path)
    else:
        os.unlink(path)
