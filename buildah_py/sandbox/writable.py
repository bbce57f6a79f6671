"""Ways to make a container's root writable where the kernel refuses an overlay: fuse-overlayfs, else a copy.

Overlayfs takes no upper directory on an overlay, which is what the root of a container around us is, nor on NFS and
some others. Unless a file system is one of the usual ones, that is found out by mounting an overlay that nobody sees,
once for each file system.
"""

from __future__ import annotations

import errno
import os

from buildah_py.linux import mounts, namespaces, process
from buildah_py.sandbox import fuse, wire
from buildah_py.sandbox.overlay import overlay
from buildah_py.sandbox.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OVERLAY, FUSE, COPY = "overlay", "fuse", "copy"
PROGRAM = "fuse-overlayfs"
TRYING = "trying what makes a root writable"
_FIT = {0xEF53, 0x58465342, 0x9123683E, 0x01021994}
"""Kinds of file systems on which overlays lie everywhere, so that none is tried: ext4, xfs, btrfs, tmpfs; statfs(2)."""
_REFUSED = {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENODEV, errno.EOPNOTSUPP}


class Trials:
    """Findings by file systems."""

    def __init__(self) -> None:
        self._refused: dict[int, str] = {}

    def refusal(self, root: tuple[str, str, str], *, unprivileged: bool) -> str:
        """Say why the kernel takes no overlay of these directories, "" where it does: see `refusal`. Raises OSError."""
        if mounts.file_system_type(root[1]) in _FIT:
            return ""
        device = os.stat(root[1]).st_dev
        if device not in self._refused:
            self._refused[device] = refusal(root, unprivileged=unprivileged)
        return self._refused[device]


def refusal(root: tuple[str, str, str], *, unprivileged: bool) -> str:
    """Mount an overlay that nobody sees; say what the kernel refused, "" if nothing.

    Its lower, upper and working directory are empty and stay so. Raises OSError where nothing can be made in them.
    """
    lower, upper, work = root
    try:
        asked = Root((), scratch=work, unprivileged=unprivileged, devices=False)
        os.close(overlay((lower,), upper, work, asked, anchor=lower))
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return error.strerror or str(error)
    finally:
        _empty(work)  # a volatile overlay leaves a mark there that keeps a second one out
    return ""


def _empty(directory: str) -> None:
    with os.scandir(directory) as listing:
        found = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in listing]
    for path, is_directory in found:
        if is_directory:
            if not os.access(path, os.R_OK | os.X_OK):  # overlayfs gives its own no mode
                os.chmod(path, 0o700)
            _empty(path)
            os.rmdir(path)
        else:
            os.unlink(path)


def _numbers_are_unique(directory: str) -> bool:
    """Tell whether files are told from directories by number in a file system, as fuse-overlayfs does it.

    Of an overlay over several file systems, without xino, files seem to lie on another one than directories; see
    "Inode properties" in the kernel's filesystems/overlayfs.rst. An overlay on that drops this difference.
    """
    with open(f"{directory}/trial-{os.getpid()}", "xb") as file:
        os.unlink(file.name)
        return os.fstat(file.fileno()).st_dev == os.stat(directory).st_dev


def find_program(path: str) -> str:
    """Give the program fuse-overlayfs of the directories of `path`, "" where there is none."""
    places = (f"{directory}/{PROGRAM}" for directory in path.split(":") if directory.startswith("/"))
    return next((place for place in places if os.access(place, os.X_OK)), "")


class OverlayServer:
    """A process that is fuse-overlayfs for one container, `pid`, and the ends that this container gets.

    `ends` are the device, and a pipe that the container closes once it has mounted what is served over it.
    """

    __slots__ = ("ends", "pid")

    def __init__(self, program: str, upper: str, memory: int, size: int, *, unprivileged: bool) -> None:
        """Fork it; `memory` describes the container. Raises OSError."""
        device = fuse.open_device()
        if device != -1 and not _numbers_are_unique(os.path.dirname(upper)):
            os.close(device)
            raise OSError(errno.EINVAL, "inodes of directories and files may have the same numbers here", PROGRAM)
        if device == -1:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), fuse.DEVICE)
        mounted, told = os.pipe2(os.O_CLOEXEC)
        self.ends = device, told
        self.pid = os.fork()
        if self.pid == 0:
            try:
                process.close_all_but(device, mounted, memory)
                description = wire.unpack(os.pread(memory, size, 0))
                os.close(memory)
                os.read(mounted, 1)
                _serve(program, description, device, unprivileged=unprivileged)
            except OSError as error:  # all that the container learns is that nobody serves its root
                os.write(2, f"pybuild: {PROGRAM}: {error.filename or program}: {error.strerror}\n".encode())
            finally:
                os._exit(125)
        os.close(mounted)

    def close_ends(self) -> None:
        """Leave the ends to the container."""
        for descriptor in self.ends:
            os.close(descriptor)


def _serve(program: str, description: dict[str, Any], device: int, *, unprivileged: bool) -> None:
    """Become the program. The layers below are one to it: merged by the kernel, which knows all forms of whiteouts."""
    from buildah_py.sandbox.copied_root import copy_ahead

    process.set_dumpable(False)
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount_setattr(mounts.AT_FDCWD, "/", propagation=mounts.MS_PRIVATE, recursive=True)
    init, upper, work = description["init"], description["upper"], description["work"]
    root = Root((), scratch=work, unprivileged=unprivileged, devices=description["devices"])
    below = overlay((init, *description["lowers"]), "", "", root, anchor=init)
    copy_ahead(below, upper)
    for name in ("below", "fuse"):
        os.makedirs(f"{work}/{name}", exist_ok=True)
    mounts.move_mount(below, mounts.AT_FDCWD, f"{work}/below")
    os.close(below)
    # Names in its options would be taken apart at commas and colons: these are ours. Nothing is written back later.
    os.chdir(work)
    above = os.open(upper, os.O_PATH | os.O_DIRECTORY)
    options = f"lowerdir=below,upperdir=/proc/self/fd/{above},workdir=fuse,writeback=0"
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    for descriptor in (device, above):
        os.set_inheritable(descriptor, True)
    os.execve(program, [PROGRAM, "-f", "-o", options, f"/dev/fd/{device}"], {})  # noqa: S606
