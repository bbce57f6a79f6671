"""A slot as the observing file system finds it on the disk: what stands at a path, and what a directory holds.

Nothing here follows a link: what is a directory in one of a layer's directories may be a link in another.
"""

from __future__ import annotations

import errno
import os

from buildah_py.linux.paths import open_beneath

BLOCK = 4096
LINK, FILE, DIRECTORY, KIND = 0o120000, 0o100000, 0o040000, 0o170000
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SECOND = 1_000_000_000


class ObservedSlot:
    """A layer: its directories, top-most first, and what of the lower ones does not show. `seen` are flags by paths."""

    __slots__ = ("gone", "numbers", "roots", "seen")

    def __init__(self, roots: tuple[str, ...], gone: tuple[str, ...]) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self.roots = [os.open(root, flags) for root in roots]
        self.gone = frozenset(map(os.fsencode, gone))
        self.seen: dict[bytes, int] = {}
        self.numbers: dict[bytes, int] = {}

    def find(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """Give the directory that shows a path, and what is there."""
        if path in self.gone:
            return None
        for place, root in enumerate(self.roots):
            try:
                if not place:
                    return root, os.stat(path or b".", dir_fd=root, follow_symlinks=False)
                # What is a directory here may be a link there.
                file = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                continue
            try:
                return root, os.fstat(file)
            finally:
                os.close(file)
        return None

    def open(self, path: bytes, flags: int) -> int:
        """Open what is at a path that was found; of a link itself, not where it leads. Raises OSError."""
        for root in self.roots:
            try:
                return open_beneath(root, path, flags | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def names(self, path: bytes, *, look: bool) -> dict[bytes, tuple[int, int, os.stat_result | None]]:
        """Give what is in a directory by name: number and kind, and with `look` all that is known."""
        found: dict[bytes, tuple[int, int, os.stat_result | None]] = {}
        for root in self.roots:
            try:
                directory = open_beneath(root, path, _DIRECTORY_FLAGS)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                continue
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        inside = path + b"/" + name if path else name
                        if name not in found and inside not in self.gone:
                            kind = LINK if entry.is_symlink() else DIRECTORY if entry.is_dir() else FILE
                            found[name] = entry.inode(), kind, entry.stat(follow_symlinks=False) if look else None
            finally:
                os.close(directory)
        return found


def attributes_of(
    known: os.stat_result,
) -> tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, int, int, int]:
    """Give the fields of fuse_attr; times that no image keeps are that of the last change."""
    mode = known.st_mode
    size, links = (BLOCK, 1) if mode & KIND == DIRECTORY else (known.st_size, known.st_nlink)
    second, part = divmod(known.st_mtime_ns, _SECOND)
    owner, group = known.st_uid, known.st_gid
    blocks = 0 if mode & KIND == LINK else -(-size // BLOCK) * (BLOCK // 512)
    return (
        known.st_ino, size, blocks, second, second, second, part, part, part, mode, links, owner, group, 0, BLOCK, 0
    )  # fmt: skip
