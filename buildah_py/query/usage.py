"""Use of the disk by the state: images with what they share, the cache, and everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.store.collect import measure
from buildah_py.store.names import familiar_name, readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.store import Store
    from buildah_py.store.cache_mounts import CacheMount
    from buildah_py.store.collect import StoreUsage


class ImageUsage(NamedTuple):
    """Bytes of the disk that an image's layers take: `shared` with other images, or its own (`private`).

    `used` is its last use, in nanoseconds since 1970.
    """

    id: str
    names: tuple[str, ...]
    layers: int
    disk: int
    shared: int
    private: int
    used: int


class DiskUsage(NamedTuple):
    """`cache` are the bytes of the `cached` layers that no image holds, and of blobs that can be made again.

    `pybuild prune --cache --all` would free them; without `--all` what the builds of named images need stays.
    """

    images: list[ImageUsage]
    cached: int
    cache: int
    cache_mounts: list[CacheMount]
    parts: StoreUsage
    free: int


def report_usage(store: Store, warn: Callable[[str], object]) -> DiskUsage:
    """See what takes how much. A layer counts once, however many images hold it.

    `warn` is told of an image that cannot be read.
    """
    import os

    disk = store.layers.measure()
    made = 0
    for blob in store.blobs.all():
        if blob.compressor:
            made += blob.size
        else:
            disk[blob.diff_id] = disk.get(blob.diff_id, 0) + blob.size
    used = {layer.diff_id: layer.used for layer in store.layers.all()}
    stored = list(readable(store.images.all(), warn))
    layers = {image.id: config.diff_ids for image, config in stored}
    holders: dict[str, int] = {}
    for diff_ids in layers.values():
        for diff_id in set(diff_ids):
            holders[diff_id] = holders.get(diff_id, 0) + 1
    images = []
    for image, _ in stored:
        own = set(layers[image.id])
        shared = sum(disk.get(one, 0) for one in own if holders[one] > 1)
        private = sum(disk.get(one, 0) for one in own if holders[one] == 1)
        images.append(
            ImageUsage(
                image.id,
                tuple(map(familiar_name, image.names)),
                len(layers[image.id]),
                shared + private,
                shared,
                private,
                max([image.created, *(used.get(one, 0) for one in layers[image.id][-1:])]),
            )
        )
    loose = [diff_id for diff_id in disk if diff_id not in holders]
    status = os.statvfs(store.root)
    return DiskUsage(
        images,
        len(loose),
        sum(disk[diff_id] for diff_id in loose) + made,
        store.cache_mounts.all(),
        measure(store),
        status.f_bavail * status.f_frsize,
    )
