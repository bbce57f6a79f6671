"""The places that keep shared caches, opened as the command line and the environment name them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from buildah_py.errors import CacheError, UsageError
from buildah_py.http.retry import NOBODY
from buildah_py.image import platform as platforms
from buildah_py.sharing import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.http.retry import Waiter
    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.platform import Platform
    from buildah_py.registry import RegistryOptions
    from buildah_py.sharing.backend import Backend
    from buildah_py.sharing.spec import Place
    from buildah_py.store import Origin

    Registries = Callable[[], RegistryOptions] | None
    """What the command line says of registries; None where the environment alone says it."""


def open_place(
    place: Place,
    environ: Mapping[str, str],
    platform: Platform,
    mount_from: Sequence[str] = (),
    registries: Registries = None,
    waiter: Waiter = NOBODY,
) -> Backend:
    """Make what reaches a place; nothing is reached yet. Raises UsageError for what is not said or cannot be."""
    if place.type == spec.LOCAL:
        from buildah_py.sharing.local import LocalCache

        where = place.where
        return LocalCache(where.get("dest") or where["src"], where.get("tag", ""), where.get("digest", ""))
    if place.type == spec.S3:
        from buildah_py.sharing.s3 import S3Cache

        return S3Cache(place, environ, waiter)
    if place.type == spec.GHA:
        from buildah_py.sharing.gha import ActionsCache

        return ActionsCache(place, environ, waiter)
    assert place.type == spec.REGISTRY, place
    from buildah_py.registry import Registry
    from buildah_py.sharing.registry import RegistryCache

    options = _registry_options(environ, registries, waiter)
    if "registry.insecure" in place.where:
        insecure = spec.flag(place.option, place.where, "registry.insecure")
        options = replace(options, tls_verify=not insecure)
    return RegistryCache(place.where["ref"], Registry(options), platform, mount_from)


def _registry_options(environ: Mapping[str, str], registries: Registries, waiter: Waiter) -> RegistryOptions:
    if registries is not None:
        return registries()
    from buildah_py.registry import RegistryOptions

    return RegistryOptions.from_environment(environ, waiter=waiter)


def openers(
    environ: Mapping[str, str], known: Sequence[Backend] = (), waiter: Waiter = NOBODY
) -> dict[str, Callable[[Origin], Stream]]:
    """Say for the kinds of origins that caches alone have how their blobs are opened."""

    def opener(origin: Origin) -> Stream:
        return open_origin(origin, environ, known, waiter=waiter)

    return {"s3": opener, "gha": opener}


def open_origin(
    origin: Origin,
    environ: Mapping[str, str],
    known: Sequence[Backend] = (),
    registries: Registries = None,
    waiter: Waiter = NOBODY,
) -> Stream:
    """Open a layer's blob where the store says that it is: in one of `known`, or in what the origin's location names.

    Raises CacheError.
    """
    from buildah_py.image.descriptor import Descriptor

    blob = Descriptor(origin.media_type, origin.digest, origin.size)
    for backend in known:
        if (backend.kind, backend.location) == (origin.kind, origin.location):
            return backend.open(blob)
    try:
        return _open(origin, environ, blob, registries, waiter)
    except UsageError as error:
        raise CacheError(f"{origin.kind} {origin.location}: {error.message}", hint=error.hint) from error


def _open(
    origin: Origin, environ: Mapping[str, str], blob: Descriptor, registries: Registries, waiter: Waiter
) -> Stream:
    if origin.kind in (spec.S3, spec.GHA):
        place = spec.parse_from(origin.location)
        return open_place(place, environ, platforms.host(), registries=registries, waiter=waiter).open(blob)
    if origin.kind == "layout":
        from buildah_py.sharing.local import LocalCache

        return LocalCache(origin.location).open(blob)
    if origin.kind == "registry":
        from buildah_py.registry import Registry
        from buildah_py.sharing.registry import RegistryCache

        registry = Registry(_registry_options(environ, registries, waiter))
        return RegistryCache(origin.location, registry, platforms.host()).open(blob)
    raise CacheError(f"nothing is known of the place {origin.kind} {origin.location}")
