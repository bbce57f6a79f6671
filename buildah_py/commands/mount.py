"""Mounting an image for people to look at, read-only; collection spares it until `umount`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, OutputError, SandboxError, UsageError
from buildah_py.query.image import open_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store import Store

_MOST = 500  # lower directories, the kernel's limit


def mount_image(store: Store, name: str, directory: str) -> str:
    """Mount an image's file system on a directory; its absolute path.

    Raises NotFound, OutputError where there is no such directory, SandboxError where the kernel refuses.
    """
    image = open_image(store, name)
    path = os.path.realpath(directory)
    if not os.path.isdir(path):
        raise OutputError(f"there is no directory {directory}", hint="make it first")
    if os.path.ismount(path):
        raise UsageError(f"something is mounted on {directory} already", hint="`pybuild umount` takes an image away")
    diff_ids = image.config.diff_ids
    lowers = store.lowers(diff_ids)
    if len(lowers) >= _MOST:
        raise SandboxError(f"the image `{name}` has {len(lowers)} layers, and no more than {_MOST - 1} can be mounted")
    store.image_mounts.add(path, diff_ids)
    try:
        _mount(lowers, path, store)
    except OSError as error:
        store.image_mounts.remove(path)
        raise SandboxError(
            f"the image `{name}` cannot be mounted on {directory}: {error.strerror}",
            hint="mounting needs root; `pybuild cp` does not" if os.getuid() else "",
        ) from error
    store.image_mounts.add(path, diff_ids)  # again: until it was mounted, another process may have taken it for gone
    return path


def umount_image(store: Store, directory: str) -> None:
    """Take an image away from a directory. Raises NotFound where none is mounted, SandboxError while it is in use."""
    from buildah_py.linux import mounts

    path = os.path.realpath(directory)
    if path not in store.image_mounts:
        raise NotFound(f"no image is mounted on {directory}")
    if os.path.ismount(path):
        try:
            mounts.umount2(path)
        except OSError as error:
            raise SandboxError(f"{directory} cannot be unmounted: {error.strerror}", hint="who uses it?") from error
    store.image_mounts.remove(path)


def _mount(lowers: Sequence[str], path: str, store: Store) -> None:
    from buildah_py.linux import mounts

    # Two lower directories are the least that an overlay without an upper one takes; these hold nothing.
    empty = store.path("empty")
    for name in ("1", "2"):
        os.makedirs(os.path.join(empty, name), mode=0o755, exist_ok=True)
    below = [*lowers, *(os.path.join(empty, name) for name in ("1", "2"))][: max(2, len(lowers))]
    context = mounts.fsopen("overlay")
    try:
        mounts.fsconfig(context, "source", "pybuild")
        for lower in below:
            mounts.fsconfig(context, "lowerdir+", lower)
        attributes = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOSUID
        mounted = mounts.fsmount(context, attributes)
    finally:
        os.close(context)
    try:
        mounts.move_mount(mounted, mounts.AT_FDCWD, path)
    finally:
        os.close(mounted)
