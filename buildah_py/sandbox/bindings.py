"""Loans to a command below PRoot, beside the image: paths that are shown where it wants them, as by mounts.

Caches and volumes are shown themselves. Files of layers are copied, as nothing is read-only there. Where the image has
nothing, a place is made in the root and taken away afterwards, so that what lies beside it is the image's.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from buildah_py.errors import SandboxError
from buildah_py.layers.ondisk import reachable
from buildah_py.linux.identity import may_override_modes
from buildah_py.linux.paths import Beneath
from buildah_py.sandbox.below import Below
from buildah_py.sandbox.initlayer import InitLayer, locate
from buildah_py.sandbox.lending import shows_directory, source_of
from buildah_py.sandbox.operations import BindMount, FileMount, OverlayMount, StubFile, TmpfsMount
from buildah_py.sandbox.picture import let_time_pass, look
from buildah_py.sandbox.working_root import copy_of_layers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildah_py.sandbox.operations import Operation
    from buildah_py.sandbox.picture import Look
    from buildah_py.sandbox.spec import ContainerSpec
    from buildah_py.sandbox.working_root import WorkingRoot

    _Contents = dict[str, tuple[int, int, int, int]]
    """Mode, size, inode and time in nanoseconds of each path."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_INSTEAD = {"/etc/hosts": "--add-host adds lines", "/etc/resolv.conf": "--dns names servers"}


