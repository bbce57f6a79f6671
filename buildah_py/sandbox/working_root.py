"""One directory that holds the files of a chain of layers, and is changed from one chain to another, without a mount.

It knows what it holds and how all of it looks. For the next chain only what differs is touched, after a command only
what it has changed is read.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import SandboxError
from buildah_py.layers import ondisk
from buildah_py.layers.lower import Lowers
from buildah_py.layers.xattrs import is_kept, overlay_prefix, overlay_value
from buildah_py.linux.paths import Beneath
from buildah_py.sandbox.copied_root import copy_attributes, copy_bytes, copy_special
from buildah_py.sandbox.picture import (
    SELF,
    Differences,
    differences,
    join,
    latest,
    let_time_pass,
    look,
    take_picture,
)
from buildah_py.sandbox.uppers import collect_changes
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.layers.lower import LowerDirectory, LowerPath
    from buildah_py.sandbox.picture import Look, TreePicture

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_MANY = 1 << 10
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class Held(NamedTuple):
    """A layer's directory that a root holds: its path, and what another one at this path would not have."""

    path: str
    device: int
    inode: int
    mtime: int

    @classmethod
    def of(cls, path: str) -> Held:
        """Give the one at a path now."""
        status = os.stat(path)
        return cls(path, status.st_dev, status.st_ino, status.st_mtime_ns)


class _Touched:
    """A path at which something may have to be put right, with those below it."""

    __slots__ = ("below", "own", "whole")

    def __init__(self) -> None:
        self.below: dict[str, _Touched] = {}
        self.whole = False
        """All below it, too."""
        self.own = False
        """The root has it from where the layer has it: it is as it looks."""

    def at(self, path: str) -> _Touched:
        here = self
        for name in filter(None, path.split("/")):
            here = here.below.setdefault(name, _Touched())
        return here


