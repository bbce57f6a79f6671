"""Interface to write a layer, in whatever form the store keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Captured
    from buildah_py.layers.xattrs import Xattrs
    from buildah_py.meter import Meter


class LayerSink(Protocol):
    """A layer that is being written: a tree, a tar, a patch of another layer's tar.

    Paths come once each, in the order of the tar. Times in nanoseconds since 1970.
    """

    def add_dir(
        self,
        path: str,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        xattrs: Xattrs = (),
        mtime: int = 0,
        *,
        implied: bool = False,
    ) -> None:
        """Add a directory, `""` for the root; `implied` ones are not in the tar."""
        ...

    def add_file(
        self,
        path: str,
        source: int | bytes,
        mode: int,
        uid: int,
        gid: int,
        xattrs: Xattrs,
        mtime: int,
        *,
        moved: Meter = ...,
    ) -> Entry:
        """Add a regular file of some bytes or an open file, and return its entry with size and digest.

        `moved` counts the bytes. Raises EOFError where the file gets shorter meanwhile.
        """
        ...

    def add_small_file(self, entry: Entry, data: bytes) -> None:
        """Add a regular file of `data`, about which `entry` tells all, its size and digest too."""
        ...

    def reuse(self, entry: Entry) -> bool:
        """Add a regular file without its bytes, where the sink has them; whether it has."""
        ...

    def add_symlink(self, path: str, target: str, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """Add a symbolic link; its target is kept as it is."""
        ...

    def add_hardlink(self, path: str, target: str) -> None:
        """Add another name of the file that was added at `target`."""
        ...

    def add_node(
        self,
        path: str,
        kind: str,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        device: tuple[int, int] = (0, 0),
        mtime: int = 0,
    ) -> bool:
        """Add a fifo or device node; false where it is in the inventory alone. Raises ArchiveError."""
        ...

    def finish(self) -> Captured:
        """Return the layer. Raises StoreError where what it was made from is damaged."""
        ...
