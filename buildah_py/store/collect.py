"""Collection: what goes so that the rest fits, the least recently used first, and nothing that anybody uses."""

from __future__ import annotations

import heapq
import os
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from buildah_py.store.containers import remove_ended
from buildah_py.store.disk_usage import (
    MAX_LOG_AGE,
    MAX_LOGS,
    MAX_ROOTS,
    MAX_STAT_CACHES,
    disk_usage,
    trim_files,
    trim_logs,
    trim_roots,
)
from buildah_py.store.locks import living_leases

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.store.blobs import StoredBlob
    from buildah_py.store.fetched import FetchedItem
    from buildah_py.store.images import StoredImage
    from buildah_py.store.store import Store


class Rules(NamedTuple):
    """Rules for what may go: everything that is not held, unless something is said here.

    `before`: only what was last used before that (ns since 1970). `keep`: only until the whole state takes no more than
    so many bytes of the disk. `min_free`: only until the file system has so many bytes free. `named`: images with a
    name too, and all logs. `matching`: only images for which it is true, with the layers that are theirs alone.
    `spare_own`: nothing that this process has used. `held`, `held_mounts`: none of these layers, and no cache mount
    with one of these ids. `cache_only`: no image, and no logs. `dry_run`: it is only told what would go.
    """

    before: int | None = None
    keep: int | None = None
    min_free: int | None = None
    named: bool = False
    matching: Callable[[StoredImage], bool] | None = None
    spare_own: bool = False
    held: frozenset[str] = frozenset()
    held_mounts: frozenset[str] = frozenset()
    cache_only: bool = False
    dry_run: bool = False


class Collected(NamedTuple):
    """Result of a collection: what went, and the bytes of the disk that this freed; `used` is what the state takes now.

    `goal` is what it was to take at most, None where nothing was said.
    """

    images: tuple[str, ...]
    layers: int
    cache_mounts: int
    freed: int
    used: int
    goal: int | None
    containers: int = 0


class StoreUsage(NamedTuple):
    """Bytes of the disk that the parts of the state directory take."""

    layers: int
    blobs: int
    cache_mounts: int
    fetched: int
    logs: int
    stat_cache: int
    database: int
    staging: int
    failed: int
    containers: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self)


def measure(store: Store) -> StoreUsage:
    """See what the state takes: layers from what is known of each, the rest by looking."""
    return StoreUsage(
        layers=sum(store.layers.measure().values()),
        blobs=disk_usage(store.path("blobs")),
        cache_mounts=disk_usage(store.path("cache-mounts")),
        fetched=disk_usage(store.path("fetched")) + disk_usage(store.path("git")),
        logs=disk_usage(store.path("logs")),
        stat_cache=disk_usage(store.path("stat-cache")),
        database=sum(disk_usage(store.path(name)) for name in ("state.db", "state.db-wal", "state.db-shm", "reserve")),
        staging=disk_usage(store.path("staging")),
        failed=disk_usage(store.path("failed")),
        containers=disk_usage(store.path("containers")),
    )


def collect(store: Store, rules: Rules) -> Collected:
    """Remove what the rules allow; never what an image holds that stays, nor what a living process has used."""
    # First the clock, then the leases: whoever comes after the look at them uses things after this moment.
    limit = time.time_ns() if rules.before is None else min(rules.before, time.time_ns())
    living = living_leases(store.path("leases"))
    starts = [start for name, start in living.items() if rules.spare_own or name != store.lease.name]
    limit = min([*starts, limit])
    store.image_mounts.forget_gone()
    freed = ended = 0
    if rules.matching is None:
        if not rules.dry_run:
            store.layers.remove_orphans()
            store.blobs.remove_unneeded()
        everything = rules.named and rules.before is None and not rules.cache_only
        freed += trim(store, living, everything=everything, dry_run=rules.dry_run)
        if not rules.spare_own:
            freed += store.failures.remove_all(dry_run=rules.dry_run)
            ended, left = remove_ended(store.root, rules.before, dry_run=rules.dry_run)
            freed += left
    usage = measure(store)
    total = usage.total - freed if rules.dry_run else usage.total
    goal = _goal(store, rules, total)
    if rules.spare_own and goal is not None and total > goal and store.failures.remove_all():
        total = measure(store).total  # a build keeps what failed steps left as long as there is room
    choice = _Choice(store, rules, limit, total, goal)
    with store.database.transaction():
        choice.make()
        if rules.dry_run:
            return choice.told(freed, ended)
        choice.apply()
        store.records.trim()
    store.layers.remove_trees(list(choice.layers))
    store.blobs.remove_unneeded(list(choice.blobs))
    mounts = [name for name in choice.cache_mounts if store.cache_mounts.remove(name, limit)]
    went = choice.bytes + sum(choice.cache_mounts[name] for name in mounts)
    went += sum(item.disk for item in choice.fetched if store.fetched.remove(item, limit))
    return Collected(
        tuple(choice.images), len(choice.layers), len(mounts), freed + went, max(0, total - went), goal, ended
    )


