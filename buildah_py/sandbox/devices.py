"""/dev of a container."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from buildah_py.linux import mounts
from buildah_py.sandbox.idmap import outside
from buildah_py.sandbox.operation import Operation
from buildah_py.sandbox.root import INERT, if_known, new_file_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.sandbox.root import Root

NODES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
_TTY_GROUP = 5
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


class DeviceTree(Operation):
    """/dev with the usual nodes, links, pseudo terminals, shared memory and message queues, and nothing else."""

    __slots__ = ("console", "shm_size")
    fields = ("target", "shm_size", "console")
    title = "devices"
    reserves = "place"

    def __init__(self, target: str = "/dev", shm_size: int = 64 << 20, console: bool = False) -> None:
        super().__init__(target)
        self.shm_size = shm_size
        self.console = console

    def execute(self, root: Root) -> None:
        """Mount it.

        Everything but the nodes themselves is mounted without devices: whoever may mknod in the container gets a node
        that cannot be opened, and no device control group is needed. Those that become the standard streams are opened
        now, while nothing of a build file can be in the way.
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
        if not root.unprivileged and (group := outside(root.id_maps[1], _TTY_GROUP)) != -1:
            pts["gid"] = str(group)
        terminals = new_file_system("devpts", pts, noexec)
        mounts.move_mount(terminals, tree, "pts")
        if self.console:
            root.terminal = _terminal(terminals)
        os.close(terminals)
        shm = {"mode": "1777", "size": str(self.shm_size)}
        _attach_below(tree, "shm", new_file_system("tmpfs", shm, INERT))
        if (queues := if_known("mqueue", INERT)) != -1:
            _attach_below(tree, "mqueue", queues)
        root.null = os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=tree)
        os.close(tree)

    @staticmethod
    def _node(root: Root, tree: int, name: str, minor: int) -> None:
        device = os.makedev(5 if name == "tty" else 1, minor)
        if not root.unprivileged and _make_node(tree, name, device):
            if root.devices:
                return
            node = mounts.open_tree(tree, name)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=tree))
            node = mounts.open_tree(mounts.AT_FDCWD, f"/dev/{name}")
            if os.fstat(node).st_rdev != device:
                raise OSError(errno.ENXIO, "not the device that it should be", f"/dev/{name}")
            # It can be written to, but nobody gives the machine's own node another mode or owner.
            mounts.mount_setattr(node, "", mounts.MOUNT_ATTR_RDONLY)
        _attach_below(tree, name, node)


def _make_node(directory: int, name: str, device: int) -> bool:
    """Make a device node that everybody may use; false where that is not allowed (CAP_MKNOD)."""
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, device, dir_fd=directory)
    except PermissionError:
        return False
    os.chmod(name, 0o666, dir_fd=directory)  # noqa: S103 (what these devices are for)
    return True


def _terminal(terminals: int) -> tuple[int, int]:
    """Make a pseudo terminal in a new devpts; gives its two ends, pts(4)."""
    master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=terminals)
    fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
    return master, fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)


def _attach_below(directory: int, name: str, mount: int) -> None:
    mounts.move_mount(mount, directory, name)
    os.close(mount)
