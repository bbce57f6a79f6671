"""Digests of a context's files remembered by what stat said, so that an unchanged context is not read again."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    Known = tuple[int, int, int, int, int, str, tuple[tuple[str, bytes], ...]]
    """A file's device, inode, size, mtime and ctime as they were, its digest and its extended attributes."""

_MAGIC: Final = b"pybuild stat cache 3\n"
_DIGEST: Final = 32
_LENGTH: Final = 8
_UNPACKED: Final = 16
_TICK: Final = 50_000_000  # ns: the kernel stamps files with a clock that may lag by a timer tick, at most 10 ms
_COARSE: Final = 2_000_000_000  # ns: FAT, ext3 and old NFS servers


def is_settled(ctime: int, hashed_at: int) -> bool:
    """Whether a change after the hashing would show in the ctime (both in ns since 1970).

    A file written in the same tick of the clock in which it was hashed can change once more and keep its times. Nobody
    but the kernel sets a ctime, so it alone is looked at; one in whole seconds comes from a coarse clock.
    """
    granule = _TICK if ctime % 1_000_000_000 else _COARSE
    return ctime < hashed_at - granule


class StatCache:
    """The remembered files of one context, kept in one file.

    A directory's files are a dict of names to `Known`; only the directories that were asked for
    last are unpacked. A damaged or foreign file counts as empty: what it holds can be had again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._packed: dict[str, bytes] = {}
        self._unpacked: dict[str, dict[str, Known]] = {}
        self._dirty: set[str] = set()
        self._seen: dict[str, frozenset[str]] = {}
        self._changed = False
        self._load()

    @classmethod
    def of(cls, directory: str, context: str) -> StatCache:
        """Open the cache of the context at the absolute path `context`, kept below `directory`."""
        from hashlib import sha256

        name = sha256(os.fsencode(os.path.realpath(context))).hexdigest()[:32]
        return cls(os.path.join(directory, name))

    @property
    def directories(self) -> set[str]:
        """The paths of the directories of which something is known."""
        return self._packed.keys() | self._dirty

    def files(self, directory: str) -> dict[str, Known]:
        """Return the known files of a directory, by their names."""
        found = self._unpacked.get(directory)
        if found is None:
            from marshal import loads

            packed = self._packed.get(directory)
            found = loads(packed) if packed else {}  # noqa: S302 - its own file, checked when it was read
            self._unpacked[directory] = found
            if len(self._unpacked) > _UNPACKED:
                self._pack(next(iter(self._unpacked)))
        return found

    def seen(self, directory: str, subdirectories: Iterable[str], names: Container[str]) -> None:
        """Note what a directory holds now, and its subdirectories; what it holds no longer is forgotten."""
        self._seen[directory] = frozenset(subdirectories)
        known = self.files(directory)
        gone = [name for name in known if name not in names]
        if gone:
            self._change(directory)
            for name in gone:
                del known[name]

    def remember(self, directory: str, name: str, known: Known) -> None:
        """Keep what is known of a file."""
        self.files(directory)[name] = known[:]
        self._change(directory)

    def forget(self, directory: str, name: str) -> None:
        """Drop a file whose record no longer holds."""
        if self.files(directory).pop(name, None) is not None:
            self._change(directory)

    def _change(self, directory: str) -> None:
        self._dirty.add(directory)
        self._changed = True

    def _pack(self, directory: str) -> None:
        """Put a directory away, as bytes: these take a fifth of the memory."""
        files: Any = self._unpacked.pop(directory)
        if directory in self._dirty:
            from marshal import dumps

            self._dirty.discard(directory)
            if files:
                self._packed[directory] = dumps(files, 4)
            else:
                self._packed.pop(directory, None)

    def save(self) -> None:
        """Write the cache, if it changed, in place of the old one: a reader sees either whole."""
        if not self._changed:
            return
        import marshal
        from hashlib import sha256
        from tempfile import mkstemp

        for directory in list(self._unpacked):
            self._pack(directory)
        folder = os.path.dirname(self.path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor, temporary = mkstemp(prefix=".stat-", dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(_MAGIC + bytes(_DIGEST))
                hashed = sha256()
                for entry in self._packed.items():
                    if self._alive(entry[0]):
                        data = marshal.dumps(entry, 4)
                        part = len(data).to_bytes(_LENGTH, "little") + data
                        hashed.update(part)
                        file.write(part)
                file.seek(len(_MAGIC))
                file.write(hashed.digest())
            os.replace(temporary, self.path)
        except BaseException:
            os.unlink(temporary)
            raise
        self._changed = False

    def _alive(self, path: str) -> bool:
        """Whether a directory is still there, as far as this run has looked."""
        while path:
            parent, _, name = path.rpartition("/")
            inside = self._seen.get(parent)
            if inside is not None and name not in inside:
                return False
            path = parent
        return True

    def _load(self) -> None:
        import marshal
        from hashlib import sha256

        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return
        at = len(_MAGIC) + _DIGEST
        view = memoryview(data)
        if not data.startswith(_MAGIC) or sha256(view[at:]).digest() != data[len(_MAGIC) : at]:
            return
        while at < len(view):
            start = at + _LENGTH
            at = start + int.from_bytes(view[at:start], "little")
            path, files = marshal.loads(view[start:at])  # noqa: S302 - its own file, checked above
            self._packed[path] = files


def now() -> int:
    """Return the time of the clock that `is_settled` compares with, in nanoseconds."""
    return time.time_ns()
