"""Commands of `pybuild cache mounts`: cache mounts listed, removed, written to a cache and read from one."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildah_py.errors import CacheError, NotFound, UsageError
from buildah_py.sharing.backends import Backends
from buildah_py.sharing.build_mounts import pack_mounts, restore_mount
from buildah_py.store.cache_mounts import CacheName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.sharing.export import SentCache
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store import Store
    from buildah_py.store.cache_mounts import CacheMount


def remove_mounts(store: Store, ids: Sequence[str]) -> tuple[list[CacheMount], list[CacheMount]]:
    """Remove the cache mounts of these ids with all their copies, without ids all: those removed, those in use.

    Raises NotFound for an id that there is none of.
    """
    from buildah_py.store.locks import living_leases

    limit = min([time.time_ns(), *_others(store, living_leases(store.path("leases")))])
    removed: list[CacheMount] = []
    used: list[CacheMount] = []
    for mount in _chosen(store.cache_mounts.all(), ids):
        (removed if store.cache_mounts.remove(mount.name, limit) else used).append(mount)
    return removed, used


def export_mounts(
    store: Store, where: str, ids: Sequence[str], environ: Mapping[str, str]
) -> tuple[list[str], SentCache]:
    """Write cache mounts (all of them without ids) to a cache, beside the records that it has; their ids.

    `where` is a directory, or what `--cache-to` takes. Raises NotFound, CacheError, UsageError.
    """
    from buildah_py.sharing.export import resend
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.signing import public_key
    from buildah_py.sharing.spec import parse_to

    place = parse_to(where if "=" in where else f"type=local,dest={where}")
    if place.type == "inline":
        raise UsageError("an image carries no cache mounts", hint="write them to a directory, or to type=registry,…")
    chosen = [mount.id for mount in _chosen(store.cache_mounts.all(), ids) if mount.id and mount.id.is_portable]
    backend = Backends(environ).open(place)
    complaints: list[str] = []
    before = ImportedCache(backend, (public_key(place.sign),) if place.sign else (), complaints.append)
    others = [CacheName(one) for one in before.mounts() if one not in chosen]
    if complaints:
        raise CacheError(complaints[0], hint="remove it, or name another place")

    def directory(name: CacheName) -> str | None:
        return store.cache_mounts.path(name) if name in chosen and store.cache_mounts.is_there(name) else None

    carried = pack_mounts(store, [*chosen, *others], directory, before)
    sources = carried.sources
    sent = resend(before, carried.mounts, carried.blobs, lambda blob: sources[blob.digest], place.sign)
    return list(chosen), sent


def import_mounts(store: Store, where: str, ids: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Make cache mounts (without ids, all that the cache has) what a cache says they were; their ids.

    `where` is a directory, or what `--cache-from` takes. Raises NotFound, CacheError, UsageError.
    """
    from buildah_py.sharing.spec import parse_from

    place = parse_from(where if "=" in where else f"type=local,src={where}")
    cache = _open(place, environ)
    there = [CacheName(one) for one in cache.mounts()]
    for one in ids:
        if not any(name.id == one for name in there):
            raise NotFound(f"{cache.backend.name} has no cache mount {one}", hint=_there(there))
    chosen = [name for name in there if not ids or name.id in ids]
    for one in chosen:
        shared = cache.mount(one)
        if shared is None:
            raise CacheError(f"{cache.backend.name}: what it says of the cache mount {one} cannot be read")
        with store.lock(f"cache mount {one}"):
            restore_mount(store, cache.backend, shared, replace=True)
    return list(chosen)


def _open(place: CacheSpec, environ: Mapping[str, str]) -> ImportedCache:
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.signing import parse_public

    complaints: list[str] = []
    keys = tuple(map(parse_public, place.verify))
    cache = ImportedCache(Backends(environ).open(place), keys, complaints.append)
    if not cache.is_there:
        raise CacheError(complaints[0] if complaints else f"{cache.backend.name}: there is no cache")
    return cache


def _chosen(mounts: Sequence[CacheMount], ids: Sequence[str]) -> list[CacheMount]:
    for one in ids:
        if not any(mount.id.id == one or mount.name.startswith(one) for mount in mounts):
            raise NotFound(f"there is no cache mount {one}", hint=_there([mount.id for mount in mounts]))
    return [
        mount for mount in mounts if not ids or mount.id.id in ids or any(mount.name.startswith(one) for one in ids)
    ]


def _there(names: Sequence[CacheName]) -> str:
    plain = sorted({one.id for one in names if one})
    return f"there are {', '.join(plain)}" if plain else "there are none"


def _others(store: Store, living: Mapping[str, int]) -> list[int]:
    own = os.path.basename(store.lease.name)
    return [start for name, start in living.items() if name != own]
