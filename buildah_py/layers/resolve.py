"""Follow symbolic links inside a tree, as the kernel would with that tree as its root directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import SourceError
from buildah_py.layers.entry import FILE, SYMLINK
from buildah_py.linux import resolution

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree


def resolve(tree: Tree, path: str, *, follow_last: bool = True) -> str:
    """Return the clean path that `path` leads to; no link and no `..` leaves the root.

    From the first component on that does not exist (or that something else than a directory stands in the way of), the
    rest is appended as it is. Without `follow_last`, a link in the last component is returned itself, unless a slash
    follows it. Raises SourceError after 255 links.
    """
    try:
        names, _ = resolution.resolve(path, lambda at: link_of(tree.entry(at)), follow_last=follow_last)
    except resolution.TooManyLinks:
        raise SourceError(
            f"{path}: more than {resolution.MAX_LINKS} symbolic links", hint="they seem to go in circles"
        ) from None
    return "/".join(names)


def link_of(entry: Entry | None) -> str | None:
    """Give where an entry leads: "" if it is not a symbolic link, None if there is no entry."""
    if entry is None:
        return None
    return entry.link if entry.kind == SYMLINK else ""


def read(tree: Tree, path: str, limit: int) -> bytes:
    """Return the bytes of the regular file `path`, which no link on the way leads to; SourceError above `limit`."""
    entry = tree.entry(path)
    if entry is None or entry.kind != FILE:
        raise SourceError(f"/{path} is not a regular file")
    descriptor = tree.open(path)
    try:
        parts = []
        left = limit + 1
        while left > 0 and (data := os.read(descriptor, min(left, 1 << 20))):
            parts.append(data)
            left -= len(data)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise SourceError(f"/{path} is longer than the {limit} bytes that are read of such a file")
    return b"".join(parts)
