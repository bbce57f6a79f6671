"""A tree without some of its paths, and whatever lies below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.layers.entry import FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree


class WithoutPaths:
    """A tree in which `paths`, clean ones, do not exist. Of hard links to a file there, each is a file of its own."""

    def __init__(self, tree: Tree, paths: Sequence[str]) -> None:
        self._tree = tree
        self._paths = tuple(paths)
        self.digest = tree.digest
        self.open = tree.open

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`."""
        if is_below(path, self._paths):
            return None
        found = self._tree.entry(path)
        if found is not None and found.kind == FILE and found.link and is_below(found.link, self._paths):
            return found._replace(link="")
        return found

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`."""
        prefix = f"{path}/" if path else ""
        return [name for name in self._tree.names(path) if not is_below(prefix + name, self._paths)]


def is_below(path: str, paths: Sequence[str]) -> bool:
    """Whether a path is one of `paths`, or lies below one."""
    return any(path == one or path.startswith(f"{one}/") for one in paths)
