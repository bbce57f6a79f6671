"""Digests of what was selected of file systems, so that the same question about the same one needs no look at it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from buildah_py.store.database import Database

MAX_ROWS: Final = 100_000


class Selections:
    """The table. What a key or a digest means is not known here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> tuple[str, str] | None:
        """The digest that belongs to a key, and who says so: "" for this machine."""
        rows = self._database.query("SELECT digest, signer FROM selections WHERE key = ?", (key,))
        return cast("tuple[str, str]", rows[0]) if rows else None

    def put(self, key: str, digest: str, signer: str = "") -> None:
        """Note a digest."""
        values = (key, digest, signer, time.time_ns())
        self._database.change("INSERT OR REPLACE INTO selections VALUES (?, ?, ?, ?)", values)

    def trim(self) -> None:
        """Forget the oldest where there are very many."""
        self._database.change(
            "DELETE FROM selections WHERE key IN (SELECT key FROM selections ORDER BY made DESC LIMIT -1 OFFSET ?)",
            (MAX_ROWS,),
        )
