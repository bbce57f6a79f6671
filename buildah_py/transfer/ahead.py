"""Compressing a build's layers while its later steps still run, where an output will want them compressed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from buildah_py import meter
from buildah_py.image.media_types import UNCOMPRESSED
from buildah_py.transfer.layer_blobs import LayerBlobs, form_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from buildah_py.outputs.spec import Output
    from buildah_py.store import Store
    from buildah_py.transfer.layer_blobs import Form

_COMPRESSED = frozenset({"oci", "docker", "image"})


class Ahead:
    """Compresses layers as they become known, one after the other, in a thread that the first of them starts.

    A layer that is in the store in the form that is wanted, or that is not here at all, costs a look into the database.
    Errors are left to the output, which will come across them again.
    """

    def __init__(self, store: Store, outputs: Iterable[Output]) -> None:
        self._store = store
        self._blobs = [LayerBlobs(store, form) for form in _wanted_forms(outputs)]
        self._seen: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def take(self, diff_ids: Sequence[str]) -> None:
        """Have layers of the image compressed. Called from several threads."""
        with self._lock:
            new = [one for one in diff_ids if one not in self._seen]
            self._seen.update(new)
        for diff_id in new:
            for blobs in self._blobs:
                if blobs.descriptor(diff_id) is None and not self._store.layers.missing([diff_id]):
                    self._submit(blobs, diff_id)

    def finish(self) -> None:
        """Wait until all is done that was begun."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def stop(self) -> None:
        """Leave off at once."""
        self._stopped = True
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _submit(self, blobs: LayerBlobs, diff_id: str) -> None:
        with self._lock:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")
            self._pool.submit(meter.carried(self._compress), blobs, diff_id)

    def _compress(self, blobs: LayerBlobs, diff_id: str) -> None:
        for _ in blobs.make([blobs.source(diff_id)], lambda: self._stopped):
            pass


def _wanted_forms(outputs: Iterable[Output]) -> list[Form]:
    """Give the compressed forms that outputs will ask for."""
    found = [
        form_of(output)
        for output in outputs
        if output.type in _COMPRESSED and (output.push or output.type != "image") and not output.rewrite_timestamp
    ]
    return list(dict.fromkeys(form for form in found if form.compression != UNCOMPRESSED))
