"""Commands below PRoot: where neither namespaces nor mounts are allowed, nor any privilege at all.

PRoot (Debian package `proot`) stops each of a command's processes at each system call and puts the paths in it right,
so that a directory of ours looks like its root, and the builder's user like the command's. That is slow, and keeps
nobody in: the processes are the builder's own, as far as the kernel is concerned.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import stat
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SandboxError
from buildah_py.frozen import replace
from buildah_py.layers import ondisk, xattrs
from buildah_py.linux import process
from buildah_py.linux.identity import has_single_id, uses_userxattr
from buildah_py.linux.interpreter import own_loader
from buildah_py.linux.paths import Beneath
from buildah_py.sandbox import launcher, resolver
from buildah_py.sandbox.bindings import Bindings
from buildah_py.sandbox.operations import StubFile
from buildah_py.sandbox.place import NO_ROOT
from buildah_py.sandbox.rungs import find_proot
from buildah_py.sandbox.working_root import WorkingRoot
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.sandbox.place import Shortfall
    from buildah_py.sandbox.spec import ContainerSpec

STARTER: Final = ".pybuild"
"""Name of the launcher in a command's /dev, until it has been executed."""
_NODES: Final = ("null", "zero", "full", "random", "urandom", "tty", "pts")
_STICKY: Final = 0o1777
_LINKS: Final = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


class PRoot:
    """Copies of images' files below `directory`, one for each command that runs at once; kept for the next build."""

    shortfall: Shortfall = NO_ROOT

    def __init__(self, directory: str, path: str) -> None:
        self._program = find_proot(path)
        if not self._program:
            raise SandboxError(
                "--isolation=proot needs the program proot, which is not installed", hint="apt-get install proot"
            )
        if not launcher.program():
            raise SandboxError(
                f"--isolation=proot is for x86-64 and arm64 machines, and this is {os.uname().machine}",
                hint="`pybuild doctor` tells whether this machine allows more",
            )
        if ":" in directory:
            raise SandboxError(
                f"proot takes no path that has a colon: {directory}", hint="move the state directory (PYBUILD_ROOT)"
            )
        process.set_dumpable(False)  # commands have this process's user
        self._directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for name in os.listdir(directory):
            _clean(f"{directory}/{name}")
        self._lock = threading.Lock()
        self._free: list[_Copy] = []
        self._count = 0

    def enter(self, container: ContainerSpec) -> EnteredCopy:
        """Have a copy hold what a container shall see."""
        copy = self._take(container.lowers)
        try:
            return EnteredCopy(self._program, copy, container, lambda: self._give(copy))
        except BaseException:
            copy.root.forget()
            self._give(copy)
            raise

    def _take(self, lowers: Sequence[str]) -> _Copy:
        """Give a copy that nobody uses, best the one that holds most of these layers."""
        with self._lock:
            if self._free:
                best = max(self._free, key=lambda one: one.root.common(lowers))
                self._free.remove(best)
                return best
            while True:
                self._count += 1
                copy = _Copy.take(f"{self._directory}/{self._count}")
                if copy is not None:
                    return copy

    def _give(self, copy: _Copy) -> None:
        with self._lock:
            self._free.append(copy)

    def close(self) -> None:
        """Remember what the copies hold for the next build."""
        while self._free:
            self._free.pop().close()


class _Copy:
    """A copy of an image's files in `place`, which no other process uses as long as the lock is held."""

    def __init__(self, place: str, lock: int) -> None:
        self.place = place
        self._lock = lock
        self._record = f"{place}/record"
        self.root = WorkingRoot(f"{place}/root", userxattr=uses_userxattr(), owners=not has_single_id())
        self.lent = f"{place}/lent"
        os.makedirs(self.root.top, mode=0o700, exist_ok=True)
        self._recall()

    @classmethod
    def take(cls, place: str) -> _Copy | None:
        """Take the one in a directory, which may be new; None where somebody has it."""
        lock = _lock(place)
        return None if lock == -1 else cls(place, lock)

    def _recall(self) -> None:
        """Take over what the last one knew; it is gone from the disk until this one ends in order."""
        try:
            with open(self._record, "rb") as file:
                known = marshal.load(file)  # noqa: S302 - ours, in a directory of ours
        except (FileNotFoundError, ValueError, EOFError, TypeError):
            return
        os.unlink(self._record)
        self.root.remember(*known)

    def close(self) -> None:
        known = self.root.known()
        if known is not None:
            with open(f"{self._record}.new", "wb") as file:
                marshal.dump(known, file)
            os.replace(f"{self._record}.new", self._record)
        self.root.close()
        os.close(self._lock)


