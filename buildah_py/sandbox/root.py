"""The root of a container while it is made, and the small things that mounts are made with."""

from __future__ import annotations

import errno
import os

from buildah_py.linux import mounts
from buildah_py.linux.paths import openat2
from buildah_py.sandbox.idmap import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.sandbox.idmap import Ranges

INERT = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


class Root:
    """Object of the operations: the new root, where the host still is, and what came over the socket."""

    __slots__ = (
        "_files",
        "_scratch",
        "bound_proc",
        "copies",
        "descriptor",
        "descriptors",
        "devices",
        "id_maps",
        "nested",
        "null",
        "scratch",
        "slots",
        "terminal",
        "unprivileged",
        "user_namespace",
        "writable",
    )

    def __init__(
        self,
        descriptors: tuple[int, ...],
        *,
        scratch: str,
        unprivileged: bool,
        devices: bool,
        user_namespace: int = -1,
        id_maps: tuple[Ranges, Ranges] = ((), ()),
        nested: str = "never",
        writable: str = "overlay",
    ) -> None:
        self.descriptor = -1
        self.nested = nested  # whether we do with the /proc that there is: never, refused (where a new one is), always
        self.writable = writable  # see `writable.py`
        self.copies: list[str] = []  # directories that hold copies of layers, to be removed in the end
        self.bound_proc = False  # whether that was so
        self.descriptors = descriptors
        self.null = -1  # the null device, opened before a build file's mounts were there
        self.terminal: tuple[int, int] | None = None  # master and slave of a new one, likewise
        self.scratch = scratch  # a directory of the host; a tmpfs on it is seen by this mount namespace alone
        self.slots: tuple[str, ...] = ()  # directories of what is observed, by their numbers
        self.unprivileged = unprivileged
        self.devices = devices  # device nodes work wherever they are, not only the usual ones in /dev
        self.user_namespace = user_namespace  # of the container, where it has one that is not ours
        self.id_maps = id_maps
        self._scratch = -1
        self._files = 0

    @property
    def attributes(self) -> int:
        """Attributes of the mounts of what a step can make device nodes in."""
        return 0 if self.devices else mounts.MOUNT_ATTR_NODEV

    def lower(self, layer: str | int) -> str:
        """Give the directory of a layer, which may be named by the number of its slot."""
        return layer if isinstance(layer, str) else self.slots[layer]

    def open_target(self, target: str, directory: bool) -> int:
        """Open a mount target inside the root; in what was mounted there just now, it is made when missing."""
        flags = os.O_PATH | (os.O_DIRECTORY if directory else 0)
        try:
            return openat2(self.descriptor, target, flags)
        except FileNotFoundError:
            self._make_target(target, directory)
            return openat2(self.descriptor, target, flags)

    def _make_target(self, target: str, directory: bool) -> None:
        layers = os.fstat(self.descriptor).st_dev
        names = [name for name in target.split("/") if name]
        for length in range(1, len(names) + 1):
            parent = openat2(self.descriptor, "/".join(names[: length - 1]) or "/", os.O_PATH | os.O_DIRECTORY)
            try:
                if _exists(parent, names[length - 1]):
                    continue
                if os.fstat(parent).st_dev == layers:  # the init layer has to have it: nothing is made in the upper
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/".join(names[:length]))
                if directory or length < len(names):
                    os.mkdir(names[length - 1], 0o755, dir_fd=parent)
                else:
                    os.close(os.open(names[-1], os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent))
            finally:
                os.close(parent)

    def attach(self, mount: int, target: str, directory: bool) -> None:
        """Put a detached mount onto a target inside the root and close it."""
        try:
            place = self.open_target(target, directory)
            try:
                mounts.move_mount(mount, place)
            finally:
                os.close(place)
        finally:
            os.close(mount)

    def scratch_file(self, content: bytes, mode: int, uid: int, gid: int) -> int:
        """Write a file in memory and give a detached mount of it."""
        if self._scratch == -1:
            self._scratch = new_file_system(
                "tmpfs", {"mode": "0700"}, mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
            )
            mounts.move_mount(self._scratch, mounts.AT_FDCWD, self.scratch)
        self._files += 1
        name = str(self._files)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=self._scratch), "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            owner = outside(self.id_maps[0], uid), outside(self.id_maps[1], gid)
            try:
                os.fchown(file.fileno(), *owner)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                raise OSError(errno.EINVAL, f"{uid}:{gid} does not exist here: there are not so many ids") from None
            os.fchmod(file.fileno(), mode)
        return mounts.open_tree(self._scratch, name)


def _exists(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def new_file_system(fstype: str, options: Mapping[str, str | None], attributes: int) -> int:
    """Make a file system and give the descriptor of its detached mount."""
    context = mounts.fsopen(fstype)
    try:
        mounts.fsconfig(context, "source", fstype)
        for key, value in options.items():
            mounts.fsconfig(context, key, value)
        return mounts.fsmount(context, attributes)
    finally:
        os.close(context)


def if_known(fstype: str, attributes: int) -> int:
    """Make a file system that a kernel may have been built without; -1 where it was."""
    try:
        return new_file_system(fstype, {}, attributes)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return -1
