"""The merged view of a chain of layers, answered from their inventories: nothing is mounted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR, FILE, HARDLINK, WHITEOUT, Entry, sort_key
from buildah_py.layers.stamps import NO_STAMPS
from buildah_py.layers.tree import SourceTree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.stamps import Stamps

_ROOT: Final = Entry("", DIR, 0o755)


class LayerTree:
    """One layer: the directory with its files in overlay form, and its inventory, loaded when it is asked for.

    Where not all of its files are in one directory, `fs` gives the one that a file is in, by its path in the layer.
    `stamps` tells which of its times are not content.
    """

    __slots__ = ("_fs", "_inventory", "_load", "_stamps")

    def __init__(
        self,
        fs: str | Callable[[str], str],
        inventory: Inventory | Callable[[], Inventory],
        stamps: Stamps = NO_STAMPS,
    ) -> None:
        self._fs = fs
        self._stamps = stamps if stamps != NO_STAMPS else None
        if callable(inventory):
            self._load: Callable[[], Inventory] | None = inventory
            self._inventory: Inventory | None = None
        else:
            self._load = None
            self._inventory = inventory

    def fs(self, path: str) -> str:
        """Return the directory that holds the file `path`."""
        return self._fs if isinstance(self._fs, str) else self._fs(path)

    @property
    def inventory(self) -> Inventory:
        """Entries of the layer."""
        if self._inventory is None:
            assert self._load is not None
            self._inventory = self._load()
        return self._inventory

    def get(self, path: str) -> Entry | None:
        """Return the layer's own entry at `path` with the meaning of its time."""
        entry = self.inventory.get(path)
        if entry is None or self._stamps is None:
            return entry
        stamp = self._stamps.of(entry.mtime)
        return entry._replace(stamp=stamp) if stamp else entry


class _Found(NamedTuple):
    """The entry that shows, the index of its layer, and for a directory the layers that make it up."""

    entry: Entry
    layer: int
    merged: tuple[int, ...] = ()


