"""The inventories of a store's layers: a file beside each layer, whose digest the database knows."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Inventory
    from buildah_py.store.database import Database

INVENTORY = "inventory"
"""The name of the file."""


MOST = 64 << 20
"""Bytes of inventories, in the form in which they are kept, that a process remembers; in memory they take more."""
_BYTES_OF_ENTRY = 150


class Inventories:
    """Those of the layers whose directories `home` gives. All that reads raises StoreError for what is damaged.

    Those that were asked for last are remembered, `most` bytes of them.
    """

    def __init__(self, database: Database, home: Callable[[str], str], most: int = MOST) -> None:
        self._database = database
        self._home = home
        self._most = most
        self._known: dict[str, tuple[Inventory, int]] = {}
        self._size = 0
        self._lock = threading.Lock()

    def get(self, diff_id: str) -> Inventory:
        """Return the layer's inventory; it is read once, and no more of it than is asked for."""
        from buildah_py.layers.inventory import Inventory

        with self._lock:
            if (found := self._known.pop(diff_id, None)) is not None:
                self._known[diff_id] = found  # behind all others, which go first
                return found[0]
        data = self.raw(diff_id)
        with self._lock:
            if (found := self._known.get(diff_id)) is not None:  # another thread was faster
                return found[0]
            return self._keep(diff_id, Inventory.lazily(data), len(data))

    def read(self, diff_id: str) -> Inventory:
        """Return the layer's inventory as it lies on the disk now."""
        from buildah_py.layers.inventory import Inventory

        try:
            return Inventory.from_bytes(self.raw(diff_id))
        except ArchiveError as error:
            raise _damaged(diff_id, error) from error

    def raw(self, diff_id: str) -> bytes:
        """Return the layer's inventory in the form in which it is kept."""
        try:
            with open(self._path(diff_id), "rb") as file:
                data = file.read()
            import hashlib

            self._compare(diff_id, hashlib.sha256(data).hexdigest())
        except (OSError, ArchiveError) as error:
            raise _damaged(diff_id, error) from error
        return data

    def entries(self, diff_id: str) -> Iterator[Entry]:
        """Yield the entries of the layer's inventory one by one, for whoever does not need them together."""
        import hashlib

        from buildah_py.layers.inventory import read_entries

        with self._lock:
            known = self._known.get(diff_id)
        if known is not None:
            yield from known[0]
            return
        try:
            with open(self._path(diff_id), "rb") as file:
                self._compare(diff_id, hashlib.file_digest(file, "sha256").hexdigest())
                file.seek(0)
                yield from read_entries(file.read)
        except (OSError, ArchiveError) as error:
            raise _damaged(diff_id, error) from error

    def remember(self, diff_id: str, inventory: Inventory) -> None:
        """Spare the reading of one that was just written."""
        with self._lock:
            self._drop(diff_id)
            self._keep(diff_id, inventory, _BYTES_OF_ENTRY * len(inventory))

    def _keep(self, diff_id: str, inventory: Inventory, size: int) -> Inventory:
        self._known[diff_id] = (inventory, size)
        self._size += size
        while self._size > self._most and len(self._known) > 1:
            self._drop(next(iter(self._known)))
        return inventory

    def _drop(self, diff_id: str) -> None:
        self._size -= self._known.pop(diff_id, (None, 0))[1]

    def forget(self, diff_ids: Sequence[str]) -> None:
        """Have them read again."""
        with self._lock:
            for one in diff_ids:
                self._drop(one)

    def _path(self, diff_id: str) -> str:
        return os.path.join(self._home(diff_id), INVENTORY)

    def _compare(self, diff_id: str, digest: str) -> None:
        rows = self._database.query("SELECT inventory FROM layers WHERE diff_id = ?", (diff_id,))
        if rows and rows[0][0] and rows[0][0] != digest:
            raise ArchiveError("its bytes are not those that were written")


def _damaged(diff_id: str, error: OSError | ArchiveError) -> StoreError:
    what = error.strerror if isinstance(error, OSError) else error.message
    return StoreError(
        f"the inventory of layer {diff_id} is damaged: {what}",
        hint="`pybuild fsck --repair` makes it anew or drops the layer; then build again",
    )


def write(path: str, inventory: Inventory) -> str:
    """Write an inventory; the sha256 of the file in hex."""
    import hashlib

    hashed = hashlib.sha256()
    with open(path, "wb") as file:
        for part in inventory.parts():
            hashed.update(part)
            file.write(part)
    return hashed.hexdigest()
