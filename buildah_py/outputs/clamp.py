"""Images whose files are no younger than SOURCE_DATE_EPOCH: times are changed while they are written out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.entry import SECOND
from buildah_py.layers.stamps import CLOCK, NO_STAMPS
from buildah_py.outputs.layer_source import LayerSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.config import ImageConfig
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.tree import Tree
    from buildah_py.store import Store


class Clamp(NamedTuple):
    """File times later than `epoch` (seconds since 1970) become that, but not in the image's lowest `base` layers.

    Those come from the base image: they would be stored and sent a second time for nothing. Where `stamps`, one for
    each layer, say that a clock stamped a time, it becomes `epoch` as well if it is earlier: when a step ran must not
    tell. `always` means all outputs, not only those that ask for it; with `exact` all times become `epoch`.
    """

    epoch: int
    base: int = 0
    stamps: tuple[Stamps, ...] = ()
    always: bool = False
    exact: bool = False

    def change(self, mtime: int, stamp: str) -> int:
        """Give what becomes of a time in nanoseconds; `stamp` says what that is."""
        epoch = self.epoch * SECOND
        return epoch if self.exact or stamp == CLOCK else min(mtime, epoch)

    def in_layer(self, place: int) -> Callable[[int], int]:
        """Give what becomes of the times in one of the layers."""
        stamps = self.stamps[place] if self.stamps else NO_STAMPS
        return lambda mtime: self.change(mtime, stamps.of(mtime))


def clamp_layers(store: Store, config: ImageConfig, clamp: Clamp) -> tuple[ImageConfig, dict[str, LayerSource]]:
    """Give the image with file times clamped: its config, whose diff_ids are others then, and the layers that changed.

    Those are found by their new diff_ids.
    """
    diff_ids = list(config.diff_ids)
    if store.layers.missing(diff_ids[clamp.base :]):
        store.need(diff_ids)
    changed = {}
    for place, stored in enumerate(diff_ids):
        if place >= clamp.base and _changes(store, stored, change := clamp.in_layer(place)):
            write_tar = partial(store.write_tar, stored, retime=change)
            diff_ids[place] = write_tar(_nowhere)
            changed[diff_ids[place]] = LayerSource(diff_ids[place], write_tar)
    return config.with_diff_ids(diff_ids), changed


class ClampedTree:
    """A tree whose files have clamped times."""

    def __init__(self, tree: Tree, clamp: Clamp) -> None:
        self._tree = tree
        self._clamp = clamp
        self.names = tree.names
        self.digest = tree.digest
        self.open = tree.open

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`."""
        found = self._tree.entry(path)
        return found._replace(mtime=self._clamp.change(found.mtime, found.stamp)) if found is not None else None


def _changes(store: Store, diff_id: str, change: Callable[[int], int]) -> bool:
    entries = store.layers.inventories.get(diff_id)
    return any(change(entry.mtime) // SECOND != entry.mtime // SECOND for entry in entries)


def _nowhere(_: object) -> None:
    """Take the bytes of a tar whose digest alone is wanted."""
