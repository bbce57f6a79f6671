"""The mounts of a container as small objects that describe themselves, travel over a socket, and execute.

They are made in the main process and executed in the container's first process, which sees the host's tree and holds
the new root as a descriptor. Nothing here imports more than os and `linux`.
"""

from __future__ import annotations

import errno
import os
import stat

from buildah_py.linux import mounts
from buildah_py.linux.paths import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

NODES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_TTY_GROUP = 5
_MOST_LAYERS = 480
"""The kernel takes 500."""
_INERT = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


class Root:
    """What operations work on: the new root, where the host still is, and what came over the socket."""

    __slots__ = ("_files", "_scratch", "descriptor", "descriptors", "devices", "scratch", "unprivileged")

    def __init__(self, descriptors: tuple[int, ...], *, scratch: str, unprivileged: bool, devices: bool) -> None:
        self.descriptor = -1
        self.descriptors = descriptors
        self.scratch = scratch  # a directory of the host; a tmpfs on it is seen by this mount namespace alone
        self.unprivileged = unprivileged
        self.devices = devices  # device nodes work wherever they are, not only the usual ones in /dev
        self._scratch = -1
        self._files = 0

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
            os.fchown(file.fileno(), uid, gid)
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


def _if_known(fstype: str, attributes: int) -> int:
    """Make a file system that a kernel may have been built without; -1 where it was."""
    try:
        return new_file_system(fstype, {}, attributes)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return -1


class Operation:
    """One mount: what it is and where. Its fields, in the order of the constructor, are its form on the wire."""

    __slots__ = ("target",)
    fields: ClassVar[tuple[str, ...]] = ("target",)
    directory = True
    of_host = False
    """Preparing needs the host's mount namespace, as descriptors lead only to mounts of the namespace one is in."""

    def __init__(self, target: str) -> None:
        self.target = target

    def describe(self) -> str:
        """Say in a few words what will be mounted where; contents of files are never shown."""
        return f"{type(self).__name__} {self.target}"

    def wire(self) -> tuple[Any, ...]:
        """Give what `from_wire` makes an equal operation of."""
        return (type(self).__name__, *(getattr(self, field) for field in self.fields))

    def prepare(self, root: Root) -> None:
        """Open what the operation needs of the host, before any target exists."""

    def execute(self, root: Root) -> None:
        """Mount it. Raises OSError."""
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and self.wire() == other.wire()

    def __hash__(self) -> int:
        return hash(self.wire())

    def __repr__(self) -> str:
        return f"<{self.describe()}>"


class BindMount(Operation):
    """A file or directory of the host, given by its path or (better) by a descriptor of it.

    Device nodes in it work only where `devices` says so.
    """

    __slots__ = ("_mount", "devices", "directory", "readonly", "recursive", "source")
    fields = ("source", "target", "readonly", "recursive", "devices")
    of_host = True

    def __init__(
        self, source: str | int, target: str, readonly: bool = True, recursive: bool = False, devices: bool = False
    ) -> None:
        super().__init__(target)
        self.source = source
        self.readonly = readonly
        self.recursive = recursive
        self.devices = devices
        self._mount = -1
        self.directory = True

    def describe(self) -> str:
        """Name source, target and mode."""
        return f"bind {self.source} at {self.target}{' (read-only)' if self.readonly else ''}"

    def prepare(self, root: Root) -> None:
        """Take a detached copy of the source's mount."""
        # In a user namespace what the host has mounted below may hide something, and cannot be left out.
        self.recursive = self.recursive or root.unprivileged
        flags = mounts.OPEN_TREE_CLONE | (mounts.AT_RECURSIVE if self.recursive else 0)
        if isinstance(self.source, int):
            self._mount = mounts.open_tree(root.descriptors[self.source], "", flags)
        else:
            self._mount = mounts.open_tree(mounts.AT_FDCWD, self.source, flags)
        self.directory = stat.S_ISDIR(os.fstat(self._mount).st_mode)

    def execute(self, root: Root) -> None:
        """Attach it."""
        attributes = 0 if root.devices or self.devices else mounts.MOUNT_ATTR_NODEV
        attributes |= mounts.MOUNT_ATTR_RDONLY if self.readonly else 0
        mounts.mount_setattr(self._mount, "", attributes, propagation=mounts.MS_PRIVATE, recursive=self.recursive)
        root.attach(self._mount, self.target, self.directory)


