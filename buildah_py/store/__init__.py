"""Durable state: layer trees, the database, locks, leases, garbage collection.

The names are imported when they are asked for: a look at the store (`store.glance`) needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildah_py.store.blobs import StoredBlob
    from buildah_py.store.images import StoredImage
    from buildah_py.store.layers import Origin, StoredLayer
    from buildah_py.store.location import state_root
    from buildah_py.store.records import StoredRecord
    from buildah_py.store.store import LayerProvider, Store

__all__ = ["LayerProvider", "Origin", "Store", "StoredBlob", "StoredImage", "StoredLayer", "StoredRecord", "state_root"]

_PLACES = {
    "LayerProvider": "store",
    "Origin": "layers",
    "Store": "store",
    "StoredBlob": "blobs",
    "StoredImage": "images",
    "StoredLayer": "layers",
    "StoredRecord": "records",
    "state_root": "location",
}


def __getattr__(name: str) -> object:
    """Import what is asked for; PEP 562."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
