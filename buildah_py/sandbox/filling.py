"""Putting a directory right, so that it holds what layers hold together: all of it, or where it may differ."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import SandboxError
from buildah_py.layers import ondisk
from buildah_py.layers.xattrs import is_kept, overlay_value
from buildah_py.linux.paths import Beneath
from buildah_py.sandbox.copied_root import copy_attributes, copy_bytes, copy_special
from buildah_py.sandbox.picture import SELF, join, look
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildah_py.layers.lower import LowerDirectory, LowerPath, Lowers
    from buildah_py.sandbox.picture import Look, TreePicture

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_MANY = 1 << 10
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Bounds:
    """Paths of a directory that are left alone, and those of them where it does not matter what layers have.

    Without `owners`, files stay with this process's user, and devices are left out.
    """

    def __init__(self, left: Iterable[str], covered: Iterable[str], *, owners: bool) -> None:
        self.owners = owners
        self.covered = tuple(f"{path.strip('/')}/" for path in covered)
        self.left: dict[str, set[str]] = {}
        self.above: set[str] = {""}
        for path in left:
            parts = path.strip("/").split("/")
            self.left.setdefault("/".join(parts[:-1]), set()).add(parts[-1])
            self.above.update("/".join(parts[:length]) for length in range(len(parts)))

    def left_in(self, directory: str) -> set[str]:
        """Give the names in a directory that are left alone."""
        return self.left.get(directory, set())

    def is_left(self, path: str) -> bool:
        """Tell whether a path is, or lies below, one that is left alone."""
        parts = path.split("/")
        return any(name in self.left.get("/".join(parts[:length]), ()) for length, name in enumerate(parts))


class Touched:
    """A path at which something may have to be put right, with those below it."""

    __slots__ = ("below", "own", "whole")

    def __init__(self) -> None:
        self.below: dict[str, Touched] = {}
        self.whole = False
        """All below it, too."""
        self.own = False
        """The root has it from where the layer has it: it is as it looks."""

    def at(self, path: str) -> Touched:
        """Give the one at a path below it."""
        here = self
        for name in filter(None, path.split("/")):
            here = here.below.setdefault(name, Touched())
        return here


def add_layer(touched: Touched, layer: str, prefix: str, *, own: bool) -> None:
    """Add what a layer's directory has: directories that do not hide what is below, and whatever else there is."""
    with opened(layer) as top:
        waiting = [("", touched)]
        while waiting:
            path, here = waiting.pop()
            directory = top.open(path, _DIRECTORY)
            try:
                if overlay_value(directory, prefix + "opaque") == b"y":
                    here.whole = True
                with os.scandir(directory) as listing:
                    for entry in listing:
                        below = here.below.setdefault(entry.name, Touched())
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((join(path, entry.name), below))
                        else:
                            below.whole = True
                            below.own = own
            finally:
                os.close(directory)


@contextmanager
def opened(path: str) -> Iterator[Beneath]:
    """Open a directory to work below it."""
    top = Beneath(os.open(path, _DIRECTORY))
    try:
        yield top
    finally:
        top.close()


def let_in(top: Beneath, path: str, status: os.stat_result, seen: dict[str, Look]) -> None:
    """Let the owner read a file or directory; `seen` gets how it looked, where that was not so."""
    wanted = ondisk.reachable(status.st_mode) if ondisk.is_noted() else status.st_mode
    if wanted != status.st_mode:
        seen[path] = look(status)
        parent, name = top.parent(path)
        os.chmod(name, stat.S_IMODE(wanted), dir_fd=parent)


class _Level(NamedTuple):
    """A directory on the way: what the layers show there, and which names are to be put right."""

    path: str
    view: LowerPath
    directory: LowerDirectory
    names: Iterator[str]
    touched: Touched | None


