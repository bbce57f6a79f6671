"""Files that contexts and ADD got from web servers and repositories, kept so that they need not be sent again.

fetched/<hex>        a file, by its digest; <hex>.json beside it what a server said of a URL
git/<hex>/           the objects of a repository
The time of each is that of its last use.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.store.disk_usage import disk_usage, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


class FetchedItem(NamedTuple):
    """A file or a repository: its paths (a file's with what is known of its URLs), bytes, and last use (ns)."""

    name: str
    paths: tuple[str, ...]
    disk: int
    used: int


class FetchedFiles:
    """Both rooms. `lock` keeps others from a repository, by `git <hex>`."""

    def __init__(self, files: str, repositories: str, lock: Callable[[str], AbstractContextManager[object]]) -> None:
        self._files = files
        self._repositories = repositories
        self._lock = lock

    def all(self) -> list[FetchedItem]:
        """All of it, measured now."""
        found = [_item(name, (os.path.join(self._repositories, name),)) for name in _names(self._repositories)]
        urls: dict[str, list[str]] = {}
        names = _names(self._files)
        for name in names:
            if name.endswith(".json"):
                urls.setdefault(_content(os.path.join(self._files, name)), []).append(name)
        known = {name for name in names if not name.endswith(".json")}
        for name in sorted(known | urls.keys()):
            paths = (*urls.get(name, ()), *({name} & known))
            found.append(_item(name, tuple(os.path.join(self._files, path) for path in paths)))
        return [one for one in found if one.used]

    def remove(self, item: FetchedItem, limit: int) -> bool:
        """Remove what nobody has used since `limit` (ns since 1970); whether it is gone."""
        path = item.paths[-1]
        if os.path.dirname(path) != self._repositories:
            if _item(item.name, item.paths).used >= limit:
                return False
            for one in item.paths:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(one)
            return True
        with self._lock(f"git {item.name}"):
            if _item(item.name, item.paths).used >= limit:
                return False
            with contextlib.suppress(FileNotFoundError):
                remove_tree(path)
        return True


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _content(path: str) -> str:
    """Give the name of the file that a record is about; its own where it is damaged."""
    try:
        with open(path, "rb") as file:
            return str(json.load(file)["digest"]).partition(":")[2]
    except (OSError, ValueError, KeyError, TypeError):
        return os.path.basename(path)


def _item(name: str, paths: tuple[str, ...]) -> FetchedItem:
    used = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            used = max(used, os.stat(path, follow_symlinks=False).st_mtime_ns)
    return FetchedItem(name, paths, sum(map(disk_usage, paths)), used)