class MergedView(SourceTree):
    """The Tree of a chain of layers, top-most first.

    A hard link is given as what lstat would show, a file; its `link` names the first of that file's paths that this
    view shows, "" for that one itself, so that a copy can link them again.
    """

    def __init__(self, layers: Sequence[LayerTree]) -> None:
        self._layers = tuple(layers)
        self._directories: dict[str, _Found | None] = {}
        self._leaders: dict[tuple[int, str], str] = {}

    def entry(self, path: str) -> Entry | None:
        """Return what `path` is, or None."""
        found = self._find(path)
        if found is None:
            return None
        entry = found.entry
        return self._linked(found) if entry.kind == HARDLINK else entry

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`. Raises NotFound if it is not one."""
        found = self._directory(path)
        if found is None:
            raise NotFound(f"/{path} is not a directory in the image")
        if len(found.merged) == 1:
            inventory = self._layers[found.merged[0]].inventory
            prefix = f"{path}/" if path else ""
            names = inventory.names(path)
            return [name for name in names if not _is_whiteout(inventory.get(prefix + name))]
        shown: dict[str, bool] = {}
        prefix = f"{path}/" if path else ""
        for layer in found.merged:
            inventory = self._layers[layer].inventory
            for name in inventory.names(path):
                if name not in shown:
                    shown[name] = not _is_whiteout(inventory.get(prefix + name))
        return sorted((name for name, shows in shown.items() if shows), key=sort_key)

    def digest(self, path: str) -> str:
        """Return the `sha256:<hex>` of the regular file `path`. Raises NotFound if it is not one."""
        entry = self.entry(path)
        if entry is None or entry.kind != FILE:
            raise NotFound(f"/{path} is not a regular file in the image")
        return entry.digest

    def open(self, path: str) -> int:
        """Open the regular file `path` for reading. Raises NotFound if it is not one."""
        return _open(self.fs_of_file(path), path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)

    def reader(self) -> ViewReader:
        """Return something that opens many files, best in the order of their directories; the caller closes it."""
        return ViewReader(self)

    def fs_of_file(self, path: str) -> str:
        """Return the directory of the layer that the regular file `path` is in. Raises NotFound if it is not one."""
        where = self._find(path)
        entry = None if where is None else where.entry
        if entry is not None and entry.kind == HARDLINK:
            entry = self.entry(path)
        if entry is None or where is None or entry.kind != FILE:
            raise NotFound(f"/{path} is not a regular file in the image")
        return self._layers[where.layer].fs(path)

    def _linked(self, found: _Found) -> Entry:
        entry, layer = found.entry, found.layer
        first = self._layers[layer].get(entry.link)
        if first is None:
            raise NotFound(f"/{entry.path} is a hard link to /{entry.link}, which is not in its layer")
        if first.kind != FILE:
            return first._replace(path=entry.path)
        leader = self._leader(layer, entry.link)
        return first._replace(path=entry.path, link="" if leader == entry.path else leader)

    def _leader(self, layer: int, first: str) -> str:
        """Return the first of a file's names that this view shows, for another layer may hide some."""
        known = self._leaders.get((layer, first))
        if known is None:
            inventory = self._layers[layer].inventory
            for path in (first, *inventory.links(first)):
                shown = self._find(path)
                if shown is not None and shown.layer == layer:
                    known = path
                    break
            assert known is not None
            self._leaders[layer, first] = known
        return known

    def _find(self, path: str) -> _Found | None:
        if path in self._directories:
            return self._directories[path]
        if not path:
            return self._directory("")
        parent = self._directory(path.rpartition("/")[0])
        return None if parent is None else self._look(path, parent.merged)

    def _directory(self, path: str) -> _Found | None:
        """Find a directory; a stack of our own, for a path may be deeper than the interpreter's."""
        known = self._directories
        todo = [path]
        while todo:
            at = todo[-1]
            if at in known:
                todo.pop()
            elif not at:
                known[at] = self._look(at, tuple(range(len(self._layers))))
            elif (parent := at.rpartition("/")[0]) not in known:
                todo.append(parent)
            else:
                above = known[parent]
                found = None if above is None else self._look(at, above.merged)
                known[at] = found if found is not None and found.entry.kind == DIR else None
                todo.pop()
                if known[at] is None and found is not None:
                    del known[at]  # it is something, only no directory
                    return None
        return known[path]

    def _look(self, path: str, layers: tuple[int, ...]) -> _Found | None:
        shown: Entry | None = None
        first = -1
        merged: list[int] = []
        for layer in layers:
            entry = self._layers[layer].get(path)
            if entry is None:
                if not path:  # every layer has a root, whether its inventory says something of it or not
                    merged.append(layer)
                continue
            if entry.kind == WHITEOUT:
                break
            if entry.kind != DIR:
                if shown is None:
                    return _Found(entry, layer)
                break
            if shown is None or (shown.implied and not entry.implied):
                shown = entry
            if first < 0:
                first = layer
            merged.append(layer)
            if entry.opaque:
                break
        if shown is None:
            if path:
                return None
            shown = _ROOT
        return _Found(shown, max(first, 0), tuple(merged))


class ViewReader:
    """Opens files of a view one after the other, keeping the directory of the last one open."""

    def __init__(self, view: MergedView) -> None:
        self._view = view
        self._at: tuple[str, str] | None = None
        self._directory = -1

    def open(self, path: str) -> int:
        """Open the regular file `path` for reading; the caller closes it."""
        folder, _, name = path.rpartition("/")
        fs = self._view.fs_of_file(path)
        if (fs, folder) != self._at:
            self.close()
            self._directory = _open(fs, folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            self._at = (fs, folder)
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._directory)

    def read(self, path: str, size: int) -> bytes:
        """Return the bytes of the regular file `path`, which should be `size`; one more where it is longer."""
        descriptor = self.open(path)
        try:
            return os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close the directory."""
        if self._directory >= 0:
            os.close(self._directory)
        self._directory, self._at = -1, None


def _open(fs: str, path: str, flags: int) -> int:
    from buildah_py.linux import paths

    root = os.open(fs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_NO_MAGICLINKS
        return paths.openat2(root, path, flags, resolve=inside)
    finally:
        os.close(root)


def _is_whiteout(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == WHITEOUT
