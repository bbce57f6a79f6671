"""Cache mounts (RUN --mount=type=cache): a directory for each name, which collection may take while nobody uses it."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Self, cast

from buildah_py.store.disk_usage import disk_usage, remove_tree

if TYPE_CHECKING:
    from buildah_py.store.database import Database


OWNER: Final = "owner="
FROM: Final = "from="
COPY: Final = "copy="


class CacheName(str):
    """The name that a cache mount is told by: its id, and where they are not the usual ones, owner and mode.

    A cache that begins with what a stage holds belongs to that content as well; of a private one there are copies. The
    parts are separated by NUL, which no id can hold.
    """

    __slots__ = ()

    @classmethod
    def of(cls, identity: str, uid: int = 0, gid: int = 0, mode: int | None = None) -> Self:
        """Name the cache of an id that has that owner and mode: None is the usual one."""
        plain = (uid, gid, 0o755 if mode is None else mode) == (0, 0, 0o755)
        return cls(identity if plain else f"{identity}\0{OWNER}{uid}:{gid}:{0o755 if mode is None else mode:o}")

    def beginning_with(self, content: str) -> Self:
        """Name the one that began with some content."""
        return type(self)(f"{self}\0{FROM}{content}")

    def copy(self, number: int) -> Self:
        """Name one of several that steps have for themselves."""
        return type(self)(f"{self}\0{COPY}{number}") if number else self

    @property
    def id(self) -> str:
        """The id alone."""
        return self.partition("\0")[0]

    @property
    def is_portable(self) -> bool:
        """Whether it means the same on another machine."""
        return not any(part.startswith((FROM, COPY)) for part in self.split("\0")[1:])

    @property
    def shown(self) -> str:
        """How it is called in messages and tables."""
        first, *others = self.split("\0")
        return f"{first} ({', '.join(others)})" if others else first


class CacheMount(NamedTuple):
    """A cache mount's directory: its name there, what it is told by ("" if unknown), its bytes, its last use (ns)."""

    name: str
    id: CacheName
    disk: int
    used: int


class CacheMounts:
    """The directories below `directory`. Uses are marked with `since` at the earliest, as those of layers are."""

    def __init__(self, database: Database, directory: str, since: int = 0) -> None:
        self._database = database
        self._directory = directory
        self._since = since

    def use(self, name: str) -> bool:
        """Mark a cache as used by this process; whether there is one."""
        with self._database.transaction():
            self._mark(name)
            return os.path.isdir(self.path(name))

    def path(self, name: str) -> str:
        """Where the directory of a cache lies or would lie."""
        return os.path.join(self._directory, _name(name))

    def is_there(self, name: str) -> bool:
        """Whether there is such a cache, be it empty."""
        return os.path.isdir(self.path(name))

    def put(self, name: str, staged: str, *, replace: bool = False) -> bool:
        """Make the directory `staged` that of a cache, and mark it as used; whether that was done.

        One that is there is left alone, for a container may have it, unless it is to be replaced: then the caller has
        its lock.
        """
        path = self.path(name)
        trash = f"{path}.{time.time_ns()}.removed"
        with self._database.transaction():
            if not replace and self.is_there(name):
                return False
            if os.path.lexists(path):
                os.rename(path, trash)
            os.rename(staged, path)
            self._mark(name)
        _discard(trash)
        return True

    def _mark(self, identity: str) -> None:
        shown = identity.encode("utf-8", "backslashreplace").decode()
        self._database.change(
            "INSERT INTO cache_mounts (name, id, used) VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET used = max(used, excluded.used)",
            (_name(identity), shown, max(time.time_ns(), self._since)),
        )

    def all(self) -> list[CacheMount]:
        """All of them, measured now, those that were used longest ago first."""
        known = {
            name: (identity, used)
            for name, identity, used in cast(
                "list[tuple[str, str, int]]", self._database.query("SELECT name, id, used FROM cache_mounts")
            )
        }
        found = []
        for name in os.listdir(self._directory):
            path = os.path.join(self._directory, name)
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            identity, used = known.get(name, ("", status.st_ctime_ns))
            found.append(CacheMount(name, CacheName(identity), disk_usage(path), used))
        return sorted(found, key=lambda mount: (mount.used, mount.name))

    def remove(self, name: str, limit: int) -> bool:
        """Remove one that nobody has used since `limit` (ns since 1970); whether it is gone.

        Where a container keeps filling it, what is left is one of nobody's, for the next time.
        """
        path = os.path.join(self._directory, name)
        trash = f"{path}.{time.time_ns()}.removed"
        with self._database.transaction():
            if self._database.query("SELECT 1 FROM cache_mounts WHERE name = ? AND used >= ?", (name, limit)):
                return False
            self._database.change("DELETE FROM cache_mounts WHERE name = ?", (name,))
            if os.path.lexists(path):
                os.rename(path, trash)
        return _discard(trash)


def _discard(trash: str) -> bool:
    """Remove what was renamed to be removed, which may still be somebody's mount; whether it is gone."""
    try:
        remove_tree(trash)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.ESTALE, errno.EPERM, errno.EBUSY}:
            raise
        return False
    return True


def _name(identity: str) -> str:
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