class WorkingRoot:
    """The directory `top`. What lies at the paths `left` is none of its business, and stays where it is.

    `userxattr` is the form of the layers' whiteouts. Without `owners`, files stay with this process's user, and devices
    are left out.
    """

    def __init__(self, top: str, left: Iterable[str] = (), *, userxattr: bool, owners: bool = True) -> None:
        self.top = top
        self.userxattr = userxattr
        self.owners = owners
        self._left: dict[str, set[str]] = {}
        self.above: set[str] = {""}
        for path in left:
            parts = path.strip("/").split("/")
            self._left.setdefault("/".join(parts[:-1]), set()).add(parts[-1])
            self.above.update("/".join(parts[:length]) for length in range(len(parts)))
        self._picture: TreePicture | None = None
        self._held: tuple[Held, ...] = ()
        self._last = 0
        self.top_mode: dict[int, int] = {}
        """What the mode of the top means, as nobody can work in one that keeps him out: PRoot opens all others."""
        self.origins: dict[str, str] = {}
        """Of what `collect` has found changed, all that was there before, if only elsewhere: where that was."""
        self._written: tuple[int, Differences] | None = None  # the directory that holds the newest changes, and those

    def close(self) -> None:
        """Let go of what was written last; the root stays as it is."""
        if self._written is not None:
            os.close(self._written[0])
            self._written = None

    def known(self) -> tuple[Any, ...] | None:
        """Give what `remember` takes, as plain data; None where nobody knows what the root holds."""
        if self._picture is None:
            return None
        written = Differences([], []) if self._written is None else self._written[1]
        return tuple(map(tuple, self._held)), self._picture, written.changed, written.gone

    def remember(
        self, held: Iterable[tuple[str, int, int, int]], picture: TreePicture, changed: list[str], gone: list[str]
    ) -> None:
        """Take over what another process knew of the root. What looks different by now is put right by `show`, too."""
        self._picture, self._held, self._last = picture, tuple(Held(*one) for one in held), 0
        self._set_written(None, Differences(changed, gone))
        self.look_again()

    def forget(self) -> None:
        """Take nothing for known: the next `show` puts all right."""
        self._picture = None

    def look_again(self) -> None:
        """Find out what somebody has changed, which the next `show` is to put right."""
        if self._picture is None:
            return
        with self._open_up() as seen, _opened(self.top) as top:
            now = take_picture(top.top, self._left)
            _take_for(now, seen)
            since = differences(self._picture, now)
        _take_for(now, seen)
        before = Differences([], []) if self._written is None else self._written[1]
        self._set_written(None, Differences(before.changed + since.changed, before.gone + since.gone))
        self._picture, self._last = now, latest(now)

    @contextmanager
    def _open_up(self) -> Iterator[dict[str, Look]]:
        """Have this user get into all that is his for a while.

        Gives how what keeps him out has looked before; when this is left, how it looks then.
        """
        if not ondisk.is_noted():
            yield {}
            return
        seen: dict[str, Look] = {}
        with _opened(self.top) as top:
            self._open_below(top, seen)
        try:
            yield seen
        finally:
            with _opened(self.top) as top:
                for path in sorted(seen, key=lambda path: -path.count("/") - bool(path)):
                    parent, name = top.parent(path)
                    os.chmod(name, stat.S_IMODE(seen[path][0]), dir_fd=parent)
                    seen[path] = look(os.lstat(name, dir_fd=parent))

    def _open_below(self, top: Beneath, seen: dict[str, Look]) -> None:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            _let_in(top, path, top.lstat(path), seen)
            directory = top.open(path, _DIRECTORY)
            try:
                with os.scandir(directory) as listing:
                    entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in listing]
            finally:
                os.close(directory)
            for name, status in entries:
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(join(path, name))
                elif stat.S_ISREG(status.st_mode):
                    _let_in(top, join(path, name), status, seen)

    def _set_written(self, upper: str | None, found: Differences) -> None:
        """Note what the root has beyond what it is known to hold; None where no directory holds just that."""
        self.close()
        self._written = os.open(upper or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), found

    def common(self, lowers: Sequence[str]) -> int:
        """Count the layers, from the lowest up, that it holds of these."""
        count = 0
        held = [one.path for one in self._held] if self._picture is not None else []
        while count < min(len(held), len(lowers)) and held[-1 - count] == lowers[-1 - count]:
            count += 1
        return count

    def show(self, lowers: Sequence[str], attributes: os.stat_result) -> None:
        """Have the root hold what the layers `lowers` (top-most first) hold together, its own mode and owner as given.

        Raises SandboxError where something that is left alone is in the way, OSError.
        """
        wanted = tuple(map(Held.of, lowers))
        picture, self._picture = self._picture, None  # which is known again once all went well
        touched = None if picture is None else self._touched(wanted)
        if touched is None:
            picture = None
        with Lowers(lowers, userxattr=self.userxattr) as layers, _opened(self.top) as top:
            _let_in(top, "", os.fstat(top.top), {})
            work = _Filling(top, layers, {} if picture is None else picture, self)
            work.run(layers.root(), touched)
            work.finish_top(attributes)
        self._held = wanted
        self._last = latest(work.picture) if picture is None else max(self._last, work.last)
        self._picture = work.picture
        self.close()

    def _touched(self, wanted: tuple[Held, ...]) -> _Touched | None:
        """Say at which paths what is held may differ from what is wanted; None where nobody knows any more."""
        held = self._held
        common = 0
        while common < min(len(held), len(wanted)) and held[-1 - common] == wanted[-1 - common]:
            common += 1
        found = _Touched()
        prefix = overlay_prefix(userxattr=self.userxattr)
        own = None if self._written is None else os.fstat(self._written[0])
        try:
            for one in held[: len(held) - common]:
                if Held.of(one.path) != one:
                    return None
                _add_layer(found, one.path, prefix, own=False)
        except FileNotFoundError:  # it was made for this one chain
            return None
        is_there = False
        for one in wanted[: len(wanted) - common]:
            is_own = own is not None and (one.device, one.inode) == (own.st_dev, own.st_ino)
            is_there = is_there or is_own
            _add_layer(found, one.path, prefix, own=is_own)
        if self._written is not None and not is_there:
            _, changes = self._written
            for path in (*changes.changed, *changes.gone):
                found.at(path).whole = True
        return found

    def settle(self, place: str) -> None:
        """Wait until what is changed from now on looks changed; `place` is made for that on the root's file system."""
        let_time_pass(place, self._last)

    def note(self, paths: Iterable[str]) -> None:
        """Take the looks that these paths have now for known."""
        assert self._picture is not None
        with _opened(self.top) as top:
            for path in paths:
                parent, _, name = path.rpartition("/")
                looks = self._picture.get(parent)
                if looks is None or self.is_left(path):
                    continue
                try:
                    status = top.lstat(path)
                except FileNotFoundError:
                    looks.pop(name, None)
                    self._picture.pop(path, None)
                    continue
                looks[name or SELF] = look(status)
                self._last = max(self._last, status.st_ctime_ns)
                if stat.S_ISDIR(status.st_mode):
                    self._picture.setdefault(path, {})

    def left_in(self, directory: str) -> set[str]:
        """Give the names in a directory that are left alone."""
        return self._left.get(directory, set())

    def is_left(self, path: str) -> bool:
        """Tell whether a path is, or lies below, one that is left alone."""
        parts = path.split("/")
        return any(name in self._left.get("/".join(parts[:length]), ()) for length, name in enumerate(parts))

    def collect(self, upper: str, besides: Iterable[str] = ()) -> Differences:
        """Put what has changed since `show` into the directory `upper`, in overlay form; what lies `besides` has not.

        Raises OSError; then nobody knows any more what the root holds.
        """
        assert self._picture is not None
        before, self._picture = self._picture, None
        left = {directory: {*names} for directory, names in self._left.items()}
        aside: list[tuple[str, str, Look]] = []
        for path in besides:
            directory, _, name = path.rpartition("/")
            left.setdefault(directory, set()).add(name)
            known = before.get(directory, {}).pop(name, None)
            if known is not None:
                aside.append((directory, name, known))
        status = os.stat(self.top)
        mode = self.top_mode.get(stat.S_IMODE(status.st_mode), status.st_mode)
        top = (stat.S_IFDIR | stat.S_IMODE(mode), *look(status)[1:])
        with self._open_up() as seen:
            looks = {**seen, "": top}
            after, found = collect_changes(
                self.top, before, upper, userxattr=self.userxattr, left=left, owners=self.owners, opened=looks
            )
        _take_for(after, seen)
        for directory, name, known in aside:
            path = join(directory, name)
            if directory in after:
                after[directory][name] = known
                after.update((one, looks) for one, looks in before.items() if f"{one}/".startswith(f"{path}/"))
        for path in found.changed:
            directory, _, name = path.rpartition("/")
            self._last = max(self._last, after[directory][name][-1])
        self._set_written(upper, found)
        self.origins = _origins(before, after, found)
        self._picture = after
        return found


