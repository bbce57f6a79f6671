"""A glance at a store that some process may be using: whether what was answered from it would be again.

Nothing is opened, swept or staged for that, as `Store` does, and hardly anything imported.
"""

from __future__ import annotations

import _sqlite3
import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Query = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]

_SQLITE_VARIABLES: Final = 500
_FRESH: Final = 60_000_000_000
"""Nanoseconds for which it need not be noted again that a layer was used."""
_NAMES: Final = """
SELECT name, config,
    (SELECT group_concat(platform || ' ' || config) FROM platform_names WHERE platform_names.name = names.name),
    name IN (SELECT name FROM manifest_lists)
FROM names WHERE name IN ({})
"""


class Rows(NamedTuple):
    """Rows that a build was answered from, in the order of their first columns.

    `records` are keys of steps with the layer and the seal of each, `layers` diff_ids with whether their files are
    elsewhere, `homes` what stat said of the directories of those that are here, `names` full names with images, what
    they mean for single platforms, and whether a manifest list has the name too. `image` is what the build led to.
    `form` is the format of the data base.
    """

    form: int
    records: Sequence[tuple[Any, ...]]
    layers: Sequence[tuple[Any, ...]]
    homes: Sequence[tuple[int, int]]
    names: Sequence[tuple[Any, ...]]
    image: str


def read_rows(
    root: str, query: Query, keys: Iterable[str], diff_ids: Iterable[str], names: Iterable[str], image: str
) -> Rows | None:
    """Read these rows; None where something of it is not in the store, or not yet known to be on the disk."""
    keys, diff_ids, names = set(keys), set(diff_ids), set(names)
    ((form,),) = query("PRAGMA user_version", ())
    records = _several(query, "SELECT key, diff_id, seal FROM records WHERE key IN ({})", keys)
    layers = _several(query, "SELECT diff_id, absent FROM layers WHERE boot IS NULL AND diff_id IN ({})", diff_ids)
    called = _several(query, _NAMES, names)
    there = query("SELECT 1 FROM configs WHERE digest = ?", (image,))
    if not there or [len(keys), len(diff_ids), len(names)] != [len(records), len(layers), len(called)]:
        return None
    homes = []
    for diff_id, absent in layers:
        if not absent:
            found = os.lstat(f"{root}/layers/{diff_id.removeprefix('sha256:')}")
            homes.append((found.st_mtime_ns, found.st_ino))
    return Rows(form, records, layers, homes, called, image)


def would_answer(root: str, rows: Rows) -> bool:
    """Tell whether the store at `root` holds these rows as they are, and note that their layers are used.

    It does not where that cannot be told at once, since another process writes.
    """
    path = f"{root}/state.db"
    if not os.path.isfile(path) or os.path.lexists(f"{root}/failed"):  # which a build that went well removes
        return False
    diff_ids = [diff_id for diff_id, *_ in rows.layers]
    try:
        connection = _sqlite3.connect(path, timeout=0, isolation_level=None)
        try:

            def query(sql: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
                return connection.execute(sql, parameters).fetchall()

            query("BEGIN", ())
            keys, names = (key for key, *_ in rows.records), (name for name, *_ in rows.names)
            found = read_rows(root, query, keys, diff_ids, names, rows.image)
            used = _several(query, "SELECT min(used) FROM layers WHERE diff_id IN ({})", set(diff_ids))
            query("COMMIT", ())
            now = time.time_ns()
            if found == rows and any(one < now - _FRESH for (one,) in used):
                query("PRAGMA synchronous=NORMAL", ())
                _several(query, f"UPDATE layers SET used = max(used, {now}) WHERE diff_id IN ({{}})", set(diff_ids))
        finally:
            connection.close()
    except (_sqlite3.Error, OSError):
        return False
    return found == rows


def _several(query: Query, sql: str, values: set[str]) -> list[tuple[Any, ...]]:
    """Execute a statement for many values, a few hundred at a time; its rows in their order."""
    ordered = sorted(values)
    found: list[tuple[Any, ...]] = []
    for start in range(0, len(ordered), _SQLITE_VARIABLES):
        some = ordered[start : start + _SQLITE_VARIABLES]
        found += query(sql.format(",".join("?" * len(some))), some)
    return sorted(found, key=str)
