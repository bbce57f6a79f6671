"""A layer that is only thought of: what it would hold, without its bytes."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from buildah_py.layers import xattrs as attributes
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK, Entry
from buildah_py.layers.files import read_pieces
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.meter import NOTHING

if TYPE_CHECKING:
    from buildah_py.layers.xattrs import Xattrs
    from buildah_py.meter import Meter


class LayerList:
    """Sink that keeps the entries alone. Files whose digest is known are not read."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

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
        """Note a directory."""
        kept = attributes.kept(xattrs)
        self._add(Entry(path, DIR, mode, uid, gid, 0, "", "", (0, 0), kept, mtime, implied=implied))

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
        moved: Meter = NOTHING,
    ) -> Entry:
        """Note a regular file, which is read for its digest. Raises EOFError where it gets shorter meanwhile."""
        size = len(source) if isinstance(source, bytes) else os.fstat(source).st_size
        hashed = hashlib.sha256()
        for piece in moved.counted([source] if isinstance(source, bytes) else read_pieces(source, size)):
            hashed.update(piece)
        digest = f"sha256:{hashed.hexdigest()}"
        return self._add(Entry(path, FILE, mode, uid, gid, size, digest, "", (0, 0), attributes.kept(xattrs), mtime))

    def add_small_file(self, entry: Entry, data: bytes) -> None:  # noqa: ARG002
        """Note a regular file."""
        self.reuse(entry)

    def reuse(self, entry: Entry) -> bool:
        """Note a regular file that `entry` tells all about."""
        self._add(entry._replace(xattrs=attributes.kept(entry.xattrs)) if entry.xattrs else entry)
        return True

    def add_symlink(self, path: str, target: str, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """Note a symbolic link."""
        self._add(Entry(path, SYMLINK, 0o777, uid, gid, 0, "", target, (0, 0), (), mtime))

    def add_hardlink(self, path: str, target: str) -> None:
        """Note another name of a file."""
        first = self._entries[target]
        self._add(Entry(path, HARDLINK, first.mode, first.uid, first.gid, link=target, mtime=first.mtime))

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
        """Note a fifo or device node."""
        self._add(Entry(path, kind, mode, uid, gid, 0, "", "", device, (), mtime))
        return True

    def finish(self) -> Captured:
        """Return the layer, which has no digest."""
        return Captured(Inventory(self._entries.values()), "", 0)

    def _add(self, entry: Entry) -> Entry:
        self._entries[entry.path] = entry
        return entry
