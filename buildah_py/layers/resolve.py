"""Follow symbolic links inside a tree, as the kernel would with that tree as its root directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import SourceError
from buildah_py.layers.entry import FILE, SYMLINK

if TYPE_CHECKING:
    from buildah_py.layers.tree import Tree

MAX_LINKS: Final = 255


def resolve(tree: Tree, path: str, *, follow_last: bool = True) -> str:
    """Return the clean path that `path` leads to; no link and no `..` leaves the root.

    From the first component on that does not exist (or that something else than a directory stands in the way of), the
    rest is appended as it is. Without `follow_last`, a link in the last component is returned itself, unless a slash
    follows it. Raises SourceError after 255 links.
    """
    todo = list(reversed(path.split("/")))
    at: list[str] = []
    missing = 0  # how many of the last components of `at` are known not to exist
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del at[-1:]
            missing = max(0, missing - 1)
            continue
        at.append(part)
        if missing:
            missing += 1
            continue
        if not todo and not follow_last:
            break
        entry = tree.entry("/".join(at))
        if entry is None:
            missing = 1
        elif entry.kind == SYMLINK:
            links += 1
            if links > MAX_LINKS:
                raise SourceError(f"{path}: more than {MAX_LINKS} symbolic links", hint="they seem to go in circles")
            if entry.link.startswith("/"):
                at.clear()
            else:
                at.pop()
            todo += reversed(entry.link.split("/"))
    return "/".join(at)


def read(tree: Tree, path: str, limit: int) -> bytes:
    """Return the bytes of the regular file `path`, which no link on the way leads to; SourceError above `limit`."""
    entry = tree.entry(path)
    if entry is None or entry.kind != FILE:
        raise SourceError(f"/{path} is no regular file")
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
