"""A damaged database: seeing that it is, and saving what can be read of it into a new one."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from buildah_py.errors import StoreError
from buildah_py.store.database import Database
from buildah_py.store.locks import Lease, living_leases
from buildah_py.store.reserve import is_lacking, no_space

if TYPE_CHECKING:
    from collections.abc import Iterator

_TABLES = (
    "layers",
    "configs",
    "records",
    "config_layers",
    "names",
    "builds",
    "cache_mounts",
    "blobs",
    "origins",
    "repo_digests",
    "platform_names",
    "manifest_lists",
    "list_entries",
    "record_places",
    "input_lists",
    "record_inputs",
)
_TYPES = {"TEXT": str, "INTEGER": int, "BLOB": bytes}
_FEW = 5


def problems_of_database(path: str) -> list[str]:
    """Return the findings of SQLite's own check of the file, a line each; none where it is sound or not there.

    Raises StoreError where there is no space left to look.
    """
    if not os.path.exists(path):
        return []
    try:
        connection = sqlite3.connect(path, timeout=60)
        try:
            lines = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({_FEW})")]
            lines = [] if lines == ["ok"] else lines
            faults = connection.execute("PRAGMA foreign_key_check").fetchmany(_FEW)
            return lines + [
                f"a row of {table} refers to a row of {parent} that is not there" for table, _, parent, _ in faults
            ]
        finally:
            connection.close()
    except sqlite3.Error as error:
        if is_lacking(os.path.dirname(path)):  # which says nothing about the file
            raise no_space(os.path.dirname(path)) from error
        return [str(error)]


def recover_database(root: str) -> str:
    """Put a new database in the place of a damaged one, with all rows that can still be read; where the old one is now.

    Raises StoreError while another process uses the store.
    """
    path = os.path.join(root, "state.db")
    lease = Lease(os.path.join(root, "leases"))
    try:
        if set(living_leases(os.path.join(root, "leases"))) - {lease.name}:
            raise StoreError(f"{root} is in use by another pybuild", hint="repair it when that has ended")
        aside = f"{path}.damaged-{time.time_ns()}"
        for end in ("", "-wal", "-shm"):
            if os.path.exists(path + end):
                os.rename(path + end, aside + end)
        new = Database(path)
        try:
            with new.transaction():
                new.change("PRAGMA defer_foreign_keys=ON")
                for table in _TABLES:
                    for columns, row in _rows(aside, table):
                        _insert(new, table, columns, row)
                _drop_dangling(new)
        finally:
            new.close()
    finally:
        lease.release()
    return aside


def _rows(path: str, table: str) -> Iterator[tuple[list[str], tuple[object, ...]]]:
    """Give the columns and rows of a table, up to the first row that cannot be read."""
    connection = sqlite3.connect(path)
    # Text that is damaged is a value as good as any: what refers to it finds nothing.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    try:
        columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
        if columns:
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
                yield columns, row
    except sqlite3.Error:
        return
    finally:
        connection.close()


def _insert(new: Database, table: str, columns: list[str], row: tuple[object, ...]) -> None:
    """Insert a row whose values have the right types; one that is there already stays."""
    types = {str(name): str(kind) for _, name, kind, *_ in new.query(f"PRAGMA table_info({table})")}
    for name, value in zip(columns, row, strict=True):
        if value is not None and not isinstance(value, _TYPES.get(types.get(name, ""), ())):
            return
    marks = ", ".join("?" * len(columns))
    new.change(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)


def _drop_dangling(new: Database) -> None:
    """Take away rows that refer to what was not saved, and images that miss a layer; keys of rows come last."""
    new.change("DELETE FROM layers WHERE base NOT IN (SELECT diff_id FROM layers)")
    new.change("DELETE FROM records WHERE diff_id NOT IN (SELECT diff_id FROM layers)")
    broken = "SELECT config FROM config_layers WHERE diff_id NOT IN (SELECT diff_id FROM layers)"
    new.change(f"DELETE FROM names WHERE config IN ({broken})")
    new.change("DELETE FROM names WHERE config NOT IN (SELECT digest FROM configs)")
    new.change(f"DELETE FROM configs WHERE digest IN ({broken})")
    for table in ("record_places", "record_inputs"):
        new.change(f"DELETE FROM {table} WHERE key NOT IN (SELECT key FROM records)")
    new.change("DELETE FROM record_inputs WHERE digest NOT IN (SELECT digest FROM input_lists)")
    new.change("DELETE FROM input_lists WHERE digest NOT IN (SELECT digest FROM record_inputs)")
    new.change("DELETE FROM gone_records")
    new.change("DELETE FROM list_entries WHERE list NOT IN (SELECT name FROM manifest_lists)")
    for table in ("blobs", "origins"):
        new.change(f"DELETE FROM {table} WHERE diff_id NOT IN (SELECT diff_id FROM layers)")
    for table in ("config_layers", "builds", "repo_digests", "platform_names", "list_entries"):
        new.change(f"DELETE FROM {table} WHERE config NOT IN (SELECT digest FROM configs)")
