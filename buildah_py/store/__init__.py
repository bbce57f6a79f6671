"""Durable state: layer trees, the database, locks, leases, garbage collection."""

from buildah_py.store.blobs import StoredBlob
from buildah_py.store.images import StoredImage
from buildah_py.store.layers import Origin, StoredLayer
from buildah_py.store.location import state_root
from buildah_py.store.records import StoredRecord
from buildah_py.store.store import LayerProvider, Store

__all__ = ["LayerProvider", "Origin", "Store", "StoredBlob", "StoredImage", "StoredLayer", "StoredRecord", "state_root"]
