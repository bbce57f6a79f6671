"""Rows from a step key to the layer that it led to. What a key or the data means is not known here.

Each row is sealed with a digest of all that it says, so that one in which anything changed is no record any more.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from buildah_py.store.database import Database


class StoredRecord(NamedTuple):
    """`data` as it was put; the layer and what the store knows of it; `created` in nanoseconds since 1970.

    `intact` says that key, layer and data are those that were put together.
    """

    key: str
    diff_id: str
    layer_digest: str
    data: bytes
    created: int
    layer_created: int
    intact: bool


_SELECT = """
SELECT r.key, r.diff_id, l.layer_digest, r.data, r.created, l.created, r.seal
FROM records r JOIN layers l ON l.diff_id = r.diff_id
"""


class Records:
    """The table of records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> StoredRecord | None:
        """The record of `key`, or None where there is none or it is damaged."""
        rows = self._database.query(_SELECT + "WHERE r.key = ?", (key,))
        record = _record(rows[0]) if rows else None
        return record if record is not None and record.intact else None

    def put(self, key: str, diff_id: str, data: bytes) -> None:
        """Say that `key` led to the layer `diff_id`, which must be in the store; replaces an older record."""
        with self._database.transaction():
            self._database.change(
                "INSERT OR REPLACE INTO records (key, diff_id, data, created, seal) VALUES (?, ?, ?, ?, ?)",
                (key, diff_id, data, time.time_ns(), _seal(key, diff_id, data)),
            )

    def all(self) -> list[StoredRecord]:
        """All records, oldest first, damaged ones too."""
        rows = self._database.query(_SELECT + "ORDER BY r.created")
        return [_record(row) for row in rows]

    def remove(self, key: str) -> None:
        """Forget what a key led to."""
        self._database.change("DELETE FROM records WHERE key = ?", (key,))


def _seal(key: str, diff_id: str, data: bytes) -> str:
    return hashlib.sha256(b"\0".join((key.encode(), diff_id.encode(), data))).hexdigest()


def _record(row: tuple[object, ...]) -> StoredRecord:
    key, diff_id, digest, data, created, layer_created, seal = cast("tuple[str, str, str, bytes, int, int, str]", row)
    return StoredRecord(key, diff_id, digest, data, created, layer_created, seal == _seal(key, diff_id, data))
