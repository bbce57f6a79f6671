"""From what other kinds of roots have kept of a container's changes to the upper directory of an overlay."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from buildah_py.layers.whiteouts import make_whiteout, mark_opaque
from buildah_py.layers.xattrs import overlay_prefix
from buildah_py.linux.paths import Beneath
from buildah_py.sandbox.copied_root import copy_attributes, copy_bytes, copy_special
from buildah_py.sandbox.picture import NOTHING, SELF, differences, take_picture

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from buildah_py.sandbox.picture import Differences, Look, TreePicture

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

NOTHING_OPENED: Mapping[str, Look] = {}


def collect_changes(
    root: str,
    before: TreePicture,
    upper: str,
    *,
    userxattr: bool,
    left: Mapping[str, Collection[str]] = NOTHING,
    owners: bool = True,
    opened: Mapping[str, Look] = NOTHING_OPENED,
) -> tuple[TreePicture, Differences]:
    """Copy into the directory `upper` what of a root does not look as it did, with whiteouts for what is gone.

    Somebody may still hold directories of the root open: no link in it is followed, and `upper` has files of its own.
    What is in `left` counts for nothing (see `take_picture`), what is in `opened` looks as that says. Gives how the
    root looks now, and what differed.
    """
    source = Beneath(os.open(root, _DIRECTORY | os.O_CLOEXEC))
    target = Beneath(os.open(upper, _DIRECTORY | os.O_CLOEXEC))
    try:
        after = take_picture(source.top, left)
        for path, looks in opened.items():
            parent, _, name = path.rpartition("/")
            if name in after.get(parent, ()) or not path:
                after[parent][name or SELF] = looks
        found = differences(before, after)
        changes = _Changes(source, target, overlay_prefix(userxattr=userxattr), owners=owners)
        changes.modes = {path: looks[0] for path, looks in opened.items()}
        changes.write(found)
    finally:
        source.close()
        target.close()
    return after, found


class _Changes:
    def __init__(self, source: Beneath, target: Beneath, prefix: str, *, owners: bool) -> None:
        self.modes: Mapping[str, int] = {}
        self._owners = owners
        self._source = source
        self._target = target
        self._prefix = prefix
        self._made: set[str] = {""}
        self._links: dict[int, str] = {}

    def write(self, found: Differences) -> None:
        for path in found.changed:
            status = self._source.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                self._make_directory(path)
            else:
                self._make_directory(path.rpartition("/")[0])
                self._copy(path, status)
        for path in found.gone:
            self._make_directory(path.rpartition("/")[0])
            parent, name = self._target.parent(path)
            make_whiteout(parent, name, self._prefix)
        for path in sorted(self._made, key=lambda path: -path.count("/") - bool(path)):
            self._finish(path, _DIRECTORY)

    def _make_directory(self, path: str) -> None:
        parts = path.split("/")
        for length in range(1, len(parts) + 1):
            here = "/".join(parts[:length])
            if here not in self._made:
                parent, name = self._target.parent(here)
                os.mkdir(name, 0o700, dir_fd=parent)
                self._made.add(here)

    def _copy(self, path: str, status: os.stat_result) -> None:
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
            first = self._links.setdefault(status.st_ino, path)
            if first != path:
                other = self._target.open(first, os.O_PATH)
                parent, name = self._target.parent(path)
                try:
                    os.link(f"/proc/self/fd/{other}", name, dst_dir_fd=parent, follow_symlinks=True)
                finally:
                    os.close(other)
                return
        parent, name = self._target.parent(path)
        if stat.S_ISREG(status.st_mode):
            reading = self._source.open(path, _FILE)
            writing = os.open(name, _CREATE, 0o600, dir_fd=parent)
            try:
                copy_bytes(reading, writing)
            finally:
                os.close(reading)
                os.close(writing)
            self._finish(path, _FILE)
            return
        copy_special(self._source, path, status, parent, name, owners=self._owners)

    def _finish(self, path: str, flags: int) -> None:
        source, target = self._source.open(path, flags), self._target.open(path, flags)
        try:
            copy_attributes(source, target, owners=self._owners, mode=self.modes.get(path), noted=True)
        finally:
            os.close(source)
            os.close(target)


_OPAQUE = (".wh..wh..opq", ".wh..opq")
_FOREIGN = ("user.fuseoverlayfs.", "user.overlay.", "trusted.overlay.", "user.containers.")


def translate(upper: str, *, userxattr: bool) -> None:
    """Give an upper directory that fuse-overlayfs has written the form of the kernel's overlays.

    It names whiteouts `.wh.NAME` where it can make no device node, and puts files into opaque directories.
    """
    prefix = overlay_prefix(userxattr=userxattr)
    top = Beneath(os.open(upper, _DIRECTORY | os.O_CLOEXEC))
    try:
        waiting = [""]
        while waiting:
            path = waiting.pop()
            directory = top.open(path, _DIRECTORY)
            try:
                waiting += [f"{path}/{name}" if path else name for name in _translate(directory, prefix)]
            finally:
                os.close(directory)
    finally:
        top.close()


def _translate(directory: int, prefix: str) -> list[str]:
    """Translate one directory; gives the names of those in it."""
    status = os.fstat(directory)
    for name in os.listxattr(directory):
        if name.startswith(_FOREIGN):
            os.removexattr(directory, name)
    with os.scandir(directory) as listing:
        kinds = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in listing}
    opaque = [name for name in _OPAQUE if name in kinds]
    hidden = [name for name in kinds if name.startswith(".wh.") and name not in opaque]
    for name in (*opaque, *hidden):
        os.unlink(name, dir_fd=directory)
    if opaque:
        mark_opaque(directory, prefix)
    for name in hidden:
        if (wanted := name.removeprefix(".wh.")) not in kinds:
            make_whiteout(directory, wanted, prefix)
    for name, mode in kinds.items():
        if stat.S_ISREG(mode) and name not in hidden and name not in opaque:
            _strip(directory, name)
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
    return [name for name, mode in kinds.items() if stat.S_ISDIR(mode)]


def _strip(directory: int, name: str) -> None:
    """Take attributes of the program's own off a file; it has none on other kinds that are seen in an image."""
    file = os.open(name, _FILE | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        for attribute in os.listxattr(file):
            if attribute.startswith(_FOREIGN):
                os.removexattr(file, attribute)
    finally:
        os.close(file)
