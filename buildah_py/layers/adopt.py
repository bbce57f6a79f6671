"""Directories that a layer implies without describing them: they have to be what the layers below say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.layers.create import DIRECTORY, Attributes
from buildah_py.layers.entry import DIR, SYMLINK
from buildah_py.linux.paths import open_beneath

if TYPE_CHECKING:
    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.tree import Tree
    from buildah_py.layers.view import LayerTree


def hidden_links(inventory: Inventory, below: Tree) -> list[str]:
    """Return the symbolic links of the layers below that implied directories would hide.

    An archive with `lib/x` alone, for an image in which /lib is a link to usr/lib, means usr/lib/x. Where this list is
    not empty, the layer has to be unpacked again, with `below`.
    """
    found = []
    for entry in inventory:
        if entry.implied and entry.path and not entry.opaque:
            old = below.entry(entry.path)
            if old is not None and old.kind == SYMLINK:
                found.append(entry.path)
    return found


def adopt_parents(layer: LayerTree, below: Tree, *, owners: bool = True) -> None:
    """Give the implied directories of an unpacked layer the owner, mode, attributes and time that `below` shows.

    overlayfs takes a directory's attributes from the top-most layer that has it, and archives may leave out parents:
    without this, a foreign layer with nothing but `tmp/x` would make /tmp 0755. To be called before the layer is
    mounted, on top of the layers that `below` is the view of; the merged view of inventories needs none of it.
    """
    implied = [entry for entry in layer.inventory if entry.implied and entry.path]
    if not implied:
        return
    root = os.open(layer.fs(""), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attributes = Attributes.of_process(owners=owners)
        for entry in reversed(implied):  # the innermost first: a directory on the way may lose its search permission
            described = below.entry(entry.path)
            if described is None or described.kind != DIR:
                continue
            descriptor = open_beneath(root, entry.path, DIRECTORY)
            try:
                attributes.finish(
                    descriptor,
                    described.mode,
                    described.uid,
                    described.gid,
                    described.mtime,
                    described.xattrs,
                    entry.path,
                )
            finally:
                os.close(descriptor)
    finally:
        os.close(root)
