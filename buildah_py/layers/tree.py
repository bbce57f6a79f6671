"""What a read-only file tree can be asked: a build context, the merged view of a chain, an unpacked archive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.entry import Entry


class Tree(Protocol):
    """A file tree. Paths are relative, clean (no `.`, `..`, no doubled or trailing slash), `""` is the root.

    No method follows a symbolic link, neither in the last component nor on the way: a path that goes through one does
    not exist.
    """

    def entry(self, path: str) -> Entry | None:
        """What `path` is, as lstat would say; None where nothing is. A file's digest may still be `""`."""
        ...

    def names(self, path: str) -> Sequence[str]:
        """The sorted names in the directory `path`."""
        ...

    def digest(self, path: str) -> str:
        """The `sha256:<hex>` of the bytes of the regular file `path`."""
        ...

    def open(self, path: str) -> int:
        """A descriptor for reading the regular file `path`; the caller closes it."""
        ...
