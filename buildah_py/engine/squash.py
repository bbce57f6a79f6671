"""Several layers become one: what they hide of each other is gone, what they hide of the layers below stays hidden."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.cache import Made, base_chain, step_key
from buildah_py.cache.ingredients import About, Ingredients
from buildah_py.cache.keys import digest_of
from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK
from buildah_py.layers.stamps import classify, seconds_of
from buildah_py.layers.without import WithoutPaths, is_below
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.cache import Cache
    from buildah_py.engine.file_systems import FileSystems
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.tree import Tree
    from buildah_py.layers.writer import LayerWriter
    from buildah_py.store import Store

_STEP = {"op": "squash"}


def squash(
    file_systems: FileSystems,
    cache: Cache,
    layers: Sequence[str],
    stamps: Sequence[Stamps],
    first: int,
    without: Sequence[str] = (),
) -> Made:
    """Make one layer of those from place `first` on; the one that was made of the same before, if any.

    What they do to paths that are, or lie below, one of `without` is not in it.
    """
    chain, inputs = base_chain(layers[:first]), {"layers": digest_of(list(layers[first:]))}
    step = {**_STEP, "without": list(without)} if without else _STEP
    store = file_systems.store
    known = cache.lookup(step_key(chain, step, inputs))
    if known is not None and store.layers.use([known.diff_id]):
        return known.result
    began = time.monotonic()
    fs = os.path.join(store.stage(), "fs")
    file_systems.make_root(fs, layers)
    with file_systems.writer(fs) as writer:
        entries = _write(writer, file_systems, tuple(layers), tuple(stamps), first, without)
        captured = writer.finish()
    store.layers.add(fs, captured.inventory, captured.diff_id, captured.size)
    seconds = round(time.monotonic() - began, 3)
    ingredients = Ingredients(chain, step, inputs, About(text="squash"))
    times = classify(seconds_of(entries))
    made = Made(captured.diff_id, captured.inventory.content_digest(times), times)
    cache.save(ingredients, made, seconds)
    return made


def touches(store: Store, diff_id: str, paths: Sequence[str]) -> bool:
    """Whether a layer says anything of some paths, or what lies below them."""
    return any(is_below(entry.path, paths) for entry in store.layers.inventories.get(diff_id))


def _write(
    writer: LayerWriter,
    file_systems: FileSystems,
    layers: tuple[str, ...],
    stamps: tuple[Stamps, ...],
    first: int,
    without: Sequence[str],
) -> list[Entry]:
    """Write what the layers from `first` on show, and whiteouts for what they hide, in the order of a tar.

    Gives the former.
    """
    merged, below, full = (
        WithoutPaths(file_systems.view(layers[part], stamps[part]), without)
        for part in (slice(first, None), slice(first), slice(None))
    )
    written: list[Entry] = []
    root = full.entry("")
    assert root is not None
    described = any(_describes_root(file_systems.store, one) for one in layers[first:])
    writer.add_dir("", *_attributes(root), implied=not described)
    for path in _hidden("", full, below):
        writer.add_whiteout(path)
    for entry, before in walk(merged):
        if not before:
            continue
        path = entry.path
        written.append(entry)
        if entry.kind == DIR:
            writer.add_dir(path, *_attributes(entry), implied=entry.implied)
            for hidden in _hidden(path, full, below):
                writer.add_whiteout(hidden)
        elif entry.kind == FILE:
            _copy(writer, merged, entry)
        elif entry.kind == HARDLINK:
            writer.add_hardlink(path, entry.link)
        elif entry.kind == SYMLINK:
            writer.add_symlink(path, entry.link, entry.uid, entry.gid, entry.mtime)
        else:
            writer.add_node(path, entry.kind, entry.mode, entry.uid, entry.gid, entry.device, entry.mtime)
    return written


def _describes_root(store: Store, diff_id: str) -> bool:
    root = store.layers.inventories.get(diff_id).get("")
    return root is not None and not root.implied


def _hidden(path: str, full: Tree, below: Tree) -> list[str]:
    """Return the paths that the layers below have in the directory `path`, and the whole has not."""
    directory = below.entry(path)
    if directory is None or directory.kind != DIR:
        return []
    shown = set(full.names(path))
    prefix = f"{path}/" if path else ""
    return [prefix + name for name in below.names(path) if name not in shown]


def _copy(writer: LayerWriter, tree: Tree, entry: Entry) -> None:
    descriptor = tree.open(entry.path)
    try:
        written = writer.add_file(entry.path, descriptor, *_attributes(entry), size=entry.size)
    except EOFError:
        written = None
    finally:
        os.close(descriptor)
    if written is None or written.digest != entry.digest:
        raise ArchiveError(
            f"a stored layer is damaged: /{entry.path} is not what it was when the layer was made",
            hint="`pybuild fsck --repair` drops the layer; the next build makes it again",
        )


def _attributes(entry: Entry) -> tuple[int, int, int, tuple[tuple[str, bytes], ...], int]:
    return entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime
