"""The SQLite database of a store: opening it, its schema, and transactions.

One connection serves all threads of a process, one at a time. WAL mode lets several processes read while one writes;
`synchronous=NORMAL` means that a power cut may lose the last transactions but never the file (sqlite.org/wal.html).
"""

from __future__ import annotations

import _sqlite3  # what `sqlite3` adds, such as dates, takes a millisecond
import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from buildah_py.errors import Interrupted, StoreError
from buildah_py.store.reserve import is_lacking, no_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BUSY_SECONDS = 60
_PATIENCE = 1.0
_FORMAT_1 = """
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,       -- sha256 of the canonical tar; names the directory below layers/
    layer_digest TEXT NOT NULL,     -- of the inventory without times
    size INTEGER NOT NULL,          -- bytes of the uncompressed tar
    entries INTEGER NOT NULL,       -- without directories that are only on the way to others
    root TEXT,                      -- "mode uid gid" where the layer changes / itself
    created INTEGER NOT NULL,       -- nanoseconds since 1970
    used INTEGER NOT NULL,
    boot TEXT                       -- boot id until the layer is known to be on the disk
) STRICT;
CREATE INDEX layers_by_digest ON layers(layer_digest);
CREATE INDEX layers_in_flight ON layers(boot) WHERE boot IS NOT NULL;
CREATE TABLE records (
    key TEXT PRIMARY KEY,
    diff_id TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
    data BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX records_by_layer ON records(diff_id);
CREATE TABLE configs (
    digest TEXT PRIMARY KEY,        -- the image id
    data BLOB NOT NULL,
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE config_layers (
    config TEXT NOT NULL REFERENCES configs(digest) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers(diff_id),
    PRIMARY KEY (config, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX config_layers_by_layer ON config_layers(diff_id);
CREATE TABLE names (
    name TEXT PRIMARY KEY,
    config TEXT NOT NULL REFERENCES configs(digest),
    tagged INTEGER NOT NULL
) STRICT;
CREATE INDEX names_by_config ON names(config);
"""
_FORMAT_2 = """
-- sha256 of the inventory's file
ALTER TABLE layers ADD COLUMN inventory TEXT;
-- bytes that its directory takes, once somebody asked
ALTER TABLE layers ADD COLUMN disk INTEGER;
CREATE TABLE builds (
    config TEXT PRIMARY KEY REFERENCES configs(digest) ON DELETE CASCADE,
    data BLOB NOT NULL              -- what to say to build it again
) STRICT;
CREATE TABLE mounts (
    path TEXT NOT NULL,
    diff_id TEXT NOT NULL REFERENCES layers(diff_id),
    boot TEXT NOT NULL,
    PRIMARY KEY (path, diff_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX mounts_by_layer ON mounts(diff_id);
CREATE TABLE cache_mounts (
    name TEXT PRIMARY KEY,          -- of the directory below cache-mounts/
    id TEXT NOT NULL,
    used INTEGER NOT NULL
) STRICT;
"""
_FORMAT_3 = """
-- sha256 of a record's key, layer and data; records without are worth nothing
DELETE FROM records;
ALTER TABLE records ADD COLUMN seal TEXT NOT NULL DEFAULT '';
-- 1: the layer is known, and its directory is not here yet
ALTER TABLE layers ADD COLUMN absent INTEGER NOT NULL DEFAULT 0;
-- 1: the diff_id is of a tar that others made, and may not be that of ours
ALTER TABLE layers ADD COLUMN foreign_tar INTEGER NOT NULL DEFAULT 0;
-- where it has directories that only the layers below describe: the layers that they were taken from
ALTER TABLE layers ADD COLUMN adopted TEXT;
-- 1: its root hides all layers below
ALTER TABLE layers ADD COLUMN opaque INTEGER NOT NULL DEFAULT 0;
CREATE INDEX layers_absent ON layers(diff_id) WHERE absent;
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,        -- names the file below blobs/sha256/
    diff_id TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    compressor TEXT NOT NULL,       -- with its version; empty for what came from elsewhere
    created INTEGER NOT NULL,
    used INTEGER NOT NULL,
    boot TEXT                       -- as that of layers
) STRICT;
CREATE INDEX blobs_by_layer ON blobs(diff_id);
CREATE INDEX blobs_in_flight ON blobs(boot) WHERE boot IS NOT NULL;
CREATE TABLE origins (
    diff_id TEXT NOT NULL REFERENCES layers(diff_id) ON DELETE CASCADE,
    kind TEXT NOT NULL,             -- registry, layout, ...
    location TEXT NOT NULL,         -- host/repository, path, ...
    digest TEXT NOT NULL,           -- of the blob there
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (diff_id, kind, location, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE repo_digests (
    name TEXT NOT NULL,             -- registry/repository
    digest TEXT NOT NULL,           -- of a manifest, or of the index that led to it
    config TEXT NOT NULL REFERENCES configs(digest) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    data BLOB NOT NULL,             -- the manifest's bytes; empty for an index
    PRIMARY KEY (name, digest, config)
) STRICT;
CREATE INDEX repo_digests_by_config ON repo_digests(config);
CREATE TABLE platform_names (
    name TEXT NOT NULL,             -- as in names, and what it means for one platform
    platform TEXT NOT NULL,
    config TEXT NOT NULL REFERENCES configs(digest) ON DELETE CASCADE,
    PRIMARY KEY (name, platform)
) STRICT, WITHOUT ROWID;
CREATE INDEX platform_names_by_config ON platform_names(config);
CREATE TABLE manifest_lists (
    name TEXT PRIMARY KEY,          -- as in names, and apart from them
    data BLOB NOT NULL,             -- what the list says of itself
    created INTEGER NOT NULL
) STRICT;
CREATE TABLE list_entries (
    list TEXT NOT NULL REFERENCES manifest_lists(name) ON DELETE CASCADE,
    digest TEXT NOT NULL,           -- of the config, else of the manifest
    position INTEGER NOT NULL,
    data BLOB NOT NULL,             -- what the list says of it
    config TEXT REFERENCES configs(digest) ON DELETE CASCADE,
    manifest BLOB,                  -- the manifest's bytes, where it is no image of the store
    PRIMARY KEY (list, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX list_entries_by_config ON list_entries(config);
-- where records are looked for that a step without one may be compared with; what a place is, the cache knows
CREATE TABLE record_places (
    place TEXT NOT NULL,
    key TEXT NOT NULL REFERENCES records(key) ON DELETE CASCADE,
    seen INTEGER NOT NULL,
    PRIMARY KEY (place, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_places_by_time ON record_places(place, seen);
CREATE INDEX record_places_by_key ON record_places(key);
-- what a step's inputs held, by the digest that stands for them in its key; compressed
CREATE TABLE input_lists (
    digest TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE record_inputs (
    key TEXT NOT NULL REFERENCES records(key) ON DELETE CASCADE,
    digest TEXT NOT NULL REFERENCES input_lists(digest),
    PRIMARY KEY (key, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_inputs_by_digest ON record_inputs(digest);
CREATE TRIGGER input_lists_go AFTER DELETE ON record_inputs BEGIN
    DELETE FROM input_lists WHERE digest = OLD.digest
    AND NOT EXISTS (SELECT 1 FROM record_inputs WHERE digest = OLD.digest); END;
-- what was selected of file systems
CREATE TABLE selections (
    key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    signer TEXT NOT NULL,           -- empty for what was looked at here
    made INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- records that were there once, with when they went in seconds since 1970
CREATE TABLE gone_records (
    key TEXT PRIMARY KEY,
    gone INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX gone_records_by_time ON gone_records(gone);
CREATE TRIGGER records_go AFTER DELETE ON records BEGIN
    INSERT OR REPLACE INTO gone_records VALUES (OLD.key, CAST(strftime('%s', 'now') AS INTEGER)); END;
"""
_FORMAT_4 = """
-- the layer whose tar this one's is kept as a patch of
ALTER TABLE layers ADD COLUMN base TEXT REFERENCES layers(diff_id) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX layers_by_base ON layers(base) WHERE base IS NOT NULL;
"""
_FORMAT_5 = """
-- a layer stands for one of another diff_id only where a step's own record says so
DROP INDEX layers_by_digest;
-- records and selections say nothing of times that are content
DELETE FROM records;
DELETE FROM selections;
"""
_FORMATS = (_FORMAT_1, _FORMAT_2, _FORMAT_3, _FORMAT_4, _FORMAT_5)
"""Statements that make each format of the one before it."""

SCHEMA_VERSION = len(_FORMATS)
_RECORDS_SINCE = 5


class Database:
    """A connection to `path`; context manager. Raises StoreError where the file is not a database of ours.

    While another process writes, this one waits, for a minute at most; see Store for `cancelled` and `tell`.
    """

    def __init__(
        self,
        path: str,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.path = path
        self._cancelled = cancelled
        self._tell = tell
        self.begins_anew = False
        """Whether this process has found records of steps in an older format, which are no longer valid."""
        self._lock = threading.RLock()
        self._depth = 0
        try:
            self._connection = _sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        except _sqlite3.Error as error:
            raise _translate(error, path) from error
        try:
            self._patiently(lambda: self._connection.execute("PRAGMA journal_mode=WAL"))
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._prepare_schema()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, _sqlite3.Error):
                raise _translate(error, path) from error
            raise

    def _prepare_schema(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        with self.transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path} has format {version}; this pybuild knows formats up to {SCHEMA_VERSION}",
                    hint="use the pybuild that made it, or name another state directory with PYBUILD_ROOT",
                )
            self.begins_anew = 0 < version < _RECORDS_SINCE
            for statement in statements(version):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _patiently(self, execute: Callable[[], _sqlite3.Cursor]) -> _sqlite3.Cursor:
        since = time.monotonic()
        told = False
        while True:
            try:
                return execute()
            except _sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() - since > _BUSY_SECONDS:
                    raise
            if self._cancelled():
                raise Interrupted("interrupted while waiting for another pybuild")
            if not told:
                told = True
                self._tell("waiting for another pybuild: it writes to the store's database")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else writes meanwhile; nested calls join the outer transaction."""
        with self._lock:
            try:
                if self._depth == 0:
                    self._patiently(lambda: self._connection.execute("BEGIN IMMEDIATE"))
                self._depth += 1
                try:
                    yield
                except BaseException:
                    self._depth -= 1
                    if self._depth == 0 and self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("COMMIT")
            except _sqlite3.Error as error:
                if self._depth == 0 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise _translate(error, self.path) from error

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of a statement."""
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except _sqlite3.Error as error:
                raise _translate(error, self.path) from error

    def change(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement that writes; the number of rows that it touched."""
        with self._lock:
            try:
                return self._patiently(lambda: self._connection.execute(sql, parameters)).rowcount
            except _sqlite3.Error as error:
                raise _translate(error, self.path) from error

    def change_many(self, sql: str, rows: Sequence[Sequence[object]]) -> int:
        """Run a statement once for each row; the number of rows that it touched in all."""
        with self._lock:
            try:
                return self._patiently(lambda: self._connection.executemany(sql, rows)).rowcount
            except _sqlite3.Error as error:
                raise _translate(error, self.path) from error

    def close(self) -> None:
        """Close the connection; the write-ahead log is folded in when the last process leaves."""
        with self._lock:
            self._connection.close()


def statements(version: int = 0, to: int = SCHEMA_VERSION) -> list[str]:
    """Give what turns a database of format `version` into one of format `to`, today's."""
    return [text for form in _FORMATS[version:to] for text in form.split(";\n") if text.strip()]


def _is_busy(error: _sqlite3.Error) -> bool:
    return isinstance(error, _sqlite3.OperationalError) and "locked" in str(error)


def _translate(error: _sqlite3.Error, path: str) -> StoreError:
    if _is_busy(error):
        return StoreError(f"{path} stayed locked for {_BUSY_SECONDS} s", hint="is another pybuild stuck?")
    if isinstance(error, _sqlite3.IntegrityError):
        return StoreError(f"{path}: something that was to be used was removed meanwhile ({error})", hint="try again")
    if "full" in str(error) or is_lacking(os.path.dirname(path)):
        return no_space(os.path.dirname(path))
    if not os.access(os.path.dirname(path), os.W_OK):
        return StoreError(
            f"{path} cannot be written: {error}", hint="name a state directory of yours with PYBUILD_ROOT"
        )
    return StoreError(
        f"{path} is damaged: {error}", hint="`pybuild fsck --repair` saves what can be saved, or move the file away"
    )
