"""What keys led to: looking it up, and keeping it with its ingredients so that a miss can be explained."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildah_py.cache.keys import KEY_VERSION, canonical_json, step_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.store import Store, StoredRecord


@dataclass(frozen=True, slots=True)
class Record:
    """A step that was executed: its ingredients (parent chain, canonical step, digests of inputs) and its result.

    `created` is when the layer was first made, in nanoseconds since 1970; `seconds` what it took to make it.
    """

    key: str
    parent: str
    canonical: Mapping[str, object]
    inputs: Mapping[str, str]
    layer_digest: str
    diff_id: str
    created: int
    seconds: float


class Cache:
    """The records of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def lookup(self, key: str) -> Record | None:
        """The record of `key`, or None where no layer is known for it."""
        found = self._store.records.get(key)
        return _record(found) if found else None

    def keep(
        self,
        parent: str,
        canonical: Mapping[str, object],
        inputs: Mapping[str, str],
        diff_id: str,
        layer_digest: str,
        seconds: float,
    ) -> Record:
        """Say what a step led to. Its layer must be in the store."""
        key = step_key(parent, canonical, inputs)
        data = {
            "version": KEY_VERSION,
            "parent": parent,
            "step": canonical,
            "inputs": inputs,
            "layer": layer_digest,
            "seconds": seconds,
        }
        self._store.records.put(key, diff_id, canonical_json(data))
        record = self.lookup(key)
        assert record is not None
        return record


def _record(row: StoredRecord) -> Record:
    data = json.loads(row.data)
    return Record(
        key=row.key,
        parent=data["parent"],
        canonical=data["step"],
        inputs=data["inputs"],
        layer_digest=data["layer"],
        diff_id=row.diff_id,
        created=row.layer_created,
        seconds=data["seconds"],
    )
