"""One entry of a layer: everything about a path that an image can hold."""

from __future__ import annotations

from typing import Final, NamedTuple

FILE: Final = "file"
DIR: Final = "dir"
SYMLINK: Final = "symlink"
HARDLINK: Final = "hardlink"
FIFO: Final = "fifo"
CHAR: Final = "char"
BLOCK: Final = "block"
WHITEOUT: Final = "whiteout"
SECOND: Final = 1_000_000_000
"""Of the nanoseconds that times are counted in."""


class Entry(NamedTuple):
    """A path of a tree and what it is.

    `path` is relative to the root, without a leading slash, `""` for the root itself; bytes that are not UTF-8 are kept
    as surrogate escapes. `mode` holds the twelve permission bits, `size` bytes of a file, `digest` a file's
    `sha256:<hex>` (`""` while unknown), `link` a symlink's target or the first path of a hard link, `device` a node's
    (major, minor), `xattrs` sorted (name, value) pairs without overlay's own, `mtime` nanoseconds since 1970.

    A merged view gives a hard link as a FILE whose `link` is another path of the same file, and says in `stamp` what
    the mtime is: see `layers.stamps`. An inventory does not know that.

    Two flags concern directories of layers alone. `opaque`: nothing of the layers below shows through. `implied`: the
    layer does not say what the directory is like, it only has something inside; a layer below decides.
    """

    path: str
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    digest: str = ""
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    mtime: int = 0
    opaque: bool = False
    implied: bool = False
    stamp: str = ""


def sort_key(path: str) -> bytes:
    """Order paths component by component as bytes: a directory stands before what it holds, on every machine."""
    return path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")
