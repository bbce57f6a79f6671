"""Layers as they are sent: compressed tars in blobs/<algorithm>/<hex>, as they were pulled or made to be sent.

A blob is written in a staging directory and renamed; its row is written in the same transaction and carries the boot
id until the file is known to be on the disk, as that of a layer does.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py import meter
from buildah_py.store.layers import boot_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.store.database import Database

_PIECE = 1 << 20


class StoredBlob(NamedTuple):
    """A blob of a layer. `compressor` names what made it here, with its version; "" for what came from elsewhere."""

    digest: str
    diff_id: str
    media_type: str
    size: int
    compressor: str
    created: int
    used: int
    path: str


class Blobs:
    """The files below `directory`. Uses are marked with `since` at the earliest, as those of layers are."""

    def __init__(self, database: Database, directory: str, since: int = 0) -> None:
        self._database = database
        self._directory = directory
        self._since = since

    def path(self, digest: str) -> str:
        """Where the blob of that digest lies or would lie."""
        return os.path.join(self._directory, *digest.split(":"))

    def get(self, digest: str) -> StoredBlob | None:
        """Return the blob of that digest; None where it is not in the store."""
        return next(iter(self._all("WHERE digest = ?", digest)), None)

    def of(self, diff_id: str) -> list[StoredBlob]:
        """Return the blobs of a layer, what came from elsewhere first."""
        return self._all("WHERE diff_id = ? ORDER BY compressor != '', created", diff_id)

    def all(self) -> list[StoredBlob]:
        """All blobs, the oldest first."""
        return self._all("ORDER BY created")

    def add(
        self, staged: str, digest: str, *, diff_id: str, media_type: str, size: int, compressor: str = ""
    ) -> StoredBlob:
        """Keep the file at `staged`, which is moved: a form of the layer `diff_id`, which the store has to know.

        Its digest and size are the caller's word.
        """
        os.makedirs(os.path.dirname(self.path(digest)), mode=0o700, exist_ok=True)
        now = max(time.time_ns(), self._since)
        with self._database.transaction():
            os.rename(staged, self.path(digest))
            self._database.change(
                "INSERT INTO blobs (digest, diff_id, media_type, size, compressor, created, used, boot) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
                "used = max(used, excluded.used), boot = excluded.boot, "
                "compressor = iif(compressor = '', '', excluded.compressor)",
                (digest, diff_id, media_type, size, compressor, now, now, boot_id()),
            )
            return cast("StoredBlob", self.get(digest))

    def use(self, digest: str) -> bool:
        """Mark a blob as used now; false where it is not in the store (any more)."""
        now = max(time.time_ns(), self._since)
        with self._database.transaction():
            changed = self._database.change("UPDATE blobs SET used = max(used, ?) WHERE digest = ?", (now, digest))
            return bool(changed) and os.path.isfile(self.path(digest))

    def remove(self, digest: str) -> None:
        """Remove one, because it is damaged."""
        with self._database.transaction():
            self._database.change("DELETE FROM blobs WHERE digest = ?", (digest,))
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(digest))

    def problem(self, blob: StoredBlob) -> str:
        """Read a blob whole; what is wrong with it, "" if nothing is."""
        import hashlib

        hashed = hashlib.new(blob.digest.partition(":")[0])
        size = 0
        try:
            with open(blob.path, "rb", buffering=0) as file:
                while data := file.read(_PIECE):
                    hashed.update(data)
                    size += len(data)
        except OSError as error:
            return f"its file cannot be read: {error.strerror}"
        if size != blob.size:
            return f"it has {size} bytes, not {blob.size}"
        found = f"{hashed.name}:{hashed.hexdigest()}"
        return "" if found == blob.digest else f"its content has the digest {found}"

    def remove_unneeded(self, digests: Sequence[str] | None = None) -> None:
        """Remove files that no row stands for: these, or whatever a crash has left."""
        if digests is None:
            there = self._there()  # before the rows: what is added in between has one
            known = {blob.digest for blob in self.all()}
            digests = [digest for digest in there if digest not in known]
        with meter.start("removing blobs", len(digests), meter.ITEMS) as moved:
            for digest in digests:
                with self._database.transaction():
                    if self.get(digest) is None:
                        with contextlib.suppress(FileNotFoundError):
                            os.unlink(self.path(digest))
                moved.add(1)

    def in_flight(self) -> list[StoredBlob]:
        """Blobs of an earlier boot that were never known to be on the disk."""
        if not self._database.query("SELECT 1 FROM blobs WHERE boot IS NOT NULL LIMIT 1"):
            return []
        return self._all("WHERE boot != ?", boot_id())

    def written(self) -> list[str]:
        """Blobs of this boot that are not yet known to be on the disk."""
        rows = self._database.query("SELECT digest FROM blobs WHERE boot = ?", (boot_id(),))
        return [str(digest) for (digest,) in rows]

    def settle(self, digests: Sequence[str]) -> None:
        """Say that blobs are on the disk as they should be."""
        with self._database.transaction():
            self._database.change_many("UPDATE blobs SET boot = NULL WHERE digest = ?", [(one,) for one in digests])

    def _there(self) -> list[str]:
        try:
            algorithms = os.listdir(self._directory)
        except FileNotFoundError:
            return []
        return [f"{one}:{name}" for one in algorithms for name in os.listdir(os.path.join(self._directory, one))]

    def _all(self, rest: str, *parameters: object) -> list[StoredBlob]:
        rows = self._database.query(
            f"SELECT digest, diff_id, media_type, size, compressor, created, used FROM blobs {rest}", parameters
        )
        return [
            StoredBlob(*cast("tuple[str, str, str, int, str, int, int]", row), self.path(str(row[0]))) for row in rows
        ]
