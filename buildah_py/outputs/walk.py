"""All entries of a tree, in the order in which they have to be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.layers.entry import DIR, FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree


def walk(tree: Tree) -> Iterator[tuple[Entry, bool]]:
    """Give (entry, True) for each path below the root, parents first, and (entry, False) behind what a directory holds.

    A further path of a file with several is a HARDLINK to its first one. No recursion: trees may be deeper than
    Python's stack.
    """
    stack: list[tuple[Entry | None, str, Iterator[str]]] = [(None, "", iter(tree.names("")))]
    while stack:
        directory, prefix, names = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            if directory is not None:
                yield directory, False
            continue
        path = prefix + name
        entry = tree.entry(path)
        if entry is None:
            continue
        if entry.kind == FILE and entry.link:
            entry = entry._replace(kind=HARDLINK)
        yield entry, True
        if entry.kind == DIR:
            stack.append((entry, path + "/", iter(tree.names(path))))
