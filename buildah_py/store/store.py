"""A state directory, opened: the rooms of the store and the order in which things become durable.

state.db        layers, records, image configs, names
layers/<hex>/   fs/ in overlay form, inventory
blobs/sha256/   content as pulled or to be pushed
logs/<build>/   each step's whole output
staging/<lease>/ what a living process has not finished
leases/         one locked file for each living process
locks/          one locked file for each step that is being executed
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from typing import TYPE_CHECKING, Self

from buildah_py.errors import StoreError
from buildah_py.store.database import Database
from buildah_py.store.images import Images
from buildah_py.store.layers import Layers
from buildah_py.store.locks import Lease, living_leases, named_lock
from buildah_py.store.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

_ROOMS = ("layers", "blobs/sha256", "logs", "staging", "leases", "locks", "cache-mounts")


class Store:
    """The store at `root`, made where it does not exist; context manager. Raises StoreError."""

    def __init__(self, root: str) -> None:
        self.root = root
        database = os.path.join(root, "state.db")
        try:
            if not os.path.exists(database):
                for room in _ROOMS:
                    os.makedirs(os.path.join(root, room), mode=0o700, exist_ok=True)
            self.lease = Lease(self.path("leases"))
        except OSError as error:
            raise StoreError(
                f"the state directory {root} cannot be used: {error.strerror}",
                hint="name a directory of yours with PYBUILD_ROOT",
            ) from error
        try:
            self._database = Database(database)
        except BaseException:
            self.lease.release()
            raise
        self.layers = Layers(self._database, self.path("layers"))
        self.records = Records(self._database)
        self.images = Images(self._database)
        self._staged = 0
        self._sweep()

    def path(self, *names: str) -> str:
        """A path below the state directory."""
        return os.path.join(self.root, *names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what this process staged and let go of the store."""
        self._remove_staged(self.lease.name)
        self._database.close()
        self.lease.release()

    def stage(self) -> str:
        """A new empty directory on the store's file system, gone when this process is."""
        own = self.path("staging", self.lease.name)
        try:
            if not self._staged:
                os.makedirs(own, mode=0o700, exist_ok=True)
            self._staged += 1
            path = os.path.join(own, str(self._staged))
            os.mkdir(path, 0o700)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(
                    f"no space left in {self.root}", hint="free some, for example with `pybuild prune`"
                ) from error
            raise StoreError(f"{own}: {error.strerror}") from error
        return path

    def lock(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> AbstractContextManager[bool]:
        """Keep other threads and processes from executing the step `name` meanwhile; see `named_lock`."""
        return named_lock(self.path("locks"), name, cancelled)

    def make_durable(self) -> None:
        """Have the kernel write all layers of this boot to the disk, then note that they are there."""
        self.layers.make_durable()

    def collect(self, *, keep_records: bool = False, before: int | None = None) -> int:
        """Remove layers that neither a name nor a living process uses; the number of bytes freed.

        With `keep_records` a layer that a record leads to stays too (the cache); `before` (nanoseconds since 1970)
        spares what was used later.
        """
        starts = [start for name, start in living_leases(self.path("leases")).items() if name != self.lease.name]
        limit = min([*starts, time.time_ns() if before is None else before])
        freed = self.layers.collect(limit, keep_records=keep_records)
        self.layers.remove_orphans()
        return freed

    def _sweep(self) -> None:
        """Drop what dead processes left: staged trees, and layers of another boot that never became durable."""
        if staged := os.listdir(self.path("staging")):
            living = living_leases(self.path("leases"))
            for name in staged:
                if name not in living:
                    self._remove_staged(name)
        self.layers.drop_lost()

    def _remove_staged(self, name: str) -> None:
        path = self.path("staging", name)
        if os.path.lexists(path):
            shutil.rmtree(path)