class Filling:
    """Puts a root right, depth first, with a stack of our own: a tree may be deeper than the interpreter's."""

    def __init__(self, top: Beneath, layers: Lowers, picture: TreePicture, bounds: Bounds, start: str = "") -> None:
        self._start = start  # the path in the layers that the top stands for
        self.picture = picture
        self.last = 0
        self._top = top
        self._layers = layers
        self._bounds = bounds

    def run(self, view: LowerPath, touched: Touched | None = None) -> None:
        """Put right what is touched, None for all; `view` is the top, whose attributes are left."""
        stack = [self._enter("", view, touched)]
        while stack:
            level = stack[-1]
            for name in level.names:
                below = self._entry(level, name)
                if below is not None:
                    stack.append(below)
                    break
            else:
                stack.pop()
                if level.path:
                    self.finish(level.path, level.view)

    def finish_top(self, attributes: os.stat_result) -> dict[int, int]:
        """Give the top its mode and owner; what the mode means that it has."""
        status = os.fstat(self._top.top)
        if self._bounds.owners and (status.st_uid, status.st_gid) != (attributes.st_uid, attributes.st_gid):
            os.fchown(self._top.top, attributes.st_uid, attributes.st_gid)
        mode = ondisk.reachable(attributes.st_mode) if ondisk.is_noted() else attributes.st_mode
        if stat.S_IMODE(status.st_mode) != stat.S_IMODE(mode):
            os.chmod(f"/proc/self/fd/{self._top.top}", stat.S_IMODE(mode))
        self._note("", os.fstat(self._top.top))
        return {stat.S_IMODE(mode): stat.S_IMODE(attributes.st_mode)}

    def _enter(self, path: str, view: LowerPath, touched: Touched | None) -> _Level:
        if path:  # its own mode is set in the end
            let_in(self._top, path, self._top.lstat(path), {})
        whole = touched is None or touched.whole
        directory = self._layers.directory(
            view, self._source(path), _MANY if touched is None or whole else len(touched.below)
        )
        if whole:
            descriptor = self._top.open(path, _DIRECTORY)
            try:
                names = {*os.listdir(descriptor)} | directory.names()
            finally:
                os.close(descriptor)
            touched = None
            self.picture.setdefault(path, {})
        else:
            assert touched is not None
            names = {*touched.below}
        left = self._bounds.left_in(path)
        for name in sorted(names & left):
            self._refuse_hidden(join(path, name), directory.find(name))
        names -= left
        return _Level(path, view, directory, iter(sorted(names)), touched)

    def _refuse_hidden(self, path: str, view: LowerPath) -> None:
        """Raise SandboxError where layers have more than an empty directory at a path that is left alone."""
        if view.stat is None or f"{path}/".startswith(self._bounds.covered):
            return
        if stat.S_ISDIR(view.stat.st_mode):
            names = self._layers.directory(view, path, _MANY)
            if not any(names.find(name).stat is not None for name in names.names()):
                return
        raise SandboxError(
            f"the image has files at /{path}, where commands in place would not see them: what is there is left alone",
            hint=f"mount, or put, what is at /{path} here elsewhere",
        )

    def _entry(self, level: _Level, name: str) -> _Level | None:
        """Put one name right; a directory is left to be gone through."""
        path = join(level.path, name)
        touched = None if level.touched is None else level.touched.below[name]
        new = level.directory.find(name)
        now = self._now(path)
        if new.stat is None:
            if now is not None:
                self._remove(path, now)
            return None
        if stat.S_ISDIR(new.stat.st_mode):
            if now is None or not stat.S_ISDIR(now.st_mode):
                if now is not None:
                    self._remove(path, now)
                parent, last = self._top.parent(path)
                os.mkdir(last, 0o700, dir_fd=parent)
                touched = None
            return self._enter(path, new, touched)
        if touched is not None and touched.own and now is not None and self._is_own(path, new, now):
            if now.st_mtime_ns != new.stat.st_mtime_ns:
                parent, last = self._top.parent(path)
                times = new.stat.st_atime_ns, new.stat.st_mtime_ns
                os.utime(last, ns=times, dir_fd=parent, follow_symlinks=False)
                self._note(path, self._top.lstat(path))
            return None
        if now is not None:
            if path in self._bounds.above and stat.S_ISDIR(now.st_mode):
                raise SandboxError(
                    f"the image has no directory at /{path}, and something is mounted below it here, or left alone",
                    hint=f"mount it elsewhere: what is below /{path} here cannot be moved",
                )
            self._remove(path, now)
        self.make(path, new, new.stat)
        return None

    def _source(self, path: str) -> str:
        return f"{self._start}/{path}".strip("/") if self._start else path

    def _now(self, path: str) -> os.stat_result | None:
        try:
            return self._top.lstat(path)
        except FileNotFoundError:
            return None

    def _is_own(self, path: str, new: LowerPath, now: os.stat_result) -> bool:
        """Tell whether the layer has a file, but for its time, from here.

        One with several names is made anew: in an overlay, who writes to a name of a file below changes no other name.
        """
        old = new.stat
        assert old is not None
        same = (old.st_mode, old.st_uid, old.st_gid, old.st_size, old.st_rdev) == (
            now.st_mode,
            now.st_uid,
            now.st_gid,
            now.st_size,
            now.st_rdev,
        )
        if not same or now.st_nlink > 1:
            return False
        where = self._source(path)
        return not stat.S_ISLNK(now.st_mode) or self._top.readlink(path) == self._layers.readlink(new, where)

    def make(self, path: str, new: LowerPath, status: os.stat_result, origin: str = "") -> None:
        """Make what is no directory; in the layers it lies at `origin`, if that is another path."""
        origin = origin or self._source(path)
        parent, name = self._top.parent(path)
        source = self._layers.layer(new)
        owners = self._bounds.owners
        if not stat.S_ISREG(status.st_mode):
            copy_special(source, origin, status, parent, name, owners=owners)
            self._note(path, self._top.lstat(path))
            return
        reading = source.open(origin, _READ)
        try:
            writing = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                if status.st_size:
                    copy_bytes(reading, writing)
                copy_attributes(reading, writing, owners=owners)
                self._note(path, os.fstat(writing))
            finally:
                os.close(writing)
        finally:
            os.close(reading)

    def finish(self, path: str, view: LowerPath) -> None:
        """Give a directory its attributes, once it is full."""
        source = self._layers.open(view, self._source(path))
        target = self._top.open(path, _DIRECTORY)
        try:
            there = os.listxattr(source)
            for name in os.listxattr(target):
                if is_kept(name) and name not in there:
                    os.removexattr(target, name)
            copy_attributes(source, target, owners=self._bounds.owners)
            self._note(path, os.fstat(target))
        finally:
            os.close(source)
            os.close(target)

    def _remove(self, path: str, now: os.stat_result) -> None:
        """Remove what is at a path, but for what is left alone in there."""
        parent, name = self._top.parent(path)
        if not stat.S_ISDIR(now.st_mode):
            os.unlink(name, dir_fd=parent)
        elif path in self._bounds.above:
            descriptor = self._top.open(path, _DIRECTORY)
            try:
                names = {*os.listdir(descriptor)} - self._bounds.left_in(path)
            finally:
                os.close(descriptor)
            for one in sorted(names):
                self._remove(join(path, one), self._top.lstat(join(path, one)))
            self._note(path, self._top.lstat(path))
            return
        else:
            remove_tree(f"/proc/self/fd/{self._top.top}/{path}")
        self.picture.get(path.rpartition("/")[0], {}).pop(name, None)
        gone = [path]
        while gone:
            here = gone.pop()
            gone += [join(here, one) for one in self.picture.pop(here, ()) if join(here, one) in self.picture]

    def _note(self, path: str, status: os.stat_result) -> None:
        parent, _, name = path.rpartition("/")
        seen = look(status)
        self.picture.setdefault(parent, {})[name or SELF] = seen
        self.last = max(self.last, seen[-1])
        if path and stat.S_ISDIR(status.st_mode):
            self.picture.setdefault(path, {})
