"""The trees of layers that are kept as their tars, made when something has to look at their files.

A layer that is a patch of another layer's tar need not have a tree of its own: a directory `delta` of what differs,
laid over the other layer's tree, shows the same. Trees that can be made again of a tar are no loss.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError, StoreError
from buildah_py.store.disk_usage import remove_tree
from buildah_py.store.layers import DELTA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.packed import Delta
    from buildah_py.layers.view import MergedView
    from buildah_py.store.layers import Layers


class Trees:
    """The directories that hold the files of a store's layers; the functions are the store's."""

    def __init__(
        self,
        layers: Layers,
        *,
        stage: Callable[[], str],
        lock: Callable[[str], AbstractContextManager[object]],
        view: Callable[[Sequence[str]], MergedView],
    ) -> None:
        self.layers = layers
        self.stage = stage
        self.view = view
        self._lock = lock
        self._known: dict[str, tuple[str, frozenset[str] | None, str]] = {}

    def whole(self, diff_id: str, below: Sequence[str] = ()) -> str:
        """Return the directory with all files of a layer, which lies on the layers `below`."""
        fs = self.layers.fs(diff_id)
        if not os.path.isdir(fs):
            self._make(diff_id, fs, None, below)
        return fs

    def over(self, diff_id: str, below: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the directories, top-most first, that show a layer above the layers `below` (lowest first).

        With them, what of the lower directory is not the layer's, where nothing of `below` has these paths.
        """
        fs = self.layers.fs(diff_id)
        if os.path.isdir(fs):  # as nearly all are: a step on many layers looks at each of them
            return (fs,), ()
        patch = _patch(self.layers, diff_id)
        if patch is None:
            return (self.whole(diff_id, below),), ()
        delta, base = patch
        if delta.gone and below:
            view = self.view(below)
            if any(view.entry(path) is not None for path in delta.gone):  # which the layer does not hide
                return (self.whole(diff_id, below),), ()
        return (self._delta_directory(diff_id, delta, below), self.whole(base, below)), delta.gone

    def of_file(self, diff_id: str, path: str) -> str:
        """Return the directory that holds the file `path` of a layer."""
        if diff_id not in self._known:
            patch = self._patch(diff_id)
            if patch is None:
                self._known[diff_id] = (self.whole(diff_id), None, "")
            else:
                delta, base = patch
                own = frozenset(delta.own)
                self._known[diff_id] = (self._delta_directory(diff_id, delta), own, self.whole(base))
        top, held, other = self._known[diff_id]
        return top if held is None or path in held else other

    def _patch(self, diff_id: str) -> tuple[Delta, str] | None:
        """How a layer differs from its base, with the base; None for one that has, or needs, a whole tree."""
        return None if os.path.isdir(self.layers.fs(diff_id)) else _patch(self.layers, diff_id)

    def _delta_directory(self, diff_id: str, delta: Delta, below: Sequence[str] = ()) -> str:
        path = os.path.join(self.layers.home(diff_id), DELTA)
        if not os.path.isdir(path):
            self._make(diff_id, path, delta, below)
        return path

    def _make(self, diff_id: str, path: str, delta: Delta | None, below: Sequence[str]) -> None:
        """Make a tree of a layer's tar, or of what differs; another process may do the same."""
        from buildah_py.layers.spread import entries_of, spread, spread_delta
        from buildah_py.layers.writer import LayerWriter
        from buildah_py.linux.identity import has_single_id, uses_userxattr

        layers = self.layers
        with self._lock(f"tree {diff_id}"):
            if os.path.isdir(path):
                return
            inventory = layers.inventories.get(diff_id)
            staged = os.path.join(self.stage(), "fs")
            os.mkdir(staged)
            owners = not has_single_id()
            packed = layers.packed(diff_id)
            if packed is None:
                raise StoreError(
                    f"the files of layer {diff_id} are missing",
                    hint="`pybuild fsck --repair` drops it; then build again",
                )
            with packed, LayerWriter(staged, userxattr=uses_userxattr(), digest=False, owners=owners) as writer:
                try:
                    if delta is None:
                        spread(packed, inventory, writer, diff_id)
                    else:
                        spread_delta(packed, inventory, writer, entries_of(delta, inventory))
                except ArchiveError as error:
                    error.hint = error.hint or "`pybuild fsck --repair` drops it; the next build makes it again"
                    raise
                writer.finish()
            self._give_root(staged, below, owners=owners)
            layers.grow(diff_id, staged, path)

    def _give_root(self, path: str, below: Sequence[str], *, owners: bool) -> None:
        """Give a tree the root of the layers that it was first asked for on: it shows where nothing lies above it."""
        rows = self.layers.several(below)
        root = next((row.root for one in reversed(below) if (row := rows.get(one)) is not None and row.root), None)
        if root is not None:
            mode, uid, gid = root
            from buildah_py.layers.ondisk import set_mode

            if owners:
                from buildah_py.layers.owner import give

                give(path, uid, gid, "/")
            set_mode(path, mode)


def _patch(layers: Layers, diff_id: str) -> tuple[Delta, str] | None:
    packed = layers.packed(diff_id)
    if packed is None:
        return None
    with packed:
        return None if packed.delta is None else (packed.delta, packed.base)


def made(layers: Layers, diff_id: str) -> Iterator[tuple[Inventory, str]]:
    """Yield the trees that a layer has, each after the inventory of what it should hold."""
    from buildah_py.layers.spread import entries_of

    fs, delta = layers.fs(diff_id), os.path.join(layers.home(diff_id), DELTA)
    if os.path.isdir(fs):
        yield layers.inventories.get(diff_id), fs
    if os.path.isdir(delta) and (found := _patch(layers, diff_id)) is not None:
        yield entries_of(found[0], layers.inventories.get(diff_id)), delta


def can_be_made(layers: Layers, diff_id: str) -> bool:
    """Whether the layer is kept as its tar, so that its trees are no loss."""
    try:
        packed = layers.packed(diff_id)
    except ArchiveError:
        return False
    if packed is None:
        return False
    packed.close()
    return True


def remove_made(layers: Layers, diff_id: str) -> None:
    """Remove the trees of a layer that is kept as its tar."""
    home = layers.home(diff_id)
    for name in ("fs", DELTA):
        path = os.path.join(home, name)
        if os.path.isdir(path):
            trash = f"{home}.{time.time_ns()}.removed"
            os.rename(path, trash)
            remove_tree(trash)
