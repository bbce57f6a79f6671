"""Layer trees on the disk and their rows.

A layer is made in a staging directory, as a tree or packed into its tar, and renamed to layers/<hex of its diff_id>;
its row is written in the same transaction. A row carries the boot id until the layer is known to be on the disk, so
that after a power cut nothing half-written is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py import meter
from buildah_py.checksum import sha256_hex
from buildah_py.errors import ArchiveError
from buildah_py.layers import PATCH, TAR
from buildah_py.store.disk_usage import disk_usage, remove_tree
from buildah_py.store.inventories import INVENTORY, Inventories, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.packed import PackedTar
    from buildah_py.store.database import Database


class StoredLayer(NamedTuple):
    """A layer's row. `root` is (mode, uid, gid) of `/` where the layer changes it; times in ns since 1970.

    Of an `absent` layer the files are elsewhere: `size` is then that of its blob, `layer_digest` "" and `entries` -1
    where they are not known. `foreign` means that the diff_id is that of a tar of others, `opaque` that its root hides
    all layers below. `adopted` is None unless the layers below have to describe some of its directories: then it names
    those from which they are taken in its own tree, see `buildah_py.store.lowers`. `base` is the layer whose tar this
    one's is kept as a patch of.
    """

    diff_id: str
    layer_digest: str
    size: int
    entries: int
    root: tuple[int, int, int] | None
    created: int
    used: int
    absent: bool = False
    foreign: bool = False
    opaque: bool = False
    adopted: str | None = None
    base: str | None = None


class Origin(NamedTuple):
    """Where the bytes of a layer can be had: a blob of that digest, media type and size.

    `kind` says how: `registry` (`location` is host/repository), `layout` (the path of an OCI layout), and others.
    """

    kind: str
    location: str
    digest: str
    media_type: str
    size: int


DELTA = "delta"
"""The directory of a patch that holds what its tree has and the base's has not; see `buildah_py.store.trees`."""

_COLUMNS = "diff_id, layer_digest, size, entries, root, created, used, absent, foreign_tar, opaque, adopted, base"


