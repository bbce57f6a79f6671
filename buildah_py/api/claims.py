"""Fetching of layers for steps: what records say of a layer is compared with what it turns out to be.

A record that came from a shared cache names a layer that nobody here has seen. Whatever is built on it has a key that
was made of what the cache said, and is worth nothing if that was not so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.cache.records import drop_lies
from buildah_py.errors import Interrupted, LayersLost, PybuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.store import Origin, Store, StoredBlob


class Claims:
    """Stands for `store.fetch` and, with `blob`, for `store.fetch_blob` while an image is built.

    `more` is told of a layer that cannot be had from where the store says, and may know other places for it.
    """

    def __init__(self, store: Store, more: Callable[[str], object] = lambda _: None) -> None:
        self._store = store
        self._fetch = store.fetch
        self._fetch_blob = store.fetch_blob
        self._more = more
        self.fetched: set[Origin] = set()
        """Where layers that were fetched could be had."""

    def __call__(self, diff_ids: Sequence[str]) -> None:
        """Have layers here. Raises LayersLost that names those that cannot be had, or are not what a record says."""
        missing = self._store.layers.missing(diff_ids)
        self.fetched.update(origin for diff_id in missing for origin in self._store.layers.origins(diff_id))
        try:
            self._fetch(diff_ids)
        except Interrupted:
            raise
        except PybuildError as error:
            self._fetch_each(diff_ids, error)
        lies = [diff_id for diff_id in missing if drop_lies(self._store, diff_id)]
        if lies:
            raise LayersLost(f"the content of layer {lies[0]} is not what a shared cache said of it", lies)

    def blob(self, diff_id: str) -> StoredBlob:
        """The blob of a layer for an output. One that records lead to is unpacked, or nobody would know what it is."""
        if self._store.records.of_layer(diff_id):
            if self._store.layers.missing([diff_id]):
                self([diff_id])
            for blob in self._store.blobs.of(diff_id):
                if not blob.compressor and self._store.blobs.use(blob.digest):
                    return blob
        assert self._fetch_blob is not None
        return self._fetch_blob(diff_id)

    def _fetch_each(self, diff_ids: Sequence[str], first: PybuildError) -> None:
        lost = []
        for place, diff_id in enumerate(diff_ids):
            if not self._store.layers.missing([diff_id]):
                continue
            self._more(diff_id)
            try:
                self._fetch(diff_ids[: place + 1])
            except Interrupted:
                raise
            except PybuildError:
                if self._store.layers.missing([diff_id]):
                    lost.append(diff_id)
        if lost:
            raise LayersLost(first.message, lost, hint=first.hint) from first