class OverlayMount(Operation):
    """A chain of layers (top-most first), or a path in it, elsewhere than at the root.

    Without `upper` it is read-only; with `upper` and `work`, writes go there.
    """

    __slots__ = ("_mount", "directory", "lowers", "path", "upper", "work")
    fields = ("lowers", "target", "path", "upper", "work")

    def __init__(self, lowers: tuple[str, ...], target: str, path: str = "/", upper: str = "", work: str = "") -> None:
        super().__init__(target)
        self.lowers = lowers
        self.path = path
        self.upper = upper
        self.work = work
        self._mount = -1
        self.directory = True

    def describe(self) -> str:
        """Name the path, the number of layers and the target."""
        return f"{self.path} of {len(self.lowers)} layers at {self.target}{'' if self.upper else ' (read-only)'}"

    def prepare(self, root: Root) -> None:
        """Mount the chain out of sight and take the wanted path of it."""
        self._mount = overlay(self.lowers, self.upper, self.work, root, anchor=root.scratch)
        if self.path.strip("/") not in {"", "."}:
            whole = self._mount
            found = openat2(whole, self.path, os.O_PATH)
            self._mount = mounts.open_tree(found, "")
            os.close(found)
            os.close(whole)
            self.directory = stat.S_ISDIR(os.fstat(self._mount).st_mode)

    def execute(self, root: Root) -> None:
        """Attach it."""
        if not self.upper:
            mounts.mount_setattr(self._mount, "", mounts.MOUNT_ATTR_RDONLY)
        root.attach(self._mount, self.target, self.directory)


class TmpfsMount(Operation):
    """Memory that is gone after the run; `size` in bytes, 0 for the kernel's default."""

    __slots__ = ("mode", "size")
    fields = ("target", "size", "mode")

    def __init__(self, target: str, size: int = 0, mode: int = 0o1777) -> None:
        super().__init__(target)
        self.size = size
        self.mode = mode

    def describe(self) -> str:
        """Name target and size."""
        return f"tmpfs at {self.target}{f' ({self.size} bytes)' if self.size else ''}"

    def execute(self, root: Root) -> None:
        """Mount it."""
        options = {"mode": f"{self.mode:o}"}
        if self.size:
            options["size"] = str(self.size)
        attributes = mounts.MOUNT_ATTR_NOSUID | (0 if root.devices else mounts.MOUNT_ATTR_NODEV)
        root.attach(new_file_system("tmpfs", options, attributes), self.target, directory=True)


class FileMount(Operation):
    """A file whose content exists in memory only: a secret, a here-document."""

    __slots__ = ("content", "gid", "mode", "readonly", "uid")
    fields = ("target", "content", "mode", "uid", "gid", "readonly")
    directory = False

    def __init__(
        self, target: str, content: bytes, mode: int = 0o400, uid: int = 0, gid: int = 0, readonly: bool = True
    ) -> None:
        super().__init__(target)
        self.content = content
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.readonly = readonly

    def describe(self) -> str:
        """Name target and mode, never the content."""
        return f"file at {self.target} (mode {self.mode:04o})"

    def execute(self, root: Root) -> None:
        """Write and mount it."""
        mount = root.scratch_file(self.content, self.mode, self.uid, self.gid)
        if self.readonly:
            mounts.mount_setattr(mount, "", mounts.MOUNT_ATTR_RDONLY)
        root.attach(mount, self.target, directory=False)


class StubFile(Operation):
    """A file of the init layer: seen by the command where the image has none, free to be replaced, never committed."""

    __slots__ = ("content",)
    fields = ("target", "content")
    directory = False

    def __init__(self, target: str, content: bytes) -> None:
        super().__init__(target)
        self.content = content

    def describe(self) -> str:
        """Name the place, never the content."""
        return f"file at {self.target}, if there is none"

    def execute(self, root: Root) -> None:
        """Nothing is mounted: the file is there already."""


class ProcMount(Operation):
    """The processes of the container's pid namespace."""

    __slots__ = ()

    def __init__(self, target: str = "/proc") -> None:
        super().__init__(target)

    def execute(self, root: Root) -> None:
        """Mount it."""
        root.attach(new_file_system("proc", {}, _INERT), self.target, directory=True)


