"""Cache mounts of a build: backed by directories of the host, kept within bounds, carried with shared caches."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import CacheError
from buildah_py.linux.identity import has_single_id
from buildah_py.sharing.options import MountOption
from buildah_py.store.cache_mounts import CacheName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.plan import Node
    from buildah_py.sharing.backend import Backend, Open
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.records import SharedMount
    from buildah_py.store import Store

ALL = "all"
MOST = "PYBUILD_CACHE_MOUNT_MAX"
"""The variable that limits each cache mount."""


class Mounts:
    """Directories for the cache mounts of one build.

    `options` are those of single mounts, `imports` the caches that may fill new ones, each with the ids that it is
    asked for. `warn` is told what could not be had.
    """

    def __init__(
        self,
        store: Store,
        options: Mapping[str, MountOption],
        imports: Sequence[tuple[ImportedCache, tuple[str, ...]]],
        environ: Mapping[str, str],
        warn: Callable[[str], object],
    ) -> None:
        self._store = store
        self._options = options
        self._imports = [(one, ids) for one, ids in imports if ids]
        self._environ = environ
        self._warn = warn
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def directory(self, name: CacheName) -> str | None:
        """Prepare a mount before it is used; the directory of the host that stands for it, None for the store's."""
        option = self._options.get(name.id, MountOption())
        if option.directory and name.is_portable:
            return option.directory
        with self._lock:
            first = name not in self._seen
            self._seen.add(name)
            if first and (most := option.most or self._most()):
                self._empty(name, most)
            if first and name.is_portable and self._imports:
                self._fill(name)
        return None

    def place(self, name: CacheName) -> str | None:
        """Return the directory of a mount, None where there is none."""
        option = self._options.get(name.id, MountOption())
        if option.directory:
            return option.directory
        return self._store.cache_mounts.path(name) if self._store.cache_mounts.is_there(name) else None

    def _most(self) -> int:
        from buildah_py.store.sizes import parse_size

        text = self._environ.get(MOST, "")
        return parse_size(text) if text else 0

    def _empty(self, name: CacheName, most: int) -> None:
        """Begin anew with a mount that has grown too large: a part of what a tool left may be worse than nothing."""
        from buildah_py.store.disk_usage import disk_usage
        from buildah_py.store.locks import living_leases

        path = self._store.cache_mounts.path(name)
        if os.path.isdir(path) and disk_usage(path) > most:
            living = living_leases(self._store.path("leases"))
            others = [start for lease, start in living.items() if lease != self._store.lease.name]
            self._store.cache_mounts.remove(os.path.basename(path), min([*others, time.time_ns()]))

    def _fill(self, name: CacheName) -> None:
        with self._store.lock(f"filling cache mount {name}"):
            if self._store.cache_mounts.is_there(name):
                return
            for one, ids in self._imports:
                if ALL not in ids and name.id not in ids:
                    continue
                shared = one.mount(name)
                if shared is None:
                    continue
                try:
                    restore_mount(self._store, one.backend, shared, count=one.count)
                except CacheError as error:
                    self._warn(f"the cache mount {name.shown} is not filled: {error}")
                else:
                    return


def restore_mount(
    store: Store,
    backend: Backend,
    shared: SharedMount,
    *,
    replace: bool = False,
    count: Callable[[int], object] = lambda _: None,
) -> None:
    """Put what a cache has of a mount into the store. Raises CacheError; the mount is as it was then."""
    from buildah_py.sharing.mount_transfer import read_snapshot, restore

    snapshot = read_snapshot(backend, shared.snapshot, count)
    staged = os.path.join(store.stage(), "mount")
    os.mkdir(staged, 0o755)  # unless the snapshot says something else
    restore(snapshot, backend, staged, owners=not has_single_id(), count=count)
    store.cache_mounts.put(shared.id, staged, replace=replace)


def mounts_of(nodes: Iterable[Node]) -> list[CacheName]:
    """Return the names of the cache mounts of a build's steps, but for those that begin with what a stage holds."""
    from buildah_py.plan.steps import CaptureStep, RunStep

    steps = [node.step.run if isinstance(node.step, CaptureStep) else node.step for node in nodes]
    mounts = [mount for step in steps if isinstance(step, RunStep) for mount in step.mounts]
    caches = [one for one in mounts if one.type == "cache" and one.input is None]
    return list(dict.fromkeys(CacheName.of(one.id, one.uid, one.gid, one.mode) for one in caches))


class Carried(NamedTuple):
    """Cache mounts on their way out: what the records say of them, their blobs, and what opens those that are new."""

    mounts: tuple[SharedMount, ...]
    blobs: tuple[Descriptor, ...]
    sources: Mapping[str, Open]


def pack_mounts(
    store: Store,
    names: Iterable[CacheName],
    directory: Callable[[CacheName], str | None],
    before: ImportedCache,
    others: Sequence[ImportedCache] = (),
) -> Carried:
    """Pack cache mounts for the place whose present cache is `before`: only contents that it lacks are packed.

    A mount that is not on this machine stays there as it is, or is handed on from one of `others`. Raises CacheError.
    """
    mounts: list[SharedMount] = []
    blobs: list[Descriptor] = []
    sources: dict[str, Open] = {}
    for name in dict.fromkeys(names):
        where = directory(name)
        found = _pack(store, name, where, before, sources) if where else _hand_on(store, name, before, others, sources)
        if found is not None:
            mounts.append(found[0])
            blobs += found[1]
    return Carried(tuple(mounts), tuple(blobs), sources)


def _pack(
    store: Store, identity: str, where: str, before: ImportedCache, sources: dict[str, Open]
) -> tuple[SharedMount, Sequence[Descriptor]]:
    import io

    from buildah_py.sharing.mount_transfer import pack_mount, read_snapshot
    from buildah_py.sharing.records import SharedMount

    shared = before.mount(identity)
    known = None
    if shared is not None:
        try:
            known = read_snapshot(before.backend, shared.snapshot, before.count)
        except CacheError:  # what is there cannot be built on; all is sent
            known = None
    with store.lock(f"cache mount {identity}"):
        packed = pack_mount(where, known, store.stage())
    sources[packed.blob.digest] = lambda: io.BytesIO(packed.data)
    for digest, path in packed.files.items():
        sources[digest] = _opening(path)
    return SharedMount(identity, packed.blob), (packed.blob, *packed.packs)


def _hand_on(
    store: Store, identity: str, before: ImportedCache, others: Sequence[ImportedCache], sources: dict[str, Open]
) -> tuple[SharedMount, Sequence[Descriptor]] | None:
    from buildah_py.sharing.mount_transfer import read_snapshot

    for one in (before, *others):
        shared = one.mount(identity)
        if shared is None:
            continue
        try:
            snapshot = read_snapshot(one.backend, shared.snapshot, one.count)
        except CacheError:  # then another may have it
            continue
        blobs = (shared.snapshot, *(pack.blob for pack in snapshot.packs))
        for blob in blobs:
            sources.setdefault(blob.digest, _reading(store, one, blob))
        return shared, blobs
    return None


def _opening(path: str) -> Open:
    return lambda: open(path, "rb")


def _reading(store: Store, one: ImportedCache, blob: Descriptor) -> Open:
    """Fetch a blob to send it on, when that turns out to be needed."""
    from buildah_py.sharing.backend import copy_blob

    def source() -> BinaryIO:
        path = os.path.join(store.stage(), "blob")
        copy_blob(one.backend, blob, path, one.count)
        return open(path, "rb")

    return source
