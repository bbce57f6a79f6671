"""The form in which a layer of many small files is kept: a tar, or a patch of another layer's tar.

A tar costs less to write than a tree of very many files, and a patch of the last build's tar next to nothing. A
container needs a tree: it gets one that was made of the tar, or the other layer's tree with what differs laid over it.
"""

from __future__ import annotations

import contextlib
import os
from operator import attrgetter
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError, StoreError
from buildah_py.layers.entry import DIR, FILE, SYMLINK
from buildah_py.layers.inventory import count_files, hides, some_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.pack_file import PatchBase
    from buildah_py.layers.packer import LayerPacker
    from buildah_py.store.store import Store

MANY = 500
"""Files from which on a tree costs noticeably more than a tar."""
_SMALL = 1 << 17  # bytes of a file on average: large ones are as well written to their place at once
_COMMON = 0.75  # the share of files that a layer has to have in common with another one to be made a patch of it
_SOME = 2000  # files that are looked at for that
_KINDS = frozenset({FILE, DIR, SYMLINK})
# Quicker than loops of our own.
_KIND, _SIZE, _DIGEST = attrgetter("kind"), attrgetter("size"), attrgetter("digest")
_FILE = attrgetter("digest", "mtime")


def can_be_packed(copied: Sequence[Sequence[Entry]]) -> bool:
    """Whether what is copied is many small files, and nothing but what a tar can do without a tree."""
    files = size = 0
    for entries in copied:
        kinds = list(map(_KIND, entries))
        if not _KINDS.issuperset(kinds):
            return False
        files += kinds.count(FILE)
        size += sum(map(_SIZE, entries))
    return files >= MANY and size <= files * _SMALL


@contextlib.contextmanager
def pack_into(
    store: Store, staged: str, copied: Sequence[Sequence[Entry]], near: str | None, *, tree: bool
) -> Iterator[LayerPacker | None]:
    """Give what writes a layer of files with these entries as a tar into `staged`; None where a tree is less work.

    It becomes a patch of the layer `near`'s tar if that is like it. With `tree`, a container will look at the result:
    then it is a patch or nothing, and a layer that is kept as a tree alone is packed first to be its base. Raises
    StoreError where that layer is damaged.
    """
    from buildah_py.layers.packer import LayerPacker

    with _find_base(store, near, copied, tree=tree) as base:
        if base is None and tree:
            yield None
            return
        with LayerPacker(staged, base) as packer:
            yield packer


@contextlib.contextmanager
def _find_base(
    store: Store, near: str | None, copied: Sequence[Sequence[Entry]], *, tree: bool
) -> Iterator[PatchBase | None]:
    """Give the layer that what is copied may be a patch of, if the layer `near` is like it; else None."""
    from buildah_py.layers.pack_file import PatchBase, Reading

    row = store.layers.get(near) if near is not None else None
    name = (row.base if row is not None else None) or near
    if name is None or not store.layers.use([name]) or not _can_be_base(store, name, tree=tree):
        yield None
        return
    path = store.layers.tar(name)
    if not os.path.isfile(path):
        if not _is_alike(store.layers.inventories.raw(name), copied):
            yield None
            return
        _pack(store, name)
    with Reading(path) as reading:
        alike = _is_alike(store.layers.inventories.raw(name), copied)
        yield PatchBase(name, path, store.layers.inventories.entries(name), reading) if alike else None


def _can_be_base(store: Store, name: str, *, tree: bool) -> bool:
    row = store.layers.get(name)
    if row is None or row.absent or row.foreign or row.opaque or row.adopted is not None:
        return False
    return os.path.isfile(store.layers.tar(name)) or (tree and os.path.isdir(store.layers.fs(name)))


def _is_alike(inventory: bytes, copied: Sequence[Sequence[Entry]]) -> bool:
    """Whether a layer seems to have most of the files with their times, and nothing that a patch could not have.

    Where a checkout has given all files new times, all headers of the tar are others.
    """
    wanted: set[tuple[str, int]] = set()
    files = 0
    for entries in copied:
        wanted.update(map(_FILE, entries))
        files += sum(map(bool, map(_DIGEST, entries)))
    some = some_files(inventory, _SOME)
    common = sum(map(wanted.__contains__, some)) * count_files(inventory)
    return common >= files * len(some) * _COMMON and not hides(inventory)


def _pack(store: Store, name: str) -> None:
    """Write the tar of a layer beside its tree."""
    from buildah_py.layers.tar import pack

    path = os.path.join(store.stage(), "tar")
    try:
        with open(path, "xb") as file:
            # Read for this alone: together with the entries of the context it would take too much memory.
            found = pack(store.layers.inventories.read(name), store.layers.fs(name), file.write)
    except ArchiveError as error:
        raise StoreError(error.message, hint=error.hint) from error
    if found != name:
        raise StoreError(f"a stored layer is damaged: its digest is {found}, and it should be {name}")
    store.layers.grow(name, path, store.layers.tar(name))