class SysMount(Operation):
    """The kernel's view of devices, read-only; the host's, where a namespace of ours does not own its network."""

    __slots__ = ("readonly",)
    fields = ("target", "readonly")

    def __init__(self, target: str = "/sys", readonly: bool = True) -> None:
        super().__init__(target)
        self.readonly = readonly

    def execute(self, root: Root) -> None:
        """Mount it."""
        attributes = _INERT | (mounts.MOUNT_ATTR_RDONLY if self.readonly else 0)
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

    def __init__(self, target: str = "/sys/fs/cgroup", readonly: bool = True) -> None:
        super().__init__(target)
        self.readonly = readonly

    def execute(self, root: Root) -> None:
        """Mount it."""
        attributes = _INERT | (mounts.MOUNT_ATTR_RDONLY if self.readonly else 0)
        if (groups := _if_known("cgroup2", attributes)) != -1:
            root.attach(groups, self.target, directory=True)


class DeviceTree(Operation):
    """/dev with the usual nodes, links, pseudo terminals, shared memory and message queues, and nothing else."""

    __slots__ = ("console", "shm_size")
    fields = ("target", "shm_size", "console")

    def __init__(self, target: str = "/dev", shm_size: int = 64 << 20, console: bool = False) -> None:
        super().__init__(target)
        self.shm_size = shm_size
        self.console = console

    def execute(self, root: Root) -> None:
        """Mount it.

        Everything but the nodes themselves is mounted without devices: whoever may mknod in the container gets a node
        that cannot be opened, and no device control group is needed.
        """
        noexec = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC
        tree = new_file_system("tmpfs", {"mode": "0755", "size": "65536k"}, noexec)
        place = root.open_target(self.target, directory=True)
        mounts.move_mount(tree, place)
        os.close(place)
        for name, target in _LINKS:
            os.symlink(target, name, dir_fd=tree)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=tree)
        for name, minor in NODES:
            self._node(root, tree, name, minor)
        if not root.devices:
            mounts.mount_setattr(tree, "", mounts.MOUNT_ATTR_NODEV)
        pts = {"newinstance": None, "ptmxmode": "0666", "mode": "0620"}
        if not root.unprivileged:
            pts["gid"] = str(_TTY_GROUP)
        _attach_below(tree, "pts", new_file_system("devpts", pts, noexec))
        shm = {"mode": "1777", "size": str(self.shm_size)}
        _attach_below(tree, "shm", new_file_system("tmpfs", shm, _INERT))
        if (queues := _if_known("mqueue", _INERT)) != -1:
            _attach_below(tree, "mqueue", queues)
        os.close(tree)

    @staticmethod
    def _node(root: Root, tree: int, name: str, minor: int) -> None:
        device = os.makedev(5 if name == "tty" else 1, minor)
        if root.unprivileged:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=tree))
            node = mounts.open_tree(mounts.AT_FDCWD, f"/dev/{name}")
            if os.fstat(node).st_rdev != device:
                raise OSError(errno.ENXIO, "not the device that it should be", f"/dev/{name}")
        else:
            os.mknod(name, stat.S_IFCHR | 0o666, device, dir_fd=tree)
            os.chmod(name, 0o666, dir_fd=tree)  # noqa: S103 (what these devices are for)
            if root.devices:
                return
            node = mounts.open_tree(tree, name)
        _attach_below(tree, name, node)


def _attach_below(directory: int, name: str, mount: int) -> None:
    mounts.move_mount(mount, directory, name)
    os.close(mount)


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
        for path in self.paths:
            try:
                place = openat2(root.descriptor, path, os.O_PATH)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(os.fstat(place).st_mode):
                cover = new_file_system("tmpfs", {"size": "0", "mode": "0755"}, _INERT | mounts.MOUNT_ATTR_RDONLY)
            else:
                null = openat2(root.descriptor, "/dev/null", os.O_PATH)
                if os.fstat(null).st_rdev != os.makedev(1, 3):
                    raise OSError(errno.ENXIO, "not the null device", "/dev/null")
                cover = mounts.open_tree(null, "")
                os.close(null)
            mounts.move_mount(cover, place)
            os.close(cover)
            os.close(place)


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
        """Bind those of the paths that exist over themselves, read-only."""
        for path in self.paths:
            try:
                place = openat2(root.descriptor, path, os.O_PATH)
            except FileNotFoundError:
                continue
            mount = mounts.open_tree(place, "")
            mounts.mount_setattr(mount, "", _INERT | mounts.MOUNT_ATTR_RDONLY)
            mounts.move_mount(mount, place)
            os.close(mount)
            os.close(place)


