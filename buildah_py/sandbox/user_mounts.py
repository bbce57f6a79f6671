"""Mounts that a command is given beside its root: directories, layers, files and memory."""

from __future__ import annotations

import os
import stat

from buildah_py.linux import mounts
from buildah_py.linux.paths import openat2
from buildah_py.sandbox.operation import Operation
from buildah_py.sandbox.overlay import copied_overlay, overlay
from buildah_py.sandbox.root import new_file_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.sandbox.root import Root


class BindMount(Operation):
    """A file or directory of the host, given by its path or (better) by a descriptor of it.

    Device nodes in it work only where `devices` says so. `mapped` has a container with ids of its own see its ids in
    there; without, files belong to whom they belong to on the machine.
    """

    __slots__ = ("_mount", "devices", "directory", "mapped", "readonly", "recursive", "source")
    fields = ("source", "target", "readonly", "recursive", "devices", "mapped")
    of_host = True

    def __init__(
        self,
        source: str | int,
        target: str,
        readonly: bool = True,
        recursive: bool = False,
        devices: bool = False,
        mapped: bool = False,
    ) -> None:
        super().__init__(target)
        self.source = source
        self.readonly = readonly
        self.recursive = recursive
        self.devices = devices
        self.mapped = mapped
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
        mounts.mount_setattr(
            self._mount,
            "",
            attributes,
            propagation=mounts.MS_PRIVATE,
            recursive=self.recursive,
            user_namespace=root.user_namespace if self.mapped else -1,
        )
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
        path = f"/{self.path.strip('/')}"
        return f"{path} of {len(self.lowers)} layers at {self.target}{'' if self.upper else ' (read-only)'}"

    def prepare(self, root: Root) -> None:
        """Mount the chain out of sight and take the wanted path of it."""
        lowers = tuple(map(root.lower, self.lowers))
        if self.upper and root.writable != "overlay":
            self._mount, _, _ = copied_overlay(lowers, self.work, root, anchor=root.scratch)
        else:
            self._mount = overlay(lowers, self.upper, self.work, root, anchor=root.scratch)
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

    __slots__ = ("mode", "noexec", "size")
    fields = ("target", "size", "mode", "noexec")

    def __init__(self, target: str, size: int = 0, mode: int = 0o1777, noexec: bool = False) -> None:
        super().__init__(target)
        self.size = size
        self.mode = mode
        self.noexec = noexec

    def describe(self) -> str:
        """Name target and size."""
        return f"tmpfs at {self.target}{f' ({self.size} bytes)' if self.size else ''}"

    def execute(self, root: Root) -> None:
        """Mount it."""
        options = {"mode": f"{self.mode:o}"}
        if self.size:
            options["size"] = str(self.size)
        attributes = mounts.MOUNT_ATTR_NOSUID | (0 if root.devices else mounts.MOUNT_ATTR_NODEV)
        attributes |= mounts.MOUNT_ATTR_NOEXEC if self.noexec else 0
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