def _let_in(top: Beneath, path: str, status: os.stat_result, seen: dict[str, Look]) -> None:
    """Let the owner read a file or directory; `seen` gets how it looked, where that was not so."""
    wanted = ondisk.reachable(status.st_mode) if ondisk.is_noted() else status.st_mode
    if wanted != status.st_mode:
        seen[path] = look(status)
        parent, name = top.parent(path)
        os.chmod(name, stat.S_IMODE(wanted), dir_fd=parent)


def _take_for(picture: TreePicture, seen: dict[str, Look]) -> None:
    for path, looks in seen.items():
        parent, _, name = path.rpartition("/")
        picture[parent][name or SELF] = looks


def _origins(before: TreePicture, after: TreePicture, found: Differences) -> dict[str, str]:
    """Tell by inodes what of the changed was there before: at its path, or as the same file or directory at another."""
    if not found.changed:
        return {}
    places = {one[4]: join(path, name) for path, looks in before.items() for name, one in looks.items() if name != SELF}
    origins = {}
    for path in found.changed:
        directory, _, name = path.rpartition("/")
        new, old = after[directory][name], before.get(directory, {}).get(name)
        if old is not None and old[4] == new[4]:
            if stat.S_IFMT(old[0]) == stat.S_IFMT(new[0]):
                origins[path] = path
        elif (place := places.get(new[4])) is not None:
            directory, _, name = place.rpartition("/")
            old = before[directory][name]
            if (old[0], old[3]) == (new[0], new[3]) and (old[3] or stat.S_ISDIR(old[0])):
                origins[path] = place
    return origins


def copy_of_layers(lowers: Sequence[str], path: str, target: str, *, userxattr: bool, owners: bool) -> None:
    """Make at `target`, where nothing is, a copy of what layers (top-most first) show at a path without links.

    Raises OSError.
    """
    above, _, name = target.rpartition("/")
    root = WorkingRoot(above, userxattr=userxattr, owners=owners)
    with Lowers(lowers, userxattr=userxattr) as layers:
        view, here = layers.root(), ""
        for part in filter(None, path.split("/")):
            view = layers.directory(view, here, 1).find(part)
            here = join(here, part)
        if view.stat is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"/{path}")
        if stat.S_ISDIR(view.stat.st_mode):
            os.mkdir(target, 0o700)
            with _opened(target) as top:
                work = _Filling(top, layers, {}, root, here)
                work.run(view)
                work.finish("", view)
        else:
            with _opened(above) as top:
                _Filling(top, layers, {}, root).make(name, view, view.stat, here)


