"""Rows from a step key to the layer that it led to. What a key or the data means is not known here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from buildah_py.store.database import Database


class StoredRecord(NamedTuple):
    """`data` as it was put; the layer and the chain facts that go with it; `created` in nanoseconds since 1970."""

    key: str
    diff_id: str
    layer_digest: str
    data: bytes
    created: int
    layer_created: int


_SELECT = """
SELECT r.key, r.diff_id, l.layer_digest, r.data, r.created, l.created
FROM records r JOIN layers l ON l.diff_id = r.diff_id
"""


class Records:
    """The table of records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> StoredRecord | None:
        """The record of `key`, or None."""
        rows = self._database.query(_SELECT + "WHERE r.key = ?", (key,))
        return StoredRecord(*cast("tuple[str, str, str, bytes, int, int]", rows[0])) if rows else None

    def put(self, key: str, diff_id: str, data: bytes) -> None:
        """Say that `key` led to the layer `diff_id`, which must be in the store; replaces an older record."""
        with self._database.transaction():
            self._database.change(
                "INSERT OR REPLACE INTO records (key, diff_id, data, created) VALUES (?, ?, ?, ?)",
                (key, diff_id, data, time.time_ns()),
            )

    def all(self) -> list[StoredRecord]:
        """All records, oldest first."""
        rows = self._database.query(_SELECT + "ORDER BY r.created")
        return [StoredRecord(*cast("tuple[str, str, str, bytes, int, int]", row)) for row in rows]

    def remove(self, key: str) -> None:
        """Forget what a key led to."""
        self._database.change("DELETE FROM records WHERE key = ?", (key,))
