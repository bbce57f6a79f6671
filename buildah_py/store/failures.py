"""Remains of failed steps: one for each build, so that somebody can have a look; never a layer, never a hit.

failed/<build>.<time>-<lease>-<step>/  the step's staging directory as the command left it, and what describes it

A directory is moved to its place when it is complete. Whoever looks into one holds its lock shared, and who removes it
needs that alone: one that is being looked at stays until later.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

from buildah_py.errors import Interrupted
from buildah_py.store.disk_usage import disk_usage, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

MOST: Final = 8
"""Failures that are kept, of whatever builds."""


class Failures:
    """The failures in the directory `room`, to which this process adds under the name of its `lease`.

    `lock` is the store's.
    """

    def __init__(self, room: str, lease: str, lock: Callable[..., AbstractContextManager[bool]]) -> None:
        self._room = room
        self._lease = lease
        self._lock_store = lock

    def keep(self, build: str, staged: str, step: int) -> str:
        """Take over the staged directory of a step that failed in `build`; its name. Those before it go."""
        os.makedirs(self._room, mode=0o700, exist_ok=True)
        name = f"{_short(build)}.{time.time_ns()}-{self._lease}-{step}"
        os.rename(staged, os.path.join(self._room, name))
        kept = self._names()
        self._remove(one for one in kept if one != name and (_is_of(one, build) or one not in kept[-MOST:]))
        return name

    def find(self, build: str | None = None) -> str | None:
        """Return the name of the newest failure, or of the newest in `build`; None where there is none."""
        return next((name for name in reversed(self._names()) if build is None or _is_of(name, build)), None)

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[str | None]:
        """Give the directory of a failure, which stays meanwhile; None where it has gone."""
        with self._lock(name, shared=True):
            path = os.path.join(self._room, name)
            yield path if os.path.isdir(path) else None

    def forget(self, build: str) -> None:
        """Remove those of a build."""
        self._remove(name for name in self._names() if _is_of(name, build))

    def remove_all(self, *, dry_run: bool = False) -> int:
        """Remove all that nobody is looking at; the bytes freed. With `dry_run` they stay."""
        return self._remove(self._names(), dry_run=dry_run)

    def _lock(self, name: str, *, shared: bool) -> AbstractContextManager[bool]:
        cancelled: Callable[[], bool] | None = None if shared else lambda: True
        return self._lock_store(f"failure {name}", cancelled, shared=shared)

    def _names(self) -> list[str]:
        """List the failures, the newest last: by the times in their names."""
        try:
            names = os.listdir(self._room)
        except FileNotFoundError:
            return []
        return sorted((name for name in names if "." in name), key=lambda name: name.partition(".")[2])

    def _remove(self, names: Iterable[str], *, dry_run: bool = False) -> int:
        freed = 0
        for name in names:
            path = os.path.join(self._room, name)
            # Another process may look at it, or remove it as well; without root only some commands may.
            with contextlib.suppress(Interrupted, FileNotFoundError, PermissionError), self._lock(name, shared=False):
                size = disk_usage(path)
                if not dry_run:
                    remove_tree(path)
                freed += size
        return freed


def _short(build: str) -> str:
    return hashlib.sha256(build.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _is_of(name: str, build: str) -> bool:
    return name.startswith(f"{_short(build)}.")