class Layers:
    """The layers below `directory`. Layers that are used are marked with `since` (ns since 1970) at the earliest.

    That is the start of this process's lease: a clock that is set back meanwhile does not make a layer look unused.
    """

    def __init__(self, database: Database, directory: str, since: int = 0) -> None:
        self._database = database
        self._directory = directory
        self._since = since
        self.inventories = Inventories(database, self.home)

    def home(self, diff_id: str) -> str:
        """Return the directory of the layer."""
        return f"{self._directory}/{diff_id.removeprefix('sha256:')}"

    def fs(self, diff_id: str) -> str:
        """Name the directory that holds the layer in overlay form; `Store.trees` makes it where only a tar is there."""
        return f"{self.home(diff_id)}/fs"

    def tar(self, diff_id: str) -> str:
        """Return the file that holds the layer's whole tar, where it is kept so."""
        return os.path.join(self.home(diff_id), TAR)

    def packed(self, diff_id: str) -> PackedTar | None:
        """Return the layer's tar if it is kept as one: whole, or as a patch. The caller closes it.

        Raises ArchiveError where it is damaged.
        """
        if not self.is_packed(diff_id):
            return None
        from buildah_py.layers.packed import PackedTar

        home = self.home(diff_id)
        if os.path.lexists(f"{home}/{TAR}"):
            return PackedTar(f"{home}/{TAR}")
        if os.path.lexists(f"{home}/{PATCH}"):
            return PackedTar(f"{home}/{PATCH}", self.tar)
        return None

    def is_packed(self, diff_id: str) -> bool:
        """Whether the layer is kept as its tar, with or without a tree beside it."""
        home = self.home(diff_id)
        return os.path.lexists(f"{home}/{TAR}") or os.path.lexists(f"{home}/{PATCH}")

    def remove_tar(self, diff_id: str) -> None:
        """Keep a layer as its tree alone."""
        self._database.change("UPDATE layers SET base = NULL, disk = NULL WHERE diff_id = ?", (diff_id,))
        for name in (TAR, PATCH):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self.home(diff_id), name))

    def get(self, diff_id: str) -> StoredLayer | None:
        """Return the layer's row, or None."""
        return self._one("diff_id = ?", diff_id)

    def several(self, diff_ids: Sequence[str]) -> dict[str, StoredLayer]:
        """Return the rows of those of many layers that are known, at once."""
        wanted = "diff_id IN (SELECT value FROM json_each(?))"
        rows = self._database.query(f"SELECT {_COLUMNS} FROM layers WHERE {wanted}", (json.dumps(diff_ids),))
        return {layer.diff_id: layer for layer in map(_layer, rows)}

    def all(self) -> list[StoredLayer]:
        """All layers, the oldest first."""
        rows = self._database.query(f"SELECT {_COLUMNS} FROM layers ORDER BY created")
        return [_layer(row) for row in rows]

    def is_there(self, diff_id: str) -> bool:
        """Whether the layer's directory is as complete as a look from outside can tell."""
        home = self.home(diff_id)
        if not os.path.isfile(f"{home}/{INVENTORY}"):
            return False
        if os.path.isdir(f"{home}/fs") or os.path.isfile(f"{home}/{TAR}"):
            return True
        try:
            packed = self.packed(diff_id)
        except ArchiveError:  # of a patch, both files have to be there
            return False
        if packed is None:
            return False
        packed.close()
        return True

    def add(
        self,
        staged: str,
        inventory: Inventory,
        diff_id: str,
        size: int,
        *,
        foreign: bool = False,
        adopted: str | None = None,
        base: str | None = None,
    ) -> StoredLayer:
        """Keep the tree, or the file of a LayerPacker, at `staged`, which is moved or removed.

        A layer that was absent is there then; one that was there stays as it is. `foreign` says that the diff_id is
        that of a tar which others made. `adopted` and `base` go into the row.
        """
        if os.path.isdir(staged):
            self._check_form()
        new = f"{staged}.layer"
        os.mkdir(new, 0o700)
        written = write(os.path.join(new, INVENTORY), inventory)
        os.rename(staged, os.path.join(new, "fs" if os.path.isdir(staged) else os.path.basename(staged)))
        home = self.home(diff_id)
        with self._database.transaction():
            # A layer is there once; another process may have added it just now.
            known = self.get(diff_id)
            if known is not None and not known.absent and self.use([diff_id]):
                unneeded = new
            else:
                # A directory that is there is what a crash left between the two, or a layer that is being collected,
                # or a damaged one.
                unneeded = f"{new}.old"
                if os.path.lexists(home):
                    os.rename(home, unneeded)
                os.rename(new, home)
                self._insert(inventory, written, diff_id, size, foreign=foreign, adopted=adopted, base=base)
                known = cast("StoredLayer", self.get(diff_id))
                self.inventories.remember(diff_id, inventory)
        if os.path.lexists(unneeded):
            remove_tree(unneeded)
        return known

    def adopt(self, diff_id: str, inventory: Inventory, size: int) -> None:
        """Write the row of a layer whose directory is in its place and was found to be whole."""
        home = self.home(diff_id)
        with open(os.path.join(home, INVENTORY), "rb") as file:
            written = sha256_hex(file.read())
        packed = self.packed(diff_id)
        base = packed.base or None if packed is not None else None
        if packed is not None:
            packed.close()
        with self._database.transaction():
            self._insert(inventory, written, diff_id, size, created=os.stat(home).st_mtime_ns, base=base)

    def write_inventory(self, diff_id: str, inventory: Inventory) -> None:
        """Replace the inventory of a layer."""
        path = os.path.join(self.home(diff_id), INVENTORY)
        written = write(f"{path}.new", inventory)
        os.rename(f"{path}.new", path)
        self._database.change(
            "UPDATE layers SET inventory = ?, boot = ? WHERE diff_id = ?",
            (written, boot_id(), diff_id),
        )
        self.inventories.remember(diff_id, inventory)

    def _insert(
        self,
        inventory: Inventory,
        written: str,
        diff_id: str,
        size: int,
        *,
        created: int | None = None,
        foreign: bool = False,
        adopted: str | None = None,
        base: str | None = None,
    ) -> None:
        """Write the row; the one of a damaged or absent layer stays, with whatever refers to it."""
        root = inventory.root
        now = self._now()
        self._database.change(
            f"INSERT INTO layers ({_COLUMNS}, boot, inventory) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (diff_id) DO UPDATE SET used = max(used, excluded.used), boot = excluded.boot, "
            "inventory = excluded.inventory, layer_digest = excluded.layer_digest, disk = NULL, absent = 0, "
            "size = excluded.size, entries = excluded.entries, root = excluded.root, "
            "foreign_tar = excluded.foreign_tar, opaque = excluded.opaque, adopted = excluded.adopted, "
            "base = excluded.base",
            (
                diff_id,
                inventory.layer_digest,
                size,
                sum(not entry.implied for entry in inventory),
                f"{root.mode} {root.uid} {root.gid}" if root and not root.implied else None,
                now if created is None else created,
                now,
                foreign,
                bool(root and root.opaque),
                adopted,
                base,
                boot_id(),
                written,
            ),
        )

    def set_size(self, diff_id: str, size: int) -> None:
        """Correct what is noted as the length of a layer's tar."""
        self._database.change("UPDATE layers SET size = ? WHERE diff_id = ?", (size, diff_id))

    def promise(
        self,
        diff_id: str,
        *,
        size: int,
        layer_digest: str = "",
        entries: int = -1,
        origins: Sequence[Origin] = (),
        created: int | None = None,
    ) -> None:
        """Know of a layer whose files are elsewhere; where it is known already, it gains `origins`.

        `size` is the blob's, until the layer is here. `layer_digest` is what its maker says of its content, `created`
        when it was first made (ns since 1970).
        """
        now = self._now()
        with self._database.transaction():
            self._database.change(
                "INSERT INTO layers (diff_id, layer_digest, size, entries, created, used, absent) "
                "VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (diff_id) DO UPDATE SET used = max(used, excluded.used), "
                "layer_digest = iif(layer_digest = '', excluded.layer_digest, layer_digest)",
                (diff_id, layer_digest, size, entries, now if created is None else created, now),
            )
            self._database.change_many(
                "INSERT OR REPLACE INTO origins (diff_id, kind, location, digest, media_type, size) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                [(diff_id, *origin) for origin in origins],
            )

    def origins(self, diff_id: str) -> list[Origin]:
        """Where the layer's bytes can be had."""
        rows = self._database.query(
            "SELECT kind, location, digest, media_type, size FROM origins WHERE diff_id = ? ORDER BY kind, location",
            (diff_id,),
        )
        return [Origin(*cast("tuple[str, str, str, str, int]", row)) for row in rows]

    def repositories_with(self, digest: str) -> list[str]:
        """Return the repositories of registries that are known to have the blob of that digest."""
        rows = self._database.query(
            "SELECT DISTINCT location FROM origins WHERE kind = 'registry' AND digest = ? ORDER BY location", (digest,)
        )
        return [str(location) for (location,) in rows]

    def can_be_had(self, diff_id: str) -> bool:
        """Whether the store knows a place that has the layer's bytes, or has them itself in a blob."""
        where = "SELECT 1 FROM origins WHERE diff_id = ? UNION SELECT 1 FROM blobs WHERE diff_id = ?"
        return bool(self._database.query(where, (diff_id, diff_id)))

    def missing(self, diff_ids: Sequence[str]) -> list[str]:
        """Which of these layers are absent, in their order."""
        rows = self._database.query("SELECT diff_id FROM layers WHERE absent")
        if not rows:
            return []
        absent = {diff_id for (diff_id,) in rows}
        return [diff_id for diff_id in dict.fromkeys(diff_ids) if diff_id in absent]

    def make_absent(self, diff_ids: Sequence[str]) -> list[str]:
        """Give up the files of (damaged) layers that can be had again; which ones those were."""
        gone = "absent = 1, boot = NULL, inventory = NULL, disk = 0, base = NULL"
        sql = f"UPDATE layers SET {gone} WHERE diff_id = ? AND NOT absent"
        with self._database.transaction():
            done = [one for one in diff_ids if self.can_be_had(one) and self._database.change(sql, (one,))]
        self.inventories.forget(done)
        self.remove_trees(done)
        return done

    def use(self, diff_ids: Sequence[str]) -> bool:
        """Mark layers as used now; false where one of them is not in the store (any more). Absent ones are in it."""
        now = self._now()
        with self._database.transaction():
            return all(
                self._database.change("UPDATE layers SET used = max(used, ?) WHERE diff_id = ?", (now, diff_id))
                and (self.is_there(diff_id) or self.missing([diff_id]))
                for diff_id in set(diff_ids)
            )

    def measure(self, diff_ids: Sequence[str] | None = None) -> dict[str, int]:
        """Return the bytes on the disk that layers (without an argument, all) take.

        Each is looked at once in its life.
        """
        rows = cast("list[tuple[str, int | None]]", self._database.query("SELECT diff_id, disk FROM layers"))
        known = {diff_id: disk for diff_id, disk in rows if diff_ids is None or diff_id in diff_ids}
        new = {diff_id: self._disk_usage(diff_id) for diff_id, disk in known.items() if disk is None}
        if new:
            with self._database.transaction():
                self._database.change_many(
                    "UPDATE layers SET disk = ? WHERE diff_id = ?", [(disk, diff_id) for diff_id, disk in new.items()]
                )
        return {diff_id: new[diff_id] if disk is None else disk for diff_id, disk in known.items()}

    def _disk_usage(self, diff_id: str) -> int:
        # By itself, for a path in there may be as long as paths can be.
        home = self.home(diff_id)
        return sum(disk_usage(os.path.join(home, name)) for name in ("fs", INVENTORY, TAR, PATCH, DELTA))

    def written(self) -> list[str]:
        """Layers of this boot that are not yet known to be on the disk."""
        rows = self._database.query("SELECT diff_id FROM layers WHERE boot = ?", (boot_id(),))
        return [str(diff_id) for (diff_id,) in rows]

    def in_flight(self) -> list[str]:
        """Layers of an earlier boot that were never known to be on the disk."""
        if not self._database.query("SELECT 1 FROM layers WHERE boot IS NOT NULL LIMIT 1"):
            return []
        rows = self._database.query("SELECT diff_id FROM layers WHERE boot != ?", (boot_id(),))
        return [str(diff_id) for (diff_id,) in rows]

    def settle(self, diff_ids: Sequence[str]) -> None:
        """Say that layers are on the disk as they should be."""
        with self._database.transaction():
            self._database.change_many("UPDATE layers SET boot = NULL WHERE diff_id = ?", [(one,) for one in diff_ids])

    def drop(self, diff_ids: Sequence[str]) -> list[str]:
        """Remove damaged layers with all that is built of them; the names of the images that went with them."""
        with self._database.transaction():
            names: list[str] = []
            diff_ids = [*diff_ids, *self._patches_of(diff_ids)]
            for one in diff_ids:
                broken = "SELECT config FROM config_layers WHERE diff_id = ?"
                names += (
                    str(name)
                    for (name,) in self._database.query(f"SELECT name FROM names WHERE config IN ({broken})", (one,))
                )
                self._database.change(f"DELETE FROM names WHERE config IN ({broken})", (one,))
                self._database.change(f"DELETE FROM configs WHERE digest IN ({broken})", (one,))
                self._database.change("DELETE FROM mounts WHERE diff_id = ?", (one,))
                self._database.change("DELETE FROM layers WHERE diff_id = ?", (one,))
        self.inventories.forget(diff_ids)
        self.remove_trees(diff_ids)
        return names

    def _patches_of(self, diff_ids: Sequence[str]) -> list[str]:
        rows = self._database.query(
            "SELECT diff_id FROM layers WHERE base IN (SELECT value FROM json_each(?))", (json.dumps(diff_ids),)
        )
        return [str(diff_id) for (diff_id,) in rows if diff_id not in diff_ids]

    def grow(self, diff_id: str, staged: str, path: str) -> None:
        """Move another form of a layer to its place in the layer's directory."""
        self._check_form()
        # Until that is known to be on the disk, the layer is not: a kill may come in between, and a syncfs of others.
        mark = "UPDATE layers SET boot = ?, disk = NULL WHERE diff_id = ?"
        self._database.change(mark, (boot_id(), diff_id))
        os.rename(staged, path)
        self._database.change(mark, (boot_id(), diff_id))

    def _check_form(self) -> None:
        from buildah_py.store.form import check_form

        check_form(os.path.dirname(self._directory))

    def remove_trees(self, diff_ids: Sequence[str]) -> None:
        """Remove trees whose rows are gone, but for those that another process has added again meanwhile."""
        with meter.start("removing layers", len(diff_ids), meter.ITEMS, waits=bool(diff_ids)) as moved:
            for diff_id in diff_ids:
                self._remove_tree(diff_id)
                moved.add(1)

    def _remove_tree(self, diff_id: str) -> None:
        home = self.home(diff_id)
        trash = f"{home}.{time.time_ns()}.removed"
        with self._database.transaction():
            row = self.get(diff_id)
            if (row is not None and not row.absent) or not os.path.lexists(home):
                return
            os.rename(home, trash)
        remove_tree(trash)

    def orphans(self) -> list[str]:
        """Names below layers/ that no row stands for, which a crash can leave; patches come last."""
        names = os.listdir(self._directory)  # before the rows: what is added in between has one
        known = {layer.diff_id.removeprefix("sha256:") for layer in self.all() if not layer.absent}
        unknown = [name for name in names if name not in known]
        return sorted(unknown, key=lambda name: (os.path.exists(f"{self._directory}/{name}/{PATCH}"), name))

    def remove_orphans(self) -> None:
        """Remove what no row stands for."""
        for name in self.orphans():
            if name.endswith(".removed"):
                with contextlib.suppress(FileNotFoundError):
                    remove_tree(os.path.join(self._directory, name))
            else:
                self.remove_trees([f"sha256:{name}"])

    def _now(self) -> int:
        return max(time.time_ns(), self._since)

    def _one(self, where: str, parameter: str) -> StoredLayer | None:
        rows = self._database.query(f"SELECT {_COLUMNS} FROM layers WHERE {where}", (parameter,))
        return _layer(rows[0]) if rows else None


def _layer(row: tuple[object, ...]) -> StoredLayer:
    diff_id, digest, size, entries, root, created, used, absent, foreign, opaque, adopted, base = cast(
        "tuple[str, str, int, int, str | None, int, int, int, int, int, str | None, str | None]", row
    )
    mode_uid_gid = cast("tuple[int, int, int]", tuple(map(int, root.split()))) if root else None
    flags = (bool(absent), bool(foreign), bool(opaque))
    return StoredLayer(diff_id, digest, size, entries, mode_uid_gid, created, used, *flags, adopted, base)


def boot_id() -> str:
    """Return the kernel's random name of this boot (proc(5))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
