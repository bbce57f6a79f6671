"""The places that keep shared caches, opened as the command line and the environment name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import CacheError, UsageError
from buildah_py.frozen import replace
from buildah_py.http.retry import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.http.retry import Waiter
    from buildah_py.image.blob import Stream
    from buildah_py.registry import RegistryOptions
    from buildah_py.sharing.backend import Backend
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store import Origin


class Backends:
    """Opens places for `waiter`; nothing is reached yet. `platform` chooses among images with a cache inside."""

    def __init__(
        self,
        environ: Mapping[str, str],
        platform: str = "",
        registries: Callable[[], RegistryOptions] | None = None,
        waiter: Waiter = NOBODY,
    ) -> None:
        self.environ = environ
        self._platform = platform
        self._registries = registries
        self._waiter = waiter

    def open(self, place: CacheSpec, mount_from: Sequence[str] = ()) -> Backend:
        """Make what reaches a place; `mount_from` are repositories that may have the same blobs.

        Raises UsageError for what is not said or cannot be.
        """
        from buildah_py.sharing import spec

        if place.type == spec.LOCAL:
            from buildah_py.sharing.local import LocalCache

            where = place.where
            return LocalCache(where.get("dest") or where["src"], where.get("tag", ""), where.get("digest", ""))
        if place.type == spec.S3:
            from buildah_py.sharing.s3 import S3Cache

            return S3Cache(place, self.environ, self._waiter)
        if place.type == spec.GHA:
            from buildah_py.sharing.gha import ActionsCache

            return ActionsCache(place, self.environ, self._waiter)
        if place.type == spec.REAPI:
            from buildah_py.sharing.reapi.cache import ReapiCache

            return ReapiCache(place, self.environ, self._waiter)
        assert place.type == spec.REGISTRY, place
        verify = None
        if "registry.insecure" in place.where:
            verify = not spec.flag(place.option, place.where, "registry.insecure")
        return self._registry(place.where["ref"], verify, mount_from)

    def open_origin(self, origin: Origin, known: Sequence[Backend] = ()) -> Stream:
        """Open a layer's blob where the store says that it is: in one of `known`, or in what the location names.

        Raises CacheError.
        """
        from buildah_py.image.descriptor import Descriptor

        blob = Descriptor(origin.media_type, origin.digest, origin.size)
        for backend in known:
            if (backend.kind, backend.location) == (origin.kind, origin.location):
                return backend.open(blob)
        try:
            return self._of(origin).open(blob)
        except UsageError as error:
            raise CacheError(f"{origin.kind} {origin.location}: {error.message}", hint=error.hint) from error

    def openers(self, known: Sequence[Backend] = ()) -> dict[str, Callable[[Origin], Stream]]:
        """Say for the kinds of origins that caches alone have how their blobs are opened."""
        from buildah_py.sharing import spec

        return dict.fromkeys(spec.SERVICES, lambda origin: self.open_origin(origin, known))

    def _of(self, origin: Origin) -> Backend:
        from buildah_py.sharing import spec

        if origin.kind in spec.SERVICES:
            return self.open(spec.parse_from(origin.location))
        if origin.kind == "layout":
            from buildah_py.sharing.local import LocalCache

            return LocalCache(origin.location)
        if origin.kind == "registry":
            return self._registry(origin.location)
        raise CacheError(f"nothing is known of the place {origin.kind} {origin.location}")

    def _registry(self, ref: str, verify: bool | None = None, mount_from: Sequence[str] = ()) -> Backend:
        from buildah_py.image import platform as platforms
        from buildah_py.registry import Registry, RegistryOptions
        from buildah_py.sharing.registry import RegistryCache

        options = (
            self._registries()
            if self._registries is not None
            else RegistryOptions.from_environment(self.environ, waiter=self._waiter)
        )
        if verify is not None:
            options = replace(options, tls_verify=verify)
        platform = platforms.parse(self._platform) if self._platform else platforms.host()
        return RegistryCache(ref, Registry(options), platform, mount_from)
