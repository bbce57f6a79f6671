"""Read-only file trees: a build context, the merged view of a chain, an unpacked archive. Links inside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.errors import SourceError
from buildah_py.layers.entry import FILE, SYMLINK
from buildah_py.linux import resolution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.errors import SourceChanged
    from buildah_py.layers.entry import Entry


class Tree(Protocol):
    """A file tree. Paths are relative, clean (no `.`, `..`, no doubled or trailing slash), `""` is the root.

    No method follows a symbolic link, neither in the last component nor on the way: a path that goes through one does
    not exist.
    """

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, as of lstat; None where nothing is. A file's digest may still be `""`."""
        ...

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`."""
        ...

    def digest(self, path: str) -> str:
        """Return the `sha256:<hex>` of the bytes of the regular file `path`."""
        ...

    def open(self, path: str) -> int:
        """Return a descriptor for reading the regular file `path`; the caller closes it."""
        ...


class HiddenBy(NamedTuple):
    """The line of an ignore file that hides a path: the file's name, the number of the line, the pattern in it."""

    file: str
    line: int
    pattern: str


class FileReader(Protocol):
    """A way to open many files of a tree, best in the order of their directories; the caller closes it."""

    def open(self, path: str) -> int:
        """Return a descriptor for reading the regular file `path`; the caller closes it."""
        ...

    def read(self, path: str, size: int) -> bytes:
        """Return the bytes of the regular file `path`, which should be `size` of them; one more where it is longer."""
        ...

    def close(self) -> None:
        """Close what it keeps open."""
        ...


class FirstReading(NamedTuple):
    """A file that is read for the first time, and what it was like before; the caller closes the descriptor."""

    path: str
    descriptor: int
    status: os.stat_result
    xattrs: tuple[tuple[str, bytes], ...]


class FirstReader(FileReader, Protocol):
    """A reader of files whose digests are not known yet, which has their tree learn them."""

    def begin(self, path: str) -> FirstReading:
        """Open a file whose digest is not known yet."""
        ...

    def end(self, reading: FirstReading, digest: str) -> None:
        """Tell the tree the digest of what was read. Raises SourceChanged where the file changed meanwhile."""
        ...

    def changed(self, path: str) -> SourceChanged:
        """Give the error that says that a file is no longer what it was."""
        ...


class SourceTree(Tree, Protocol):
    """A tree that COPY selects from. Methods that a subclass leaves out suit trees in which all digests are known."""

    def children(self, path: str) -> Sequence[Entry]:
        """Return the entries of the directory `path`, in the order of their names. Raises NotFound if it is not one."""
        prefix = path + "/" if path else ""
        entries = (self.entry(prefix + name) for name in self.names(path))
        return [entry for entry in entries if entry is not None]

    def complete(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return the same entries with all digests; files that are not known are read."""
        return list(entries)

    def link_groups(self) -> Mapping[str, object] | None:
        """Files with several names: the names of one file have equal values. None where entries say so (`link`)."""
        return None

    def hidden_by(self, path: str) -> HiddenBy | None:  # noqa: ARG002
        """Return the line of an ignore file that hides `path`; None where none does, or nothing is there."""
        return None

    def reader(self) -> FileReader:
        """Give what opens many files; the caller closes it."""
        return _OneByOne(self)

    def first_reader(self) -> FirstReader | None:
        """Give what reads files for the first time; None for a tree whose digests are all known."""
        return None


class _OneByOne:
    """A reader that opens each file by its whole path."""

    def __init__(self, tree: Tree) -> None:
        self.open = tree.open

    def read(self, path: str, size: int) -> bytes:
        descriptor = self.open(path)
        try:
            return os.read(descriptor, size + 1)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing is kept open."""


def resolve(tree: Tree, path: str, *, follow_last: bool = True) -> str:
    """Return the clean path that `path` leads to, for the kernel too if the tree's root were its own.

    No link and no `..` leaves the root.

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
