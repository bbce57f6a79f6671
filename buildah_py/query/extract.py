"""Taking files out of images: to the standard output, or into a directory of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, OutputError, UsageError
from buildah_py.layers.entry import DIR, FILE, Entry
from buildah_py.query.image import find_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.layers.tree import Tree
    from buildah_py.layers.view import MergedView

_PIECE = 1 << 20


class Part:
    """The tree that holds nothing but what is at `path` of another, called `name`; without a name, what is in there."""

    def __init__(self, tree: Tree, path: str, name: str = "") -> None:
        self._tree = tree
        self._path = path
        self._name = name

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`."""
        if not path and self._name:
            return Entry("", DIR, 0o755)
        there = self._there(path)
        found = self._tree.entry(there) if there is not None else None
        if found is None:
            return None
        link = found.link
        if found.kind == FILE and link:  # its first path: where that is not in this part, this is a file of its own
            prefix = f"{self._path}/" if self._path else ""
            link = self._here(link) if link.startswith(prefix) else ""
        return found._replace(path=path, link=link)

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`."""
        if not path and self._name:
            return [self._name]
        there = self._there(path)
        if there is None:
            raise NotFound(f"/{path} is not a directory")
        return self._tree.names(there)

    def digest(self, path: str) -> str:
        """Return the digest of a file."""
        return self._tree.digest(self._there(path) or "")

    def open(self, path: str) -> int:
        """Open a file for reading."""
        return self._tree.open(self._there(path) or "")

    def _there(self, path: str) -> str | None:
        rest = path
        if self._name:
            first, _, rest = path.partition("/")
            if first != self._name:
                return None
        return "/".join(part for part in (self._path, rest) if part)

    def _here(self, there: str) -> str:
        rest = there[len(self._path) :].lstrip("/")
        return "/".join(part for part in (self._name, rest) if part)


def write_file(view: MergedView, path: str, out: int) -> None:
    """Write the bytes of a regular file to a descriptor. Raises NotFound, UsageError for anything else."""
    clean, entry = find_path(view, path)
    if entry.kind != FILE:
        raise UsageError(
            f"{path} is not a regular file but a {entry.kind}",
            hint="`pybuild cp` copies directories" if entry.kind == DIR else "",
        )
    descriptor = view.open(clean)
    try:
        while data := os.read(descriptor, _PIECE):
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(out, rest) :]
    finally:
        os.close(descriptor)


def copy_out(view: MergedView, path: str, dest: str, *, follow: bool = False, warn: Callable[[str], object]) -> None:
    """Copy a file or a directory to `dest`, as `docker cp` does.

    Into `dest` where that is a directory, else in its place; `path/.` stands for what is in the directory. To `-` goes
    a tar. `warn` is told what was left out. Raises NotFound, OutputError.
    """
    inside = path.endswith("/.")
    clean, entry = find_path(view, path, follow_last=follow or inside or path.endswith("/"))
    if (inside or path.endswith("/")) and entry.kind != DIR:
        raise UsageError(f"{path} is not a directory in the image")
    if dest == "-":
        from buildah_py.outputs.tar import write_tar

        write_tar(dest, Part(view, clean, "" if inside or not clean else os.path.basename(clean)))
        return
    from buildah_py.outputs.local import write_local

    into = os.path.isdir(dest)
    if into and (inside or not clean):
        write_local(dest, Part(view, clean), warn=warn)
        return
    if entry.kind == DIR and os.path.lexists(dest) and not into:
        raise OutputError(f"{dest} is there and is not a directory", hint="name a directory")
    if dest.endswith("/") and entry.kind != DIR and not into:
        raise OutputError(f"there is no directory {dest}", hint="make it first, or name another place")
    name = os.path.basename(clean) if into else os.path.basename(dest.rstrip("/"))
    parent = dest if into else os.path.dirname(dest.rstrip("/")) or "."
    if not os.path.isdir(parent):
        raise OutputError(f"there is no directory {parent}", hint="make it first, or name another place")
    write_local(parent, Part(view, clean, name), warn=warn)