def _add_layer(touched: _Touched, layer: str, prefix: str, *, own: bool) -> None:
    """Add what a layer's directory has: directories that do not hide what is below, and whatever else there is."""
    with _opened(layer) as top:
        waiting = [("", touched)]
        while waiting:
            path, here = waiting.pop()
            directory = top.open(path, _DIRECTORY)
            try:
                if overlay_value(directory, prefix + "opaque") == b"y":
                    here.whole = True
                with os.scandir(directory) as listing:
                    for entry in listing:
                        below = here.below.setdefault(entry.name, _Touched())
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append((join(path, entry.name), below))
                        else:
                            below.whole = True
                            below.own = own
            finally:
                os.close(directory)


@contextmanager
def _opened(path: str) -> Iterator[Beneath]:
    top = Beneath(os.open(path, _DIRECTORY))
    try:
        yield top
    finally:
        top.close()


class _Level(NamedTuple):
    """A directory on the way: what the layers show there, and which names are to be put right."""

    path: str
    view: LowerPath
    directory: LowerDirectory
    names: Iterator[str]
    touched: _Touched | None


class _Filling:
    """Puts a root right, depth first, with a stack of our own: a tree may be deeper than the interpreter's."""

    def __init__(self, top: Beneath, layers: Lowers, picture: TreePicture, root: WorkingRoot, start: str = "") -> None:
        self._start = start  # the path in the layers that the top stands for
        self.picture = picture
        self.last = 0
        self._top = top
        self._layers = layers
        self._root = root

    def run(self, view: LowerPath, touched: _Touched | None = None) -> None:
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

    def finish_top(self, attributes: os.stat_result) -> None:
        """Give the top its mode and owner."""
        status = os.fstat(self._top.top)
        if self._root.owners and (status.st_uid, status.st_gid) != (attributes.st_uid, attributes.st_gid):
            os.fchown(self._top.top, attributes.st_uid, attributes.st_gid)
        mode = ondisk.reachable(attributes.st_mode) if ondisk.is_noted() else attributes.st_mode
        self._root.top_mode = {stat.S_IMODE(mode): stat.S_IMODE(attributes.st_mode)}
        if stat.S_IMODE(status.st_mode) != stat.S_IMODE(mode):
            os.chmod(f"/proc/self/fd/{self._top.top}", stat.S_IMODE(mode))
        self._note("", os.fstat(self._top.top))

    def _enter(self, path: str, view: LowerPath, touched: _Touched | None) -> _Level:
        if path:  # its own mode is set in the end
            _let_in(self._top, path, self._top.lstat(path), {})
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
        names -= self._root.left_in(path)
        return _Level(path, view, directory, iter(sorted(names)), touched)

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
            if path in self._root.above and stat.S_ISDIR(now.st_mode):
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
        """Tell whether the layer has a file, but for its time, from here."""
        old = new.stat
        assert old is not None
        if (old.st_mode, old.st_uid, old.st_gid, old.st_size, old.st_rdev) != (
            now.st_mode,
            now.st_uid,
            now.st_gid,
            now.st_size,
            now.st_rdev,
        ):
            return False
        return not stat.S_ISLNK(now.st_mode) or self._top.readlink(path) == self._layers.readlink(
            new, self._source(path)
        )

    def make(self, path: str, new: LowerPath, status: os.stat_result, origin: str = "") -> None:
        """Make what is no directory; in the layers it lies at `origin`, if that is another path."""
        origin = origin or self._source(path)
        parent, name = self._top.parent(path)
        source = self._layers.layer(new)
        owners = self._root.owners
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
            copy_attributes(source, target, owners=self._root.owners)
            self._note(path, os.fstat(target))
        finally:
            os.close(source)
            os.close(target)

    def _remove(self, path: str, now: os.stat_result) -> None:
        """Remove what is at a path, but for what is left alone in there."""
        parent, name = self._top.parent(path)
        if not stat.S_ISDIR(now.st_mode):
            os.unlink(name, dir_fd=parent)
        elif path in self._root.above:
            descriptor = self._top.open(path, _DIRECTORY)
            try:
                names = {*os.listdir(descriptor)} - self._root.left_in(path)
            finally:
                os.close(descriptor)
            for one in sorted(names):
                self._remove(join(path, one), self._top.lstat(join(path, one)))
            self._note(path, self._top.lstat(path))
            return
        else:
            remove_tree(f"{self._root.top}/{path}")
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