def trim(store: Store, living: dict[str, int], *, everything: bool = False, dry_run: bool = False) -> int:
    """Keep the logs and what is remembered of contexts within bounds, or remove them; the bytes freed."""
    oldest = time.time_ns() - MAX_LOG_AGE
    logs, contexts = (0, 0) if everything else (MAX_LOGS, MAX_STAT_CACHES)
    freed = trim_logs(store.path("logs"), living, most=logs, oldest=oldest, dry_run=dry_run)
    if not dry_run:
        store.selections.trim()
    freed += trim_roots(store.path("sandbox/proot"), most=0 if everything else MAX_ROOTS, dry_run=dry_run)
    freed += trim_files(store.path("repeat"), most=contexts, dry_run=dry_run)
    return freed + trim_files(store.path("stat-cache"), most=contexts, dry_run=dry_run)


def _goal(store: Store, rules: Rules, total: int) -> int | None:
    goal = rules.keep
    if rules.min_free is not None:
        status = os.statvfs(store.root)
        lacking = rules.min_free - status.f_bavail * status.f_frsize
        fits = max(0, total - lacking) if lacking > 0 else total
        goal = fits if goal is None else min(goal, fits)
    return goal


class _Image(NamedTuple):
    id: str
    names: tuple[str, ...]
    layers: frozenset[str]