class Bindings:
    """Those of one command in the root `root`; what it is lent lies in the directory `place`.

    `words` are the options of proot, `targets` paths in the root, without a slash before them.
    """

    def __init__(self, root: WorkingRoot, container: ContainerSpec, place: str) -> None:
        self._root = root
        self._place = place
        self._staged = os.path.dirname(container.upper)
        self.words: list[str] = []
        self.targets: list[str] = []
        self._sources: dict[str, str] = {}
        self._own: dict[str, tuple[str, bytes]] = {}
        self._top = Beneath(os.open(root.top, _DIRECTORY))
        self._made: list[str] = []
        self._stubs: dict[str, Look] = {}
        self._sealed: dict[str, tuple[str, _Contents]] = {}
        self._times: dict[str, tuple[int, int]] = {}
        self._below = Below((root.top,), lambda: os.open(root.top, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), {})
        self._layer = InitLayer(container.init, self._below, 0 if may_override_modes() else 0o700)

    def own_directory(self, name: str, mode: int) -> None:
        """Make a directory in the place of what is lent."""
        os.mkdir(f"{self._place}/{name}")
        os.chmod(f"{self._place}/{name}", mode)

    def bind(self, source: str, target: str) -> None:
        """Show a path of the machine at a target, whatever the image has there."""
        directory = os.path.isdir(source)
        self._show(source, self._layer.add(target, directory).strip("/"), directory=directory)

    def show(self, source: str, target: str) -> None:
        """Show a path of the machine at one that another one has shown."""
        self._add(source, target)

    def lend_file(self, target: str, content: bytes) -> None:
        """Show a file that a container would have of its own, instead of what the image has; 0644."""
        path = self._new_file(content, 0o644)
        self._own[target] = path, content
        names, _ = locate(self._below, target, follow_last=False)
        self._show(path, "/".join(names), directory=False)

    def lend(self, operations: Iterable[Operation]) -> None:
        """Show all that a command has mounts for. Raises SandboxError, OSError."""
        ordered = sorted(operations, key=lambda one: (isinstance(one, StubFile), one.target.count("/")))
        for operation in ordered:
            if isinstance(operation, StubFile):
                self._lend_stub(operation)
                continue
            inside = self._within(operation.target)
            source, directory = self._source_of(operation)
            if inside:
                _provide(inside, directory=directory)
                self._add(source, operation.target)
            else:
                self._show(source, self._layer.add(operation.target, directory).strip("/"), directory=directory)
            if _is_read_only(operation):
                self._sealed[operation.target] = source, {}

    def check(self) -> None:
        """Raise SandboxError where the command has changed what was read-only to it, as it is elsewhere."""
        for target, (source, known) in self._sealed.items():
            if _contents(source) != known:
                raise SandboxError(
                    f"the command has written to {target}, which is read-only to it: elsewhere it could not have",
                    hint="give the mount `rw`: what is written there is thrown away in the end",
                )

    def _lend_stub(self, stub: StubFile) -> None:
        """Put a file there if there is none; it is the image's once the command has changed it."""
        self._layer.add_stub(stub.target, stub.content)
        names, _ = locate(self._below, stub.target)
        target = "/".join(names)
        init = f"{self._layer.path}/{target}"
        if self._within(f"/{target}") or not os.path.isfile(init) or self._exists(target):
            return
        self._make_all(target, directory=False)
        status, (parent, name) = os.stat(init), self._top.parent(target)
        with open(os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=parent), "wb") as file:
            file.write(stub.content)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=parent)
        os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent)
        self._stubs[target] = look(self._top.lstat(target))

    def make_directory(self, path: str) -> None:
        """Make a working directory that lies in something that is shown, where it is missing."""
        inside = self._within(path)
        if inside and not os.path.isdir(inside):
            os.makedirs(inside, exist_ok=True)

    def has(self, path: str) -> bool:
        """Tell whether a path is, or lies in, something that is shown."""
        return bool(self._within(path))

    def _within(self, path: str) -> str:
        """Give the path on the machine that is shown at one; "" where the root itself shows it."""
        clean = os.path.normpath(path)
        found = [one for one in self._sources if f"{clean}/".startswith(f"{one}/")]
        if not found:
            return ""
        nearest = max(found, key=len)
        return self._sources[nearest] + clean[len(nearest) :]

    def _source_of(self, operation: Operation) -> tuple[str, bool]:
        """Give the path that shows what a mount would, and whether it is a directory."""
        if isinstance(operation, BindMount):
            source = source_of(operation)
            return source, os.path.isdir(source)
        if isinstance(operation, FileMount):
            return self._new_file(operation.content, operation.mode), False
        if isinstance(operation, TmpfsMount):
            place = self._new_name()
            os.mkdir(place)
            os.chmod(place, operation.mode)
            return place, True
        if isinstance(operation, OverlayMount):
            path, userxattr = operation.path.strip("/"), self._root.userxattr
            if len(operation.lowers) == 1 and operation.lowers[0].startswith(f"{self._staged}/"):
                source = f"{operation.lowers[0]}/{path}".rstrip("/")  # a copy that was made for this command
                return source, os.path.isdir(source)
            place = self._new_name()
            copy_of_layers(operation.lowers, path, place, userxattr=userxattr, owners=self._root.owners)
            return place, shows_directory(operation, userxattr=userxattr)
        raise SandboxError(f"{operation.describe()} cannot be had with --isolation=proot")

    def _new_name(self) -> str:
        return f"{self._place}/{len(os.listdir(self._place))}"

    def _new_file(self, content: bytes, mode: int) -> str:
        path = self._new_name()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def _show(self, source: str, target: str, *, directory: bool) -> None:
        self._make_all(target, directory=directory)
        self.targets.append(target)
        self._add(source, f"/{target}")

    def _exists(self, path: str) -> bool:
        try:
            self._top.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _make_all(self, target: str, *, directory: bool) -> None:
        parts = target.split("/")
        for length in range(1, len(parts) + 1):
            here = "/".join(parts[:length])
            if not self._exists(here):
                self._make(here, directory=directory or length < len(parts))

    def _add(self, source: str, target: str) -> None:
        if ":" in source:
            raise SandboxError(f"proot cannot show a path that has a colon: {source}", hint="rename it")
        self._sources[os.path.normpath(target)] = source
        self.words += ["-b", f"{source}:{target}!"]

    def _make(self, path: str, *, directory: bool) -> None:
        above = path.rpartition("/")[0]
        parent, name = self._top.parent(path)
        if above not in self._made:
            status = os.stat(parent)
            self._times.setdefault(above, (status.st_atime_ns, status.st_mtime_ns))
        with _writable(parent):
            if directory:
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
        os.chmod(name, 0o755 if directory else 0o644, dir_fd=parent)
        self._made.append(path)

    def finish(self) -> None:
        """Let directories have the times that they have in the image, and take all for what was there before."""
        for path, times in self._times.items():
            parent, name = self._top.parent(path)
            os.utime(name, ns=times, dir_fd=parent)
        self._root.note([*self._times, *self._made, *self._stubs])
        self._stubs = {path: look(self._top.lstat(path)) for path in self._stubs}
        last = 0
        for target, (source, _) in self._sealed.items():
            contents = self._sealed[target] = source, _contents(source)
            last = max([last, *(one[-1] for one in contents[1].values())])
        if self._sealed:
            let_time_pass(f"{self._place}/clock", last)

    def complaints(self) -> list[str]:
        """Say which files a command has changed that are not kept."""
        said = []
        for target, (path, content) in self._own.items():
            try:
                with open(path, "rb") as file:
                    same = file.read() == content
            except OSError:  # it was removed, or is something else now
                same = False
            if not same:
                instead = _INSTEAD[target]
                said.append(f"what the step did to {target} is not kept: each container gets its own; {instead}")
        return said

    def take_back(self) -> None:
        """Take away what was made in the root, where a command has left it. Raises OSError."""
        self._layer.close()
        self._below.close()
        try:
            now = {path: times for path in self._times if (times := self._times_of(path)) is not None}
            for path in reversed(self._made):
                if path not in self._stubs or self._is_as(path, self._stubs[path]):
                    self._remove(path)
            for path, times in now.items():
                parent, name = self._top.parent(path)
                os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
            if self._root.known() is not None:
                self._root.note([*self._times, *self._made])
        finally:
            self._top.close()

    def _is_as(self, path: str, known: Look) -> bool:
        try:
            return look(self._top.lstat(path)) == known
        except OSError:  # there is nothing, or no way to it
            return False

    def _times_of(self, path: str) -> tuple[int, int] | None:
        try:
            status = self._top.lstat(path)
        except OSError as error:  # the command has removed it, or put something else there
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            return None
        return status.st_atime_ns, status.st_mtime_ns

    def _remove(self, path: str) -> None:
        try:
            status = self._top.lstat(path)
            parent, name = self._top.parent(path)
            with _writable(parent):
                if stat.S_ISDIR(status.st_mode):
                    os.rmdir(name, dir_fd=parent)
                elif path in self.targets or path in self._stubs:
                    os.unlink(name, dir_fd=parent)
        except OSError as error:  # the command has put something there, or removed it
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise


@contextmanager
def _writable(directory: int) -> Iterator[None]:
    """Let the owner make and remove something in a directory that keeps him out."""
    mode = os.fstat(directory).st_mode
    wanted = mode if may_override_modes() else reachable(mode)
    if wanted == mode:
        yield
        return
    path = f"/proc/self/fd/{directory}"
    os.chmod(path, stat.S_IMODE(wanted))
    try:
        yield
    finally:
        os.chmod(path, stat.S_IMODE(mode))


def _is_read_only(operation: Operation) -> bool:
    if isinstance(operation, OverlayMount):
        return not operation.upper
    return isinstance(operation, (BindMount, FileMount)) and operation.readonly


def _contents(source: str) -> _Contents:
    """Look at a file, or at all in a directory; not at change times, as PRoot changes modes while a call lasts."""
    paths = [source]
    for directory, names, files in os.walk(source):
        paths += [f"{directory}/{name}" for name in (*names, *files)]
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):  # it was removed as a whole
            status = os.lstat(path)
            size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            found[path] = status.st_mode, size, status.st_ino, status.st_mtime_ns
    return found


def _provide(path: str, *, directory: bool) -> None:
    """Make a place for something to be shown at, in what is shown itself."""
    if os.path.lexists(path):
        return
    if directory:
        os.makedirs(path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
