"""The file systems of the kernel: /proc, /sys and control groups, and what of them is hidden or read-only."""

from __future__ import annotations

import errno
import os
import stat

from buildah_py.linux import mounts
from buildah_py.linux.paths import openat2
from buildah_py.sandbox.operation import Operation
from buildah_py.sandbox.root import INERT, if_known, new_file_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.sandbox.root import Root


class ProcMount(Operation):
    """The processes of the container's pid namespace; where that is refused, those of whoever made us, read-only.

    The kernel refuses a new one where parts of the one that there is are covered, as runtimes cover them: see
    mount_too_revealing() in fs/namespace.c.
    """

    __slots__ = ()
    title = "proc"
    reserves = "tree"

    def __init__(self, target: str = "/proc") -> None:
        super().__init__(target)

    def execute(self, root: Root) -> None:
        """Mount it. Raises OSError, where nothing less than a new one is wanted too."""
        if root.nested != "always":
            try:
                mount = new_file_system("proc", {}, INERT)
            except PermissionError:
                if root.nested == "never":
                    raise
            else:
                root.attach(mount, self.target, directory=True)
                return
        mount = mounts.open_tree(mounts.AT_FDCWD, "/proc", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
        attributes = INERT | mounts.MOUNT_ATTR_RDONLY
        mounts.mount_setattr(mount, "", attributes, propagation=mounts.MS_PRIVATE, recursive=True)
        root.attach(mount, self.target, directory=True)
        root.bound_proc = True


class SysMount(Operation):
    """The kernel's view of devices, read-only; the host's, where a namespace of ours does not own its network."""

    __slots__ = ("readonly",)
    fields = ("target", "readonly")
    title = "sysfs"
    reserves = "tree"

    def __init__(self, target: str = "/sys", readonly: bool = True) -> None:
        super().__init__(target)
        self.readonly = readonly

    def execute(self, root: Root) -> None:
        """Mount it."""
        attributes = INERT | (mounts.MOUNT_ATTR_RDONLY if self.readonly else 0)
        try:
            mount = new_file_system("sysfs", {}, attributes)
        except PermissionError:
            mount = mounts.open_tree(mounts.AT_FDCWD, "/sys", mounts.OPEN_TREE_CLONE | mounts.AT_RECURSIVE)
            mounts.mount_setattr(mount, "", attributes, propagation=mounts.MS_PRIVATE, recursive=True)
        root.attach(mount, self.target, directory=True)


class CgroupMount(Operation):
    """The container's own control group as the top of the tree, where the machine has the unified hierarchy."""

    __slots__ = ("readonly",)
    fields = ("target", "readonly")
    title = "cgroup2"
    reserves = "tree"

    def __init__(self, target: str = "/sys/fs/cgroup", readonly: bool = True) -> None:
        super().__init__(target)
        self.readonly = readonly

    def execute(self, root: Root) -> None:
        """Mount it."""
        attributes = INERT | (mounts.MOUNT_ATTR_RDONLY if self.readonly else 0)
        if (groups := if_known("cgroup2", attributes)) != -1:
            root.attach(groups, self.target, directory=True)


class Mask(Operation):
    """Hide paths of /proc and /sys that tell or change too much: directories become empty, files /dev/null."""

    __slots__ = ("paths",)
    fields = ("paths",)

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__("")
        self.paths = paths

    def describe(self) -> str:
        """Name the paths."""
        return f"hide {' '.join(self.paths)}"

    def execute(self, root: Root) -> None:
        """Cover those of the paths that exist."""
        empty = new_file_system("tmpfs", {"size": "0", "mode": "0755"}, INERT | mounts.MOUNT_ATTR_RDONLY)
        for path in self.paths:
            try:
                place = openat2(root.descriptor, path, os.O_PATH)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(os.fstat(place).st_mode):
                cover = mounts.open_tree(empty, "")
            else:
                null = openat2(root.descriptor, "/dev/null", os.O_PATH)
                if os.fstat(null).st_rdev != os.makedev(1, 3):
                    raise OSError(errno.ENXIO, "not the null device", "/dev/null")
                cover = mounts.open_tree(null, "")
                os.close(null)
            mounts.move_mount(cover, place)
            os.close(cover)
            os.close(place)
        os.close(empty)


class ReadOnlyPaths(Operation):
    """Make parts of /proc read-only."""

    __slots__ = ("paths",)
    fields = ("paths",)

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__("")
        self.paths = paths

    def describe(self) -> str:
        """Name the paths."""
        return f"read-only {' '.join(self.paths)}"

    def execute(self, root: Root) -> None:
        """Bind those of the paths that exist over themselves, read-only; a bound /proc is that all over."""
        if root.bound_proc:
            return
        for path in self.paths:
            try:
                place = openat2(root.descriptor, path, os.O_PATH)
            except FileNotFoundError:
                continue
            mount = mounts.open_tree(place, "")
            mounts.mount_setattr(mount, "", INERT | mounts.MOUNT_ATTR_RDONLY)
            mounts.move_mount(mount, place)
            os.close(mount)
            os.close(place)


def hide_processes(root: Root) -> None:
    """Cover all processes, and threads, that a bound /proc shows, but this one: no other one is the container's.

    Those that begin later are seen; what they keep to themselves is theirs by their user namespace.
    """
    own = os.readlink("/proc/self")
    cover = new_file_system("tmpfs", {"size": "0", "mode": "0555"}, INERT | mounts.MOUNT_ATTR_RDONLY)
    try:
        for process in os.listdir("/proc"):
            if process.isdecimal() and process != own:
                for thread in _threads(process):
                    _cover(root, f"/proc/{thread}", cover)
    finally:
        os.close(cover)


def _threads(process: str) -> list[str]:
    try:
        return os.listdir(f"/proc/{process}/task")
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return []


def _cover(root: Root, path: str, cover: int) -> None:
    try:
        place = openat2(root.descriptor, path, os.O_PATH | os.O_DIRECTORY)
    except (FileNotFoundError, ProcessLookupError):
        return
    copy = mounts.open_tree(cover, "")
    try:
        mounts.move_mount(copy, place)
    except FileNotFoundError:
        return
    finally:
        os.close(copy)
        os.close(place)
