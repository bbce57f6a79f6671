"""Layer trees on the disk and their rows.

A layer is made in a staging directory and renamed to layers/<hex of its diff_id>; its row is written after that. A row
carries the boot id until the tree is known to be on the disk, so that after a power cut nothing half-written is used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py.errors import ArchiveError, StoreError
from buildah_py.layers.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store.database import Database


class StoredLayer(NamedTuple):
    """A layer's row. `root` is (mode, uid, gid) of `/` where the layer changes it; times in ns since 1970."""

    diff_id: str
    layer_digest: str
    size: int
    entries: int
    root: tuple[int, int, int] | None
    created: int
    used: int


_COLUMNS = "diff_id, layer_digest, size, entries, root, created, used"


class Layers:
    """The layers below `directory`."""

    def __init__(self, database: Database, directory: str) -> None:
        self._database = database
        self._directory = directory
        self._inventories: dict[str, Inventory] = {}
        self._lock = threading.Lock()

    def fs(self, diff_id: str) -> str:
        """The directory that holds the layer in overlay form."""
        return os.path.join(self._home(diff_id), "fs")

    def inventory(self, diff_id: str) -> Inventory:
        """The layer's inventory, read once. Raises StoreError where it is damaged."""
        with self._lock:
            if found := self._inventories.get(diff_id):
                return found
        path = os.path.join(self._home(diff_id), "inventory")
        try:
            with open(path, "rb") as file:
                inventory = Inventory.from_bytes(file.read())
        except (OSError, ArchiveError) as error:
            raise StoreError(
                f"the inventory of layer {diff_id} is damaged: {error}", hint="remove the image and build it again"
            ) from error
        with self._lock:
            return self._inventories.setdefault(diff_id, inventory)

    def get(self, diff_id: str) -> StoredLayer | None:
        """The layer's row, or None."""
        return self._one("diff_id = ?", diff_id)

    def by_digest(self, layer_digest: str) -> StoredLayer | None:
        """The oldest layer with equal content, whatever its times."""
        return self._one("layer_digest = ? ORDER BY created LIMIT 1", layer_digest)

    def all(self) -> list[StoredLayer]:
        """All layers, the oldest first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM layers ORDER BY created")
        return [_layer(row) for row in rows]

    def add(self, staged_fs: str, inventory: Inventory, diff_id: str, size: int, *, exact: bool = False) -> StoredLayer:
        """Keep the tree at `staged_fs`, which is moved or removed.

        A layer of equal content is kept instead, with its times and diff_id, unless `exact` asks for this diff_id.
        """
        if known := (self.get(diff_id) if exact else self.by_digest(inventory.layer_digest)):
            shutil.rmtree(staged_fs)
            self.use([known.diff_id])
            return known
        with self._lock:
            self._inventories[diff_id] = inventory
        home = self._home(diff_id)
        new = f"{staged_fs}.layer"
        os.mkdir(new, 0o700)
        with open(os.path.join(new, "inventory"), "wb") as file:
            file.write(inventory.to_bytes())
        os.rename(staged_fs, os.path.join(new, "fs"))
        now = time.time_ns()
        with self._database.transaction():
            # A directory without a row is what a crash between the two left, or a layer that is being collected.
            if known := self.get(diff_id):
                shutil.rmtree(new)
                return known
            if os.path.lexists(home):
                shutil.rmtree(home)
            os.rename(new, home)
            root = inventory.get("")
            changed = [entry for entry in inventory if not entry.implied]
            self._database.change(
                f"INSERT INTO layers ({_COLUMNS}, boot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    diff_id,
                    inventory.layer_digest,
                    size,
                    len(changed),
                    f"{root.mode} {root.uid} {root.gid}" if root and not root.implied else None,
                    now,
                    now,
                    boot_id(),
                ),
            )
        return cast("StoredLayer", self.get(diff_id))

    def use(self, diff_ids: Sequence[str]) -> bool:
        """Mark layers as used now; false where one of them is not in the store (any more)."""
        now = time.time_ns()
        with self._database.transaction():
            return all(
                self._database.change("UPDATE layers SET used = ? WHERE diff_id = ?", (now, diff_id))
                for diff_id in set(diff_ids)
            )

    def make_durable(self) -> None:
        """One syncfs(2), then no layer that was added before it is in flight any more."""
        rows = self._database.query("SELECT diff_id FROM layers WHERE boot = ?", (boot_id(),))
        if not rows:
            return
        from buildah_py.linux.files import syncfs

        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            syncfs(descriptor)
        finally:
            os.close(descriptor)
        with self._database.transaction():
            self._database.change_many("UPDATE layers SET boot = NULL WHERE diff_id = ?", [tuple(row) for row in rows])

    def drop_lost(self) -> None:
        """Drop layers of an earlier boot that were never made durable, with whatever is built of them."""
        if not self._database.query("SELECT 1 FROM layers WHERE boot IS NOT NULL LIMIT 1"):
            return
        lost = "SELECT diff_id FROM layers WHERE boot IS NOT NULL AND boot != ?"
        boot = (boot_id(),)
        if not self._database.query(lost, boot):
            return
        with self._database.transaction():
            broken = f"SELECT config FROM config_layers WHERE diff_id IN ({lost})"
            self._database.change(f"DELETE FROM names WHERE config IN ({broken})", boot)
            self._database.change(f"DELETE FROM configs WHERE digest IN ({broken})", boot)
            rows = self._database.query(lost, boot)
            self._database.change_many("DELETE FROM layers WHERE diff_id = ?", rows)
        self._remove_trees([str(diff_id) for (diff_id,) in rows])

    def collect(self, limit: int, *, keep_records: bool) -> int:
        """Remove layers that no image holds and that were last used before `limit`; the bytes they stood for."""
        unused = "used < ? AND diff_id NOT IN (SELECT diff_id FROM config_layers)"
        if keep_records:
            unused += " AND diff_id NOT IN (SELECT diff_id FROM records)"
        with self._database.transaction():
            rows = cast(
                "list[tuple[str, int]]",
                self._database.query(f"SELECT diff_id, size FROM layers WHERE {unused}", (limit,)),
            )
            self._database.change_many("DELETE FROM layers WHERE diff_id = ?", [(diff_id,) for diff_id, _ in rows])
        self._remove_trees([diff_id for diff_id, _ in rows])
        return sum(size for _, size in rows)

    def _remove_trees(self, diff_ids: Sequence[str]) -> None:
        """Remove trees whose rows are gone, but for those that another process has added again meanwhile."""
        for diff_id in diff_ids:
            home = self._home(diff_id)
            trash = f"{home}.{os.getpid()}.removed"
            with self._database.transaction():
                if self.get(diff_id) is not None or not os.path.lexists(home):
                    continue
                os.rename(home, trash)
            shutil.rmtree(trash)

    def remove_orphans(self) -> None:
        """Remove trees without a row, which a crash can leave."""
        known = {layer.diff_id.removeprefix("sha256:") for layer in self.all()}
        for name in os.listdir(self._directory):
            if name.endswith(".removed"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(os.path.join(self._directory, name))
            elif name not in known:
                self._remove_trees([f"sha256:{name}"])

    def _home(self, diff_id: str) -> str:
        return os.path.join(self._directory, diff_id.removeprefix("sha256:"))

    def _one(self, where: str, parameter: str) -> StoredLayer | None:
        rows = self._database.query(f"SELECT {_COLUMNS} FROM layers WHERE {where}", (parameter,))
        return _layer(rows[0]) if rows else None


def _layer(row: tuple[object, ...]) -> StoredLayer:
    diff_id, digest, size, entries, root, created, used = cast("tuple[str, str, int, int, str | None, int, int]", row)
    mode_uid_gid = cast("tuple[int, int, int]", tuple(map(int, root.split()))) if root else None
    return StoredLayer(diff_id, digest, size, entries, mode_uid_gid, created, used)


def boot_id() -> str:
    """The kernel's random name of this boot (proc(5))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
