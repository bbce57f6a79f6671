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

from buildah_py.layers import ondisk
from buildah_py.layers.lower import Lowers
from buildah_py.layers.xattrs import overlay_prefix
from buildah_py.sandbox.filling import Bounds, Filling, Touched, add_layer, let_in, opened
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.linux.paths import Beneath
    from buildah_py.sandbox.picture import Look, TreePicture


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


class WorkingRoot:
    """The directory `top`. The paths `left` are none of its business, and stay as they are.

    Files of layers there are refused, as nobody would see it, but at the paths `covered`, and below. `userxattr` is the
    form of the layers' whiteouts. Without `owners`, files stay with this process's user, and devices are left out.
    """

    def __init__(
        self,
        top: str,
        left: Iterable[str] = (),
        *,
        covered: Iterable[str] = (),
        userxattr: bool,
        owners: bool = True,
    ) -> None:
        self.top = top
        self.userxattr = userxattr
        self._bounds = Bounds(left, covered, owners=owners)
        self._picture: TreePicture | None = None
        self._held: tuple[Held, ...] = ()
        self._last = 0
        self.top_mode: dict[int, int] = {}
        """Mode that is meant for the top, as nobody can work in one that keeps him out: PRoot opens all others."""
        self.origins: dict[str, str] = {}
        """Of what `collect` has found changed, all that was there before, if only elsewhere: where that was."""
        self._written: tuple[int, Differences] | None = None  # the directory that holds the newest changes, and those
        self._astray: list[str] = []  # where the root may not be as it is known to be

    def close(self) -> None:
        """Let go of what was written last; the root stays as it is."""
        if self._written is not None:
            os.close(self._written[0])
            self._written = None

    def known(self) -> tuple[Any, ...] | None:
        """Give what `remember` takes, as plain data; None where nobody knows what the root holds."""
        if self._picture is None:
            return None
        held = tuple(map(tuple, self._held))
        if self._written is None:
            return held, self._picture, (), [], [], self._astray
        written, (changed, gone) = self._written
        place = os.readlink(f"/proc/self/fd/{written}")  # it is a layer by now
        known: tuple[()] | Held = Held.of(place) if os.path.isdir(place) else ()
        return held, self._picture, tuple(known), changed, gone, self._astray

    def remember(
        self,
        held: Iterable[tuple[str, int, int, int]],
        picture: TreePicture,
        written: tuple[str, int, int, int] | tuple[()],
        changed: list[str],
        gone: list[str],
        astray: list[str],
    ) -> None:
        """Take over what another process knew of the root. Whatever looks different by now `show` puts right, too."""
        self._picture, self._held = picture, tuple(Held(*one) for one in held)
        self._astray = astray
        if written and os.path.isdir(written[0]) and Held.of(written[0]) == Held(*written):
            self._set_written(written[0], Differences(changed, gone))
        else:
            self._astray = [*astray, *changed, *gone]
        self.look_again()

    def forget(self) -> None:
        """Take nothing for known: the next `show` puts all right."""
        self._picture = None

    def look_again(self) -> None:
        """Find out what somebody has changed, which the next `show` is to put right."""
        if self._picture is None:
            return
        with self._open_up() as seen, opened(self.top) as top:
            now = take_picture(top.top, self._bounds.left)
            _take_for(now, seen)
            since = differences(self._picture, now)
        _take_for(now, seen)
        self._astray = [*self._astray, *since.changed, *since.gone]
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
        with opened(self.top) as top:
            self._open_below(top, seen)
        try:
            yield seen
        finally:
            with opened(self.top) as top:
                for path in sorted(seen, key=lambda path: -path.count("/") - bool(path)):
                    parent, name = top.parent(path)
                    os.chmod(name, stat.S_IMODE(seen[path][0]), dir_fd=parent)
                    seen[path] = look(os.lstat(name, dir_fd=parent))

    def _open_below(self, top: Beneath, seen: dict[str, Look]) -> None:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            let_in(top, path, top.lstat(path), seen)
            directory = top.open(path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                with os.scandir(directory) as listing:
                    entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in listing]
            finally:
                os.close(directory)
            for name, status in entries:
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(join(path, name))
                elif stat.S_ISREG(status.st_mode):
                    let_in(top, join(path, name), status, seen)

    def common(self, lowers: Sequence[str]) -> int:
        """Count the layers, from the lowest up, that it holds of these."""
        count = 0
        held = [one.path for one in self._held] if self._picture is not None else []
        while count < min(len(held), len(lowers)) and held[-1 - count] == lowers[-1 - count]:
            count += 1
        return count

    def _set_written(self, upper: str, found: Differences) -> None:
        """Note what the root has beyond what it is known to hold, and the directory that holds just that."""
        self.close()
        self._written = os.open(upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), found

    def show(self, lowers: Sequence[str], attributes: os.stat_result) -> None:
        """Have the root hold what the layers `lowers` (top-most first) hold together, its own mode and owner as given.

        Raises SandboxError where something that is left alone is in the way, OSError.
        """
        wanted = tuple(map(Held.of, lowers))
        picture, self._picture = self._picture, None  # which is known again once all went well
        touched = None if picture is None else self._touched(wanted, picture)
        if touched is None:
            picture = None
        with Lowers(lowers, userxattr=self.userxattr) as layers, opened(self.top) as top:
            let_in(top, "", os.fstat(top.top), {})
            work = Filling(top, layers, {} if picture is None else picture, self._bounds)
            work.run(layers.root(), touched)
            self.top_mode = work.finish_top(attributes)
        self._held = wanted
        self._last = latest(work.picture) if picture is None else max(self._last, work.last)
        self._picture = work.picture
        self._astray = []
        self.close()

    def _touched(self, wanted: tuple[Held, ...], picture: TreePicture) -> Touched | None:
        """Say at which paths what is held may differ from what is wanted; None where nobody knows any more."""
        held = self._held
        common = 0
        while common < min(len(held), len(wanted)) and held[-1 - common] == wanted[-1 - common]:
            common += 1
        found = Touched()
        prefix = overlay_prefix(userxattr=self.userxattr)
        own = None if self._written is None else os.fstat(self._written[0])
        try:
            for one in held[: len(held) - common]:
                if Held.of(one.path) != one:
                    return None
                add_layer(found, one.path, prefix, own=False)
        except FileNotFoundError:  # it was made for this one chain
            return None
        is_there = False
        for one in wanted[: len(wanted) - common]:
            is_own = own is not None and (one.device, one.inode) == (own.st_dev, own.st_ino)
            is_there = is_there or is_own
            add_layer(found, one.path, prefix, own=is_own)
        astray = list(self._astray)
        if self._written is not None and not is_there:
            _, changes = self._written
            astray += (*changes.changed, *changes.gone)
        for path in astray:
            here = found.at(path)
            here.own = False
            if not _is_directory(picture, path):  # of one that is there all that differs in it is named
                here.whole = True
        return found

    def settle(self, place: str, last: int = 0) -> None:
        """Wait until what is changed from now on looks changed, what was made at the time `last` as well.

        `place` is made for that on the root's file system.
        """
        let_time_pass(place, max(last, self._last))

    def note(self, paths: Iterable[str]) -> None:
        """Take the looks that these paths have now for known."""
        assert self._picture is not None
        with opened(self.top) as top:
            for path in paths:
                parent, _, name = path.rpartition("/")
                looks = self._picture.get(parent)
                if looks is None or self.is_left(path):
                    continue
                try:
                    status = top.lstat(path)
                except OSError as error:  # it is gone, or what it lay in is something else now
                    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                        raise
                    looks.pop(name, None)
                    self._picture.pop(path, None)
                    continue
                looks[name or SELF] = look(status)
                self._last = max(self._last, status.st_ctime_ns)
                if stat.S_ISDIR(status.st_mode):
                    self._picture.setdefault(path, {})

    @property
    def owners(self) -> bool:
        """Whether files are given to users."""
        return self._bounds.owners

    def is_left(self, path: str) -> bool:
        """Tell whether a path is, or lies below, one that is left alone."""
        return self._bounds.is_left(path)

    def collect(self, upper: str, besides: Iterable[str] = ()) -> Differences:
        """Put what has changed since `show` into the directory `upper`, in overlay form; what lies `besides` has not.

        Raises OSError; then nobody knows any more what the root holds.
        """
        assert self._picture is not None
        before, self._picture = self._picture, None
        left = {directory: {*names} for directory, names in self._bounds.left.items()}
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


def _is_directory(picture: TreePicture, path: str) -> bool:
    directory, _, name = path.rpartition("/")
    known = picture.get(directory, {}).get(name)
    return known is not None and stat.S_ISDIR(known[0])


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
    bounds = Bounds((), (), owners=owners)
    with Lowers(lowers, userxattr=userxattr) as layers:
        view, here = layers.root(), ""
        for part in filter(None, path.split("/")):
            view = layers.directory(view, here, 1).find(part)
            here = join(here, part)
        if view.stat is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"/{path}")
        if stat.S_ISDIR(view.stat.st_mode):
            os.mkdir(target, 0o700)
            with opened(target) as top:
                work = Filling(top, layers, {}, bounds, here)
                work.run(view)
                work.finish("", view)
        else:
            with opened(above) as top:
                Filling(top, layers, {}, bounds).make(name, view, view.stat, here)
