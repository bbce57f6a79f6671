"""Looks of all files of a tree, by which those are found that somebody has changed since.

Nobody can set a file's change time, so that who gives it another content, mode, owner or name leaves a trace there,
once the clock of the file system has gone on.
"""

from __future__ import annotations

import os
import select
import stat
from typing import NamedTuple

from buildah_py.linux.paths import open_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    Look = tuple[int, int, int, int, int, int]
    """Mode, owner, group, size, inode, and when it last changed in nanoseconds."""
    TreePicture = dict[str, dict[str, Look]]
    """By directory ("" for the top), then by name; the top itself is "." in the top."""

SELF = "."
NOTHING: Mapping[str, Collection[str]] = {}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Differences(NamedTuple):
    """Paths that are new or look different, each directory before what is in it, and paths that are gone."""

    changed: list[str]
    gone: list[str]


def look(status: os.stat_result) -> Look:
    """Give what shows whether a file was changed; a directory has no size that means anything."""
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return status.st_mode, status.st_uid, status.st_gid, size, status.st_ino, status.st_ctime_ns


def join(directory: str, name: str) -> str:
    """Give the path of a name in a directory, "" for the top."""
    return f"{directory}/{name}" if directory else name


def take_picture(top: int, left: Mapping[str, Collection[str]] = NOTHING) -> TreePicture:
    """Look at all files below the open directory `top`; of directories that are in `left`, not at these names there.

    Directories come before what is in them. Raises OSError.
    """
    picture: TreePicture = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        skipped = left.get(path, ())
        looks: dict[str, Look] = {}
        directory = open_beneath(top, path, _DIRECTORY)
        try:
            with os.scandir(directory) as listing:
                for entry in listing:
                    # The loop runs for each file of an image after each RUN: it is kept short.
                    status = entry.stat(follow_symlinks=False)
                    mode = status.st_mode
                    name = entry.name
                    if name in skipped:
                        continue
                    size = status.st_size
                    if mode & 0o170000 == 0o040000:
                        size = 0
                        waiting.append(f"{path}/{name}" if path else name)
                    looks[name] = mode, status.st_uid, status.st_gid, size, status.st_ino, status.st_ctime_ns
            if not path:
                looks[SELF] = look(os.fstat(directory))
        finally:
            os.close(directory)
        picture[path] = looks
    return picture


def differences(before: TreePicture, after: TreePicture) -> Differences:
    """Compare two pictures of one tree. Paths that went with their directory are not named."""
    changed: list[str] = []
    gone: list[str] = []
    for path, looks in after.items():
        known = before.get(path)
        if known == looks:
            continue
        if known is None:
            changed += [join(path, name) for name in sorted(looks)]
            continue
        changed += [join(path, name) for name in sorted(looks) if known.get(name) != looks[name] and name != SELF]
        gone += [join(path, name) for name in sorted(known.keys() - looks.keys())]
    return Differences(changed, gone)


def latest(picture: TreePicture) -> int:
    """Give when the last of all files was changed."""
    return max((one[-1] for looks in picture.values() for one in looks.values()), default=0)


def let_time_pass(place: str, last: int) -> None:
    """Wait until the file system's clock shows a later time than `last`, a few milliseconds at most.

    `place` is made for that and removed. Whatever changes from then on looks different.
    """
    os.mkdir(place)
    try:
        while os.stat(place).st_ctime_ns <= last:
            select.select([], [], [], 0.001)
            os.chmod(place, 0o700)
    finally:
        os.rmdir(place)
