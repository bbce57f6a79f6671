"""What RUN --mount=type=cache keeps: one directory for each id, which collection may take while nobody uses it."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py.store.rooms import disk_usage, remove_tree

if TYPE_CHECKING:
    from buildah_py.store.database import Database


class CacheMount(NamedTuple):
    """A cache mount's directory: its name, the id that it belongs to ("" if unknown), its bytes, its last use (ns)."""

    name: str
    id: str
    disk: int
    used: int


class CacheMounts:
    """The directories below `directory`. Uses are marked with `since` at the earliest, as those of layers are."""

    def __init__(self, database: Database, directory: str, since: int = 0) -> None:
        self._database = database
        self._directory = directory
        self._since = since

    def use(self, identity: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> str:
        """The directory that belongs to an id, made where there is none, and marked as used by this process."""
        path = self.path(identity)
        with self._database.transaction():
            self._mark(identity)
            if not os.path.isdir(path):
                new = f"{path}.new"  # a process that is killed leaves no directory with the wrong owner
                os.makedirs(new, exist_ok=True)
                os.chown(new, uid, gid)
                os.chmod(new, mode)
                os.rename(new, path)
        return path

    def path(self, identity: str) -> str:
        """Where the directory of an id lies or would lie."""
        return os.path.join(self._directory, _name(identity))

    def is_empty(self, identity: str) -> bool:
        """Whether there is nothing that belongs to an id."""
        try:
            with os.scandir(self.path(identity)) as entries:
                return next(entries, None) is None
        except FileNotFoundError:
            return True

    def put(self, identity: str, staged: str, *, replace: bool = False) -> bool:
        """Make the directory `staged` that of an id, and mark it as used; whether that was done.

        One that holds something already is left alone unless it is to be replaced.
        """
        path = self.path(identity)
        trash = f"{path}.{time.time_ns()}.removed"
        with self._database.transaction():
            if not replace and not self.is_empty(identity):
                return False
            if os.path.lexists(path):
                os.rename(path, trash)
            os.rename(staged, path)
            self._mark(identity)
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
            found.append(CacheMount(name, identity, disk_usage(path), used))
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
