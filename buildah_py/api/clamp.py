"""Images whose files are no younger than SOURCE_DATE_EPOCH: clamped while they are written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.tar import SECOND, pack
from buildah_py.outputs.layer_source import LayerSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.config import ImageConfig
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree
    from buildah_py.outputs.layer_source import Write
    from buildah_py.store import Store


class Clamp(NamedTuple):
    """File times later than `epoch` (seconds since 1970) become that, but not in the image's lowest `base` layers.

    Those come from the base image: they would be stored and sent a second time for nothing. `always` means all outputs,
    not only those that ask for it; with `exact` earlier times become `epoch` too.
    """

    epoch: int
    base: int = 0
    always: bool = False
    exact: bool = False

    def change(self, mtime: int) -> int:
        """What becomes of a time in nanoseconds."""
        return self.epoch * SECOND if self.exact else min(mtime, self.epoch * SECOND)


def clamp_layers(store: Store, config: ImageConfig, clamp: Clamp) -> tuple[ImageConfig, dict[str, LayerSource]]:
    """Give the image with file times clamped: its config, whose diff_ids are others then, and the layers that changed.

    Those are found by their new diff_ids.
    """
    diff_ids = list(config.diff_ids)
    if store.layers.missing(diff_ids[clamp.base :]):
        store.need(diff_ids)
    changed = {}
    for place, stored in enumerate(diff_ids):
        if place >= clamp.base and _changes(store, stored, clamp):
            write_tar = _clamped(store, stored, clamp)
            diff_ids[place] = write_tar(_nowhere)
            changed[diff_ids[place]] = LayerSource(diff_ids[place], write_tar)
    return config.with_diff_ids(diff_ids), changed


def _clamped(store: Store, diff_id: str, clamp: Clamp) -> Callable[[Write], str]:
    def write_tar(write: Write) -> str:
        inventory, fs = store.layers.inventories.get(diff_id), store.trees.whole(diff_id)
        return pack(inventory, fs, write, clamp_mtime=clamp.epoch, exact=clamp.exact)

    return write_tar


class ClampedTree:
    """A tree whose files have clamped times."""

    def __init__(self, tree: Tree, clamp: Clamp) -> None:
        self._tree = tree
        self._clamp = clamp
        self.names = tree.names
        self.digest = tree.digest
        self.open = tree.open

    def entry(self, path: str) -> Entry | None:
        """What `path` is."""
        found = self._tree.entry(path)
        return found._replace(mtime=self._clamp.change(found.mtime)) if found is not None else None


def _changes(store: Store, diff_id: str, clamp: Clamp) -> bool:
    return any(
        clamp.change(entry.mtime) // SECOND != entry.mtime // SECOND for entry in store.layers.inventories.get(diff_id)
    )


def _nowhere(_: object) -> None:
    """Take the bytes of a tar whose digest alone is wanted."""
