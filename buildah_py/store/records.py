"""Rows from a step key to the layer that it led to. The meaning of keys, places and data is not known here.

Each row is sealed with a digest of all that it says, so that one in which anything changed is no longer a record.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py.checksum import sha256_hex
from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.store.database import Database

MAX_GONE = 50_000
"""Removed records that are remembered."""
MAX_SELECTIONS = 100_000


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


_COLUMNS = "r.key, r.diff_id, l.layer_digest, r.data, r.created, l.created, r.seal"
_SELECT = f"SELECT {_COLUMNS} FROM records r JOIN layers l ON l.diff_id = r.diff_id "
NEAR = f"""
SELECT {_COLUMNS} FROM record_places p CROSS JOIN records r ON r.key = p.key JOIN layers l ON l.diff_id = r.diff_id
WHERE p.place = ? ORDER BY p.seen DESC LIMIT ?
"""


class Records:
    """The table of records, the places where they are looked for, and what their steps' inputs held."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> StoredRecord | None:
        """Return the record of `key`, or None where there is none or it is damaged."""
        rows = self._database.query(_SELECT + "WHERE r.key = ?", (key,))
        record = _stored(rows[0]) if rows else None
        return record if record is not None and record.intact else None

    def save(
        self,
        key: str,
        diff_id: str,
        data: bytes,
        *,
        places: Sequence[str] = (),
        inputs: Mapping[str, Callable[[], bytes]] | None = None,
        created: int | None = None,
    ) -> None:
        """Say that `key` led to the layer `diff_id`, which must be in the store; replaces an older record.

        It is found `near` its `places`. `inputs` give what the step's inputs held, by digests; equal ones are kept
        once, and asked for only when they are not known. `created` is now, unless the record comes from elsewhere.
        """
        now = time.time_ns()
        packed = {digest: _compress(make()) for digest, make in (inputs or {}).items() if not self._knows(digest)}
        with self._database.transaction():
            self._database.change(
                "INSERT INTO records (key, diff_id, data, created, seal) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET diff_id = excluded.diff_id, data = excluded.data, "
                "created = excluded.created, seal = excluded.seal",
                (key, diff_id, data, now if created is None else created, _seal(key, diff_id, data)),
            )
            self._database.change("DELETE FROM gone_records WHERE key = ?", (key,))
            self._put_places([key], [places], now)
            for digest, make in (inputs or {}).items():
                # Between the look and here it may have gone with the last record that had it.
                if digest in packed or not self._knows(digest):
                    content = packed.get(digest) or _compress(make())
                    self._database.change("INSERT OR IGNORE INTO input_lists VALUES (?, ?)", (digest, content))
                self._database.change("INSERT OR IGNORE INTO record_inputs VALUES (?, ?)", (key, digest))

    def touch(self, keys: Sequence[str], places: Sequence[Sequence[str]]) -> None:
        """Say that records were met at places just now; those that are gone are left out."""
        with self._database.transaction():
            there = [bool(self._database.query("SELECT 1 FROM records WHERE key = ?", (key,))) for key in keys]
            found = [(key, here) for key, here, known in zip(keys, places, there, strict=True) if known]
            self._put_places([key for key, _ in found], [here for _, here in found], time.time_ns())

    def were_seen(self, keys: Sequence[str], places: Sequence[Sequence[str]]) -> bool:
        """Whether all records were met at all these places before."""
        wanted = list({(place, key) for key, here in zip(keys, places, strict=True) for place in here})
        same = "p.place = json_extract(w.value, '$[0]') AND p.key = json_extract(w.value, '$[1]')"
        known = f"SELECT count(*) FROM json_each(?) w JOIN record_places p ON {same}"
        return self._database.query(known, (json.dumps(wanted),)) == [(len(wanted),)]

    def _put_places(self, keys: Sequence[str], places: Sequence[Sequence[str]], now: int) -> None:
        self._database.change_many(
            "INSERT INTO record_places VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen",
            [(place, key, now) for key, here in zip(keys, places, strict=True) for place in here],
        )

    def near(self, place: str, limit: int) -> list[StoredRecord]:
        """Return the records that were met at a place, the last one first."""
        found = [_stored(row) for row in self._database.query(NEAR, (place, limit))]
        return [record for record in found if record.intact]

    def input_list(self, digest: str) -> bytes | None:
        """Return the list that stands behind the digest of an input, or None where it was not kept.

        Raises CacheError for damage.
        """
        rows = self._database.query("SELECT data FROM input_lists WHERE digest = ?", (digest,))
        return _decompress(cast("bytes", rows[0][0])) if rows else None

    def gone(self, key: str) -> int | None:
        """When a record was removed with its layer, in seconds since 1970; None where none is remembered."""
        rows = self._database.query("SELECT gone FROM gone_records WHERE key = ?", (key,))
        return cast("int", rows[0][0]) if rows else None

    def trim(self) -> None:
        """Forget the oldest of the removed records where they are very many."""
        self._database.change(
            "DELETE FROM gone_records WHERE key IN (SELECT key FROM gone_records ORDER BY gone DESC LIMIT -1 OFFSET ?)",
            (MAX_GONE,),
        )

    def of_layer(self, diff_id: str) -> list[StoredRecord]:
        """Return the records that led to a layer; damaged ones are left out."""
        found = [_stored(row) for row in self._database.query(_SELECT + "WHERE r.diff_id = ?", (diff_id,))]
        return [record for record in found if record.intact]

    def all(self) -> list[StoredRecord]:
        """All records, oldest first, damaged ones too."""
        return [_stored(row) for row in self._database.query(_SELECT + "ORDER BY r.created")]

    def remove(self, key: str) -> None:
        """Forget what a key led to."""
        self._database.change("DELETE FROM records WHERE key = ?", (key,))

    def _knows(self, digest: str) -> bool:
        return bool(self._database.query("SELECT 1 FROM input_lists WHERE digest = ?", (digest,)))


def _seal(key: str, diff_id: str, data: bytes) -> str:
    return sha256_hex(b"\0".join((key.encode(), diff_id.encode(), data)))


def _stored(row: tuple[object, ...]) -> StoredRecord:
    key, diff_id, digest, data, created, layer_created, seal = cast("tuple[str, str, str, bytes, int, int, str]", row)
    return StoredRecord(key, diff_id, digest, data, created, layer_created, seal == _seal(key, diff_id, data))


def _compress(data: bytes) -> bytes:
    if len(data) < 1 << 16:
        import zlib

        return b"z" + zlib.compress(data, 6)
    import zstandard

    return b"s" + zstandard.ZstdCompressor(level=1).compress(data)


def _decompress(data: bytes) -> bytes:
    import zlib

    import zstandard

    try:
        if data[:1] == b"z":
            return zlib.decompress(data[1:])
        return zstandard.ZstdDecompressor().decompress(data[1:])
    except (zlib.error, zstandard.ZstdError) as error:
        raise CacheError(f"its list of files in the store is damaged: {error}") from error


class StoredSelections:
    """The table of digests of what was selected of file systems: the same question about the same one needs no look."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> tuple[str, str] | None:
        """Return the digest that belongs to a key, and who says so: "" for this machine."""
        rows = self._database.query("SELECT digest, signer FROM selections WHERE key = ?", (key,))
        return cast("tuple[str, str]", rows[0]) if rows else None

    def save(self, key: str, digest: str, signer: str = "") -> None:
        """Note a digest."""
        values = (key, digest, signer, time.time_ns())
        self._database.change("INSERT OR REPLACE INTO selections VALUES (?, ?, ?, ?)", values)

    def trim(self) -> None:
        """Forget the oldest where there are very many."""
        self._database.change(
            "DELETE FROM selections WHERE key IN (SELECT key FROM selections ORDER BY made DESC LIMIT -1 OFFSET ?)",
            (MAX_SELECTIONS,),
        )
