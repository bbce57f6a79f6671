"""Whether what a COPY makes is kept as a tar, and which layer's tar that may be a patch of.

A tar costs less to write than a tree of very many files, and a patch of the last build's tar next to nothing. A
container needs a tree: it gets one that was made of the tar, or the other layer's tree with what differs laid over it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import DIR, FILE, SYMLINK, WHITEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.copy.selection import Selection
    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.packer import Base
    from buildah_py.store import Store

MANY = 500
"""Files from which on a tree costs noticeably more than a tar."""
_SMALL = 1 << 17  # bytes of a file on average: large ones are as well written to their place at once
_COMMON = 0.75  # the share of files that a layer has to have in common with another one to be made a patch of it
_KINDS = frozenset({FILE, DIR, SYMLINK})


def can_be_packed(selections: Sequence[Selection]) -> bool:
    """Whether there are many small files, and nothing but what a tar can do without a tree."""
    files = size = 0
    for selection in selections:
        for source in selection.sources:
            for entry in source.entries:
                if entry.kind not in _KINDS:
                    return False
                files += entry.kind == FILE
                size += entry.size
    return files >= MANY and size <= files * _SMALL


def find_base(store: Store, near: str, selections: Sequence[Selection], *, tree: bool) -> Base | None:
    """Give the layer that what is selected may be a patch of, if the layer `near` is like it.

    Raises StoreError or ArchiveError where that one is damaged.

    With `tree`, a container will look at the result: then a layer that is kept as a tree alone is packed first.
    """
    from buildah_py.layers.packer import Base

    row = store.layers.get(near)
    name = row.base or near if row is not None else near
    if not store.layers.use([name]) or store.layers.missing([name]):
        return None
    base = store.layers.get(name)
    if base is None or base.foreign or base.opaque or base.adopted is not None:
        return None
    path = store.layers.tar(name)
    is_packed = os.path.isfile(path)
    if not is_packed and not (tree and os.path.isdir(store.layers.fs(name))):
        return None
    inventory = store.layers.inventory(name)
    if not _is_alike(inventory, selections):
        return None
    if not is_packed:
        _pack(store, name, inventory)
    return Base(name, path, inventory)


def _is_alike(inventory: Inventory, selections: Sequence[Selection]) -> bool:
    known = {entry.digest for entry in inventory if entry.kind == FILE}
    files = common = 0
    for selection in selections:
        for source in selection.sources:
            for entry in source.entries:
                if entry.kind == FILE:
                    files += 1
                    common += entry.digest in known
    return common >= files * _COMMON and not any(entry.kind == WHITEOUT or entry.opaque for entry in inventory)


def _pack(store: Store, name: str, inventory: Inventory) -> None:
    """Write the tar of a layer beside its tree."""
    from buildah_py.layers.tar import pack

    path = os.path.join(store.stage(), "tar")
    with open(path, "xb") as file:
        found = pack(inventory, store.layers.fs(name), file.write)
    if found != name:
        raise ArchiveError(f"a stored layer is damaged: its digest is {found}, and it should be {name}")
    with store.database.transaction():
        os.rename(path, store.layers.tar(name))
        store.layers.has_grown(name)
