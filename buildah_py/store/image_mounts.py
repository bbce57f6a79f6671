"""Images that are mounted for people to look at: collection leaves their layers alone for as long as they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.store.layers import boot_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store.database import Database


class ImageMounts:
    """The table of mount points and the layers that show there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, path: str, diff_ids: Sequence[str]) -> None:
        """Say that layers are about to be mounted at `path`."""
        with self._database.transaction():
            self._database.change_many(
                "INSERT OR REPLACE INTO mounts (path, diff_id, boot) VALUES (?, ?, ?)",
                [(path, diff_id, boot_id()) for diff_id in set(diff_ids)],
            )

    def remove(self, path: str) -> bool:
        """Say that nothing is mounted at `path` any more; whether something was."""
        return self._database.change("DELETE FROM mounts WHERE path = ?", (path,)) > 0

    def __contains__(self, path: str) -> bool:
        return bool(self._database.query("SELECT 1 FROM mounts WHERE path = ?", (path,)))

    def forget_gone(self) -> None:
        """Forget mounts that ended with the machine's last boot, or that somebody else took away."""
        for path, boot in self._database.query("SELECT DISTINCT path, boot FROM mounts"):
            if boot != boot_id() or not os.path.ismount(str(path)):
                self._database.change("DELETE FROM mounts WHERE path = ? AND boot = ?", (path, boot))