class _Choice:
    """Chooses what is to go and takes its rows away, inside of a transaction: the trees follow when it is over."""

    def __init__(self, store: Store, rules: Rules, limit: int, total: int, goal: int | None) -> None:
        self._store = store
        self._database = store.database
        self._rules = rules
        self._limit = limit
        self._total = total
        self._goal = goal
        self._disk = store.layers.measure()
        mounts = [] if rules.matching else store.cache_mounts.all()
        self._mounts = {one.name: one for one in mounts if one.id.id not in rules.held_mounts}
        self._fetched = {} if rules.matching else {one.paths[-1]: one for one in store.fetched.all()}
        self._heap: list[tuple[int, int, str, str]] = []
        self._images: dict[str, _Image] = {}
        self._listed = store.manifest_lists.images()
        self._holders: dict[str, int] = {}
        self._bases: dict[str, str] = {}
        self._layers: dict[str, tuple[int, int]] = {}
        self._blobs: dict[str, list[StoredBlob]] = {}
        self._sizes: dict[str, int] = {}
        self._taken: list[str] = []
        self.images: list[str] = []
        self.layers: list[str] = []
        self.blobs: dict[str, int] = {}
        self.cache_mounts: dict[str, int] = {}
        self.fetched: list[FetchedItem] = []
        self.bytes = 0
        """Of layers and blobs."""

    def make(self) -> None:
        self._look()
        while self._heap and (self._goal is None or self._total > self._goal):
            _, _, kind, name = heapq.heappop(self._heap)
            if kind == "image":
                self._take_image(self._images[name])
            elif kind == "layer":
                self._take_layer(name)
            elif kind == "blob":
                self._take_blob(name, self._sizes[name])
            elif kind == "fetched":
                self.fetched.append(self._fetched[name])
                self._total -= self._fetched[name].disk
            else:
                self.cache_mounts[name] = self._mounts[name].disk
                self._total -= self._mounts[name].disk

    def told(self, freed: int, containers: int) -> Collected:
        """Tell what would go, beside what is `freed` in any case, and what `containers` have left that ended."""
        freed += self.bytes + sum(self.cache_mounts.values()) + sum(item.disk for item in self.fetched)
        return Collected(
            tuple(self.images), len(self.layers), len(self.cache_mounts), freed, max(0, self._total), self._goal,
            containers,
        )  # fmt: skip

    def apply(self) -> None:
        """Take the rows away."""
        for image in self._taken:
            self._store.images.remove(image)
        self._database.change_many("DELETE FROM blobs WHERE digest = ?", [(one,) for one in self.blobs])
        self._database.change_many("DELETE FROM layers WHERE diff_id = ?", [(one,) for one in self.layers])

    def _look(self) -> None:
        rows = cast("list[tuple[str, int, int]]", self._database.query("SELECT diff_id, used, created FROM layers"))
        self._layers = {diff_id: (used, created) for diff_id, used, created in rows}
        for blob in self._store.blobs.all():
            self._blobs.setdefault(blob.diff_id, []).append(blob)
            self._sizes[blob.digest] = blob.size
        held = self._database.query("SELECT diff_id, config FROM config_layers UNION SELECT diff_id, path FROM mounts")
        for diff_id, _ in held:
            self._hold(str(diff_id))
        for diff_id in self._rules.held:
            self._hold(diff_id)
        for patch, base in self._database.query("SELECT diff_id, base FROM layers WHERE base IS NOT NULL"):
            self._bases[str(patch)] = str(base)
            self._hold(str(base))
        for image in () if self._rules.cache_only else self._store.images.all():
            self._offer_image(image)
        if self._rules.matching is not None:
            return
        for diff_id in self._layers:
            if diff_id not in self._holders:
                self._offer_layer(diff_id)
        for blobs in self._blobs.values():
            for blob in blobs:
                # A blob from elsewhere stays as long as its layer: its bytes cannot be made again.
                if blob.compressor and blob.used < self._limit:
                    heapq.heappush(self._heap, (blob.used, 0, "blob", blob.digest))
        for mount in self._mounts.values():
            if mount.used < self._limit:
                heapq.heappush(self._heap, (mount.used, 0, "mount", mount.name))
        for path, item in self._fetched.items():
            if item.used < self._limit:
                heapq.heappush(self._heap, (item.used, 0, "fetched", path))

    def _hold(self, diff_id: str) -> None:
        self._holders[diff_id] = self._holders.get(diff_id, 0) + 1

    def _offer_image(self, image: StoredImage) -> None:
        layers = self._store.images.layers_of(image.id)
        # Whoever uses an image uses its top-most layer.
        used = max(image.created, self._layers[layers[-1]][0] if layers else 0)
        if used >= self._limit or image.id in self._listed:
            return
        if not self._rules.named and (image.names or self._store.images.platform_names(image.id)):
            return
        if self._rules.matching is not None and not self._rules.matching(image):
            return
        self._images[image.id] = _Image(image.id, image.names, frozenset(layers))
        heapq.heappush(self._heap, (used, 0, "image", image.id))

    def _offer_layer(self, diff_id: str) -> None:
        used, created = self._layers[diff_id]
        if used < self._limit:
            # Of those used at once, those go first that lie on top of the others.
            heapq.heappush(self._heap, (used, -created, "layer", diff_id))

    def _take_image(self, image: _Image) -> None:
        self._taken.append(image.id)
        self.images += image.names or (image.id,)
        for diff_id in image.layers:
            self._let_go(diff_id)

    def _let_go(self, diff_id: str) -> None:
        self._holders[diff_id] -= 1
        if not self._holders[diff_id]:
            self._offer_layer(diff_id)

    def _take_layer(self, diff_id: str) -> None:
        self.layers.append(diff_id)
        if diff_id in self._bases:
            self._let_go(self._bases[diff_id])
        self._count(self._disk.get(diff_id, 0))
        for blob in self._blobs.get(diff_id, ()):
            self._take_blob(blob.digest, blob.size)

    def _take_blob(self, digest: str, size: int) -> None:
        if digest not in self.blobs:
            self.blobs[digest] = size
            self._count(size)

    def _count(self, size: int) -> None:
        self.bytes += size
        self._total -= size
