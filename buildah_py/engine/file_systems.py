"""The file systems that layers of a store make together, and the beginnings of new layers on them."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.linux.identity import has_single_id, uses_userxattr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.view import MergedView
    from buildah_py.layers.writer import LayerWriter
    from buildah_py.store import Store


class RootAttributes(NamedTuple):
    """Mode, owner and group of `/`."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class FileSystems:
    """Those of a `store`, shared by the threads of a build.

    `owners` says whether files and processes can have other owners than root here, `userxattr` which form of overlays
    this process can mount.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._views: dict[tuple[tuple[str, ...], tuple[Stamps, ...]], MergedView] = {}
        self._roots: dict[tuple[str, ...], RootAttributes] = {}
        self._lock = threading.Lock()
        self.userxattr = uses_userxattr()
        self.owners = not has_single_id()

    def view(self, layers: tuple[str, ...], stamps: tuple[Stamps, ...] = ()) -> MergedView:
        """Return the merged file system of layers, to be looked at without mounting; `stamps` as in a Result."""
        with self._lock:
            if (layers, stamps) not in self._views:
                self._views[layers, stamps] = self.store.view(layers, stamps)
            return self._views[layers, stamps]

    def make_root(self, path: str, layers: Sequence[str]) -> RootAttributes:
        """Make the directory `path` with the attributes of the root of `layers`, and give these."""
        from buildah_py.layers.ondisk import set_mode

        self.store.need(layers)
        root = self._root(tuple(layers))
        os.mkdir(path)
        if self.owners:
            from buildah_py.layers.owner import give

            give(path, root.uid, root.gid, "/")
        set_mode(path, root.mode)
        return root

    def _root(self, layers: tuple[str, ...]) -> RootAttributes:
        """Return what `/` of `layers` is like: as the top-most says that says anything of it."""
        if layers not in self._roots:
            below = self._roots.get(layers[:-1])
            rows = self.store.layers.several(layers if below is None else layers[-1:])
            said = next((row.root for diff_id in reversed(layers) if (row := rows.get(diff_id)) and row.root), None)
            self._roots[layers] = RootAttributes(*said) if said else below or RootAttributes()
        return self._roots[layers]

    def writer(self, path: str) -> LayerWriter:
        """Give what writes a layer into the empty directory `path`, in the form that overlays of this process take."""
        from buildah_py.layers.writer import LayerWriter

        return LayerWriter(path, userxattr=self.userxattr, owners=self.owners, devices=False)
