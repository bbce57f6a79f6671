"""Mounting layers on each other."""

from __future__ import annotations

import errno
import os

from buildah_py.linux import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildah_py.sandbox.picture import TreePicture
    from buildah_py.sandbox.root import Root

COPIED = "copied"
"""Name of a copy in a container's working directory."""
_MOST_LAYERS = 480
"""The kernel takes 500."""


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
    attributes = root.attributes
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


def copied_overlay(lowers: tuple[str, ...], work: str, root: Root, anchor: str) -> tuple[int, str, TreePicture]:
    """Copy layers, top-most first, into the directory `work`, and mount that: for places that take no upper directory.

    Gives a descriptor of the mount, where the copy lies, and how all of it looks.
    """
    from buildah_py.sandbox.copied_root import copy_root

    merged = overlay(lowers, "", "", root, anchor)
    place = f"{work}/{COPIED}"
    root.copies.append(place)
    try:
        looks = copy_root(merged, place, lowers)
    finally:
        os.close(merged)
    mount = mounts.open_tree(mounts.AT_FDCWD, place)
    mounts.mount_setattr(mount, "", root.attributes, propagation=mounts.MS_PRIVATE)
    return mount, place, looks


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