def _lock(place: str) -> int:
    """Lock the directory of a copy, which is made if need be; -1 where somebody has it."""
    os.makedirs(place, mode=0o700, exist_ok=True)
    lock = os.open(f"{place}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return -1
    return lock


def _clean(place: str) -> None:
    """Take away what a command was lent by a builder that was killed."""
    lock = _lock(place)
    if lock == -1:
        return
    try:
        if os.path.lexists(f"{place}/lent"):
            remove_tree(f"{place}/lent")
    finally:
        os.close(lock)


class EnteredCopy:
    """A copy while one command has it."""

    def __init__(self, program: str, copy: _Copy, container: ContainerSpec, done: Callable[[], None]) -> None:
        self._copy = copy
        self._done = done
        self.path = copy.root.top
        self.keep_user = True  # another one has no way to the copy, which lies where nobody else may go
        self.warnings: list[str] = []
        self._upper = container.upper
        self.user = 0, 0
        self.changed: frozenset[str] = frozenset()
        self.origins: Mapping[str, str] = {}
        self._collected = False
        self._left = ExitStack()
        copy.root.show(container.lowers, _attributes(container.upper))
        self.user = _user(copy.root.top, container.user)
        with ExitStack() as undo:
            os.mkdir(copy.lent, 0o700)
            undo.callback(remove_tree, copy.lent)
            self._bound = Bindings(copy.root, container, copy.lent)
            undo.callback(self._bound.take_back)
            self._lend(container)
            copy.root.settle(f"{copy.place}/clock")
            self._left = undo.pop_all()
        place = "-r", copy.root.top, "-w", container.cwd
        self.through = (*own_loader(), program, *place, *self._bound.words, f"/dev/{STARTER}")
        self.scratch = f"{copy.lent}/proot"
        self.starter = f"{copy.lent}/dev/{STARTER}"
        cwd = "/" if self._bound.has(container.cwd) else container.cwd
        self.container = replace(container, mounts=(), cwd=cwd)

    def _lend(self, container: ContainerSpec) -> None:
        lent, bound = self._copy.lent, self._bound
        os.mkdir(f"{lent}/proot", 0o700)
        os.mkdir(f"{lent}/dev", 0o755)
        for name, target in _LINKS.items():
            os.symlink(target, f"{lent}/dev/{name}")
        _write(f"{lent}/dev/{STARTER}", launcher.program(), 0o755)
        bound.own_directory("dev/shm", _STICKY)
        for path in ("/proc", "/sys"):
            bound.bind(path, path)
        bound.bind(f"{lent}/dev", "/dev")
        for name in filter(lambda name: os.path.exists(f"/dev/{name}"), _NODES):
            bound.show(f"/dev/{name}", f"/dev/{name}")
        names = container.dns, container.dns_search, container.dns_options
        bound.lend_file("/etc/hosts", resolver.hosts_file(container.hostname, container.add_hosts))
        bound.lend_file("/etc/resolv.conf", resolver.resolver_file(*names, host=True))
        bound.lend((*container.mounts, StubFile("/etc/hostname", f"{container.hostname}\n".encode())))
        bound.make_directory(container.cwd)
        bound.finish()

    def collect(self) -> None:
        """Put what the command has changed into the container's upper directory."""
        self._bound.check()
        root = self._copy.root
        found = root.collect(self._upper, self._bound.targets)
        self._collected = True
        self.changed, self.origins = frozenset(found.changed), root.origins
        if root.owners and self.user != (0, 0):
            self._give(path for path in found.changed if path not in root.origins)
        self.warnings += self._bound.complaints()

    def _give(self, paths: Iterable[str]) -> None:
        """Give what a user has made to that user, where it is on the disk of a root: in the layer, and in the copy."""
        made = sorted(paths)
        for place in (self._upper, self._copy.root.top):
            top = Beneath(os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            try:
                for path in made:
                    status, (parent, name) = top.lstat(path), top.parent(path)
                    if not status.st_uid:
                        os.chown(name, *self.user, dir_fd=parent, follow_symlinks=False)
                        if stat.S_IMODE(status.st_mode) & (stat.S_ISUID | stat.S_ISGID):
                            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=parent)
            finally:
                top.close()
        self._copy.root.note(made)

    def leave(self) -> None:
        """Take back what the command was lent, and let the next one have the copy."""
        try:
            if not self._collected:
                self._copy.root.forget()
            self._left.close()
        except BaseException:
            self._copy.root.forget()
            raise
        finally:
            self._done()


def _attributes(path: str) -> os.stat_result:
    """Say what a layer's directory is, with the mode that is meant."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        mode, _ = ondisk.decode(status.st_mode, xattrs.read(descriptor))
    finally:
        os.close(descriptor)
    return os.stat_result((mode, *status[1:]))


def _user(root: str, name: str) -> tuple[int, int]:
    """Give the ids of a user of an image; root's for one that is not there, which the command is told then."""
    from buildah_py.sandbox.joining import look_up_user
    from buildah_py.sandbox.refusal import RefusedError

    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        who = look_up_user(top, name)
    except RefusedError:
        return 0, 0
    finally:
        os.close(top)
    return who.uid, who.gid


def _write(path: str, content: bytes, mode: int) -> None:
    with open(path, "xb") as file:
        file.write(content)
    os.chmod(path, mode)
