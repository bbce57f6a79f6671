"""Layers for steps: what records say of a layer is compared with what it turns out to be.

A record that came from a shared cache names a layer that nobody here has seen. Whatever is built on it has a key that
was made of what the cache said, and is worth nothing if that was not so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from buildah_py.cache.records import drop_lies
from buildah_py.errors import Interrupted, LayersLost, PybuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildah_py.store import LayerProvider, Origin, Store, StoredBlob


class Promises(Protocol):
    """Whoever promised layers to the store."""

    def promise_again(self, store: Store, diff_id: str) -> None:
        """Tell the store all places that are known for a layer which cannot be had from where it says."""
        ...

    def note_fetched(self, origins: Iterable[Origin]) -> None:
        """Take note of the origins of layers that are about to be fetched."""
        ...


class VerifiedProvider:
    """The provider of a store in which an image is built: `inner`'s layers, compared with what records say of them."""

    def __init__(self, inner: LayerProvider, promises: Promises) -> None:
        self._inner = inner
        self._promises = promises

    def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
        """Have layers here. Raises LayersLost that names those that cannot be had, or are not what a record says."""
        missing = store.layers.missing(diff_ids)
        self._promises.note_fetched({origin for diff_id in missing for origin in store.layers.origins(diff_id)})
        try:
            self._inner.ensure(store, diff_ids)
        except Interrupted:
            raise
        except PybuildError as error:
            self._fetch_each(store, diff_ids, error)
        lies = [diff_id for diff_id in missing if drop_lies(store, diff_id)]
        if lies:
            raise LayersLost(f"the content of layer {lies[0]} is not what a shared cache said of it", lies)

    def blob(self, store: Store, diff_id: str) -> StoredBlob:
        """Return the blob of a layer for an output.

        One that records lead to is unpacked, or nobody would know what it is.
        """
        if store.records.of_layer(diff_id):
            if store.layers.missing([diff_id]):
                self.ensure(store, [diff_id])
            for blob in store.blobs.of(diff_id):
                if not blob.compressor and store.blobs.use(blob.digest):
                    return blob
        return self._inner.blob(store, diff_id)

    def close(self) -> None:
        """Close the inner provider."""
        self._inner.close()

    def _fetch_each(self, store: Store, diff_ids: Sequence[str], first: PybuildError) -> None:
        lost = []
        for place, diff_id in enumerate(diff_ids):
            if not store.layers.missing([diff_id]):
                continue
            self._promises.promise_again(store, diff_id)
            try:
                self._inner.ensure(store, diff_ids[: place + 1])
            except Interrupted:
                raise
            except PybuildError:
                if store.layers.missing([diff_id]):
                    lost.append(diff_id)
        if lost:
            raise LayersLost(first.message, lost, hint=first.hint) from first