def overlay(lowers: tuple[str, ...], upper: str, work: str, root: Root, anchor: str) -> int:
    """Mount layers, top-most first, and give a descriptor of the mount; read-only where there is no `upper`.

    `anchor` is a directory to mount on where the kernel (before 6.7) wants the layers in one string. More layers than
    the kernel takes at once are mounted in parts, each of which becomes one layer (an overlay may lie on overlays, but
    not on overlays of overlays).
    """
    parts: list[int] = []
    attached = 0
    if len(lowers) > _MOST_LAYERS:
        direct = _MOST_LAYERS // 2
        starts = range(direct, len(lowers), _MOST_LAYERS)
        parts += [overlay(lowers[start : start + _MOST_LAYERS], "", "", root, anchor) for start in starts]
        lowers = lowers[:direct]
    attributes = 0 if root.devices else mounts.MOUNT_ATTR_NODEV
    if not upper and len(lowers) == 1:
        mount = mounts.open_tree(mounts.AT_FDCWD, lowers[0])
        mounts.mount_setattr(mount, "", attributes | mounts.MOUNT_ATTR_RDONLY)
        return mount
    options: dict[str, str | None] = {"index": "off", "metacopy": "off"}
    if root.unprivileged:
        options["userxattr"] = None  # which allows of the modes for redirects only the one that it sets itself
    else:
        options["redirect_dir"] = "off"
    if upper:
        options["volatile"] = None
    context = mounts.fsopen("overlay")
    try:
        mounts.fsconfig(context, "source", "overlay")
        try:
            for lower in lowers:
                mounts.fsconfig(context, "lowerdir+", lower)
            for part in parts:  # layers are named by paths: each part has one until the new mount is made
                mounts.move_mount(part, mounts.AT_FDCWD, anchor)
                attached += 1
                mounts.fsconfig(context, "lowerdir+", anchor)
        except OSError as error:
            if error.errno != errno.EINVAL or parts or not os.path.isdir(lower):
                raise
            return _classic_overlay(lowers, upper, work, options, attributes, anchor)
        for key, value in options.items():
            mounts.fsconfig(context, key, value)
        if upper:
            mounts.fsconfig(context, "upperdir", upper)
            mounts.fsconfig(context, "workdir", work)
        try:
            return mounts.fsmount(context, attributes)
        except OSError as error:
            said = mounts.messages(context)
            raise OSError(error.errno, f"{error.strerror}{f' ({said})' if said else ''}", upper or lowers[0]) from None
    finally:
        os.close(context)
        for part in parts:
            os.close(part)
        for _ in range(attached):
            mounts.umount2(anchor, mounts.MNT_DETACH)


def _classic_overlay(
    lowers: tuple[str, ...], upper: str, work: str, options: dict[str, str | None], attributes: int, anchor: str
) -> int:
    # The kernel takes one page of options: relative names leave room for more layers.
    common = os.path.commonpath([*lowers, *([upper, work] if upper else [])])
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(common)
        names = ":".join(_escape(os.path.relpath(lower, common)) for lower in lowers)
        words = [key if value is None else f"{key}={value}" for key, value in options.items()]
        words.append(f"lowerdir={names}")
        if upper:
            words.append(f"upperdir={_escape(os.path.relpath(upper, common))}")
            words.append(f"workdir={_escape(os.path.relpath(work, common))}")
        mounts.mount("overlay", anchor, "overlay", mounts.MS_NODEV if attributes else 0, ",".join(words))
    finally:
        os.fchdir(here)
        os.close(here)
    visible = mounts.open_tree(mounts.AT_FDCWD, anchor, 0)
    copy = mounts.open_tree(visible, "")
    os.close(visible)
    mounts.umount2(anchor, mounts.MNT_DETACH)
    return copy


def _escape(name: str) -> str:
    return name.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


KINDS: dict[str, type[Operation]] = {
    kind.__name__: kind
    for kind in (
        BindMount,
        OverlayMount,
        TmpfsMount,
        FileMount,
        StubFile,
        ProcMount,
        SysMount,
        CgroupMount,
        DeviceTree,
        Mask,
        ReadOnlyPaths,
    )
}


def from_wire(wire: tuple[Any, ...]) -> Operation:
    """Make the operation that `Operation.wire` wrote down."""
    return KINDS[wire[0]](*wire[1:])
