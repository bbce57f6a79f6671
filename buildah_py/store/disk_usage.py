"""Rooms of the state directory that only grow unless somebody looks after them: their size, and their bounds."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from buildah_py.linux.identity import may_override_modes

if TYPE_CHECKING:
    from collections.abc import Container

MAX_LOGS = 100
MAX_LOG_BYTES = 256 << 20
MAX_LOG_AGE = 90 * 86_400 * 10**9  # ns
MAX_STAT_CACHES = 100
MAX_ROOTS = 4
_MOST_OPEN = 64
_MOST_TRIES = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _let_in(path: str, where: int | None = None) -> None:
    """Let the owner of a directory into it. Raises FileNotFoundError; NotADirectoryError, for a link too."""
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
    try:
        if os.fstat(place).st_mode & 0o700 != 0o700:
            os.chmod(f"/proc/self/fd/{place}", 0o700)
    finally:
        os.close(place)


class _Descent:
    """A place in a tree that is entered and left one name at a time, from descriptor to descriptor.

    So neither depth matters nor what others do to the tree meanwhile: no link is followed, and of the directories above
    only the nearest stay open. One that was closed is found again by `..`, if it still is the one that was left.
    """

    def __init__(self, path: str, *, to_empty: bool = False) -> None:
        """Begin in a directory, `to_empty` it even where it keeps its owner out. Raises FileNotFoundError."""
        self._empties = to_empty
        self._opens = to_empty and not may_override_modes()
        if self._opens:
            _let_in(path)
        self._above: list[tuple[str, int, tuple[int, int]]] = []
        self.descriptor = os.open(path, _DIRECTORY)

    def close(self) -> None:
        """Let go of all directories."""
        os.close(self.descriptor)
        for _, descriptor, _ in self._above:
            if descriptor != -1:
                os.close(descriptor)

    def enter(self, name: str) -> bool:
        """Go into a directory; False where there is none of that name any more."""
        try:
            if self._opens:
                _let_in(name, self.descriptor)
            inner = os.open(name, _DIRECTORY, dir_fd=self.descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:  # of an ordinary user, who sees only how large it is itself
            if self._empties:
                raise
            return False
        status = os.fstat(self.descriptor)
        self._above.append((name, self.descriptor, (status.st_dev, status.st_ino)))
        self.descriptor = inner
        if len(self._above) > _MOST_OPEN:
            far, descriptor, identity = self._above[-1 - _MOST_OPEN]
            if descriptor != -1:
                os.close(descriptor)
            self._above[-1 - _MOST_OPEN] = far, -1, identity
        return True

    def leave(self) -> str:
        """Go back; gives the name of what was left. Raises OSError (ESTALE) where that was moved meanwhile."""
        name, descriptor, identity = self._above.pop()
        if descriptor == -1:
            descriptor = os.open("..", _DIRECTORY, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = descriptor
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != identity:
            raise OSError(errno.ESTALE, "was moved while everything in it was looked at", name)
        return name


def disk_usage(path: str) -> int:
    """Return the bytes on the disk of a file or of everything in a directory, as du(1) counts them; 0 where nothing is.

    Files that vanish or are moved meanwhile do not count.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            return status.st_blocks * 512
        here = _Descent(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    blocks = status.st_blocks
    linked: set[tuple[int, int]] = set()

    def look() -> list[str]:
        nonlocal blocks
        inner = []
        for name, status in _children(here.descriptor):
            if stat.S_ISDIR(status.st_mode):
                inner.append(name)
            elif status.st_nlink > 1:
                if (status.st_dev, status.st_ino) in linked:
                    continue
                linked.add((status.st_dev, status.st_ino))
            blocks += status.st_blocks
        return inner

    try:
        waiting = [look()]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if waiting:
                    here.leave()
            elif here.enter(waiting[-1].pop()):
                waiting.append(look())
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
    finally:
        here.close()
    return blocks * 512


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, however deep; another process may be removing it too.

    Raises FileNotFoundError where there is none, OSError where somebody fills it as fast as it is emptied.
    """
    here = _Descent(path, to_empty=True)
    again = 0
    try:
        waiting = [_empty(here.descriptor)]
        while True:
            if waiting[-1]:
                if here.enter(waiting[-1].pop()):
                    waiting.append(_empty(here.descriptor))
                continue
            waiting.pop()
            if not waiting:
                break
            name = here.leave()
            try:
                os.rmdir(name, dir_fd=here.descriptor)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                again += 1
                if error.errno != errno.ENOTEMPTY or again > _MOST_TRIES:
                    raise
                waiting[-1].append(name)
    finally:
        here.close()
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)


def _empty(descriptor: int) -> list[str]:
    """Remove all but the directories from an open directory; the names of these."""
    with os.scandir(descriptor) as listing:
        found = [(item.name, item.is_dir(follow_symlinks=False)) for item in listing]
    for name, is_directory in found:
        if not is_directory:
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=descriptor)
    return [name for name, is_directory in found if is_directory]


def _children(descriptor: int) -> list[tuple[str, os.stat_result]]:
    found = []
    with os.scandir(descriptor) as listing:
        for item in listing:
            try:
                found.append((item.name, item.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    return found


def trim_logs(
    directory: str,
    living: Container[str],
    *,
    most: int = MAX_LOGS,
    most_bytes: int = MAX_LOG_BYTES,
    oldest: int = 0,
    dry_run: bool = False,
) -> int:
    """Remove the oldest builds' logs above a number and a size, but those of living builds; the bytes freed.

    Those of builds that began before `oldest` (ns since 1970) go too. Names begin with the start of their build, in
    digits of one length. With `dry_run` they stay.
    """
    too_old = f"{oldest:019d}"
    freed = 0
    total = 0
    for place, name in enumerate(sorted(os.listdir(directory), reverse=True)):
        path = os.path.join(directory, name)
        size = disk_usage(path)
        total += size
        if name not in living and (place >= most or total > most_bytes or name < too_old):
            if not dry_run:
                with contextlib.suppress(FileNotFoundError):
                    remove_tree(path)
            total -= size
            freed += size
    return freed


def trim_roots(directory: str, *, most: int = MAX_ROOTS, dry_run: bool = False) -> int:
    """Remove copies of images' files (see `sandbox/proot.py`) above a number that no build uses; the bytes freed."""
    try:
        names = sorted(os.listdir(directory), key=lambda name: (len(name), name))
    except FileNotFoundError:
        return 0
    freed = 0
    for path in (os.path.join(directory, name) for name in names[most:]):
        try:
            lock = os.open(f"{path}/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # somebody makes it, or removes it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = disk_usage(path)
            if not dry_run:
                for name in set(os.listdir(path)) - {"lock"}:
                    inner = os.path.join(path, name)
                    if os.path.isdir(inner):
                        remove_tree(inner)
                    else:
                        os.unlink(inner)
            freed += size
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
    return freed


def trim_files(directory: str, *, most: int = MAX_STAT_CACHES, dry_run: bool = False) -> int:
    """Remove the files of a directory that were read or written longest ago, above a number; the bytes freed.

    With `dry_run` they stay.
    """
    try:
        with os.scandir(directory) as listing:
            found = [(item.stat(), item.path) for item in listing if item.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return 0
    found.sort(key=lambda item: max(item[0].st_atime_ns, item[0].st_mtime_ns), reverse=True)
    freed = 0
    for status, path in found[most:]:
        try:
            if not dry_run:
                os.unlink(path)
        except FileNotFoundError:
            continue
        freed += status.st_blocks * 512
    return freed
