"""Providers of a store's layers: registries, and whatever else the store names as the origin of one."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol, Self

from buildah_py.cache.records import drop_lies
from buildah_py.errors import Interrupted, LayersLost, PybuildError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType

    from buildah_py.registry import Registry, RegistryOptions
    from buildah_py.store import LayerProvider, Origin, Store, StoredBlob
    from buildah_py.transfer.fetch import Opener


class Registries:
    """The client for registries, made when it is first needed; context manager.

    `options` gives what the command line says of registries; without it, what the environment says holds.
    """

    def __init__(
        self, environ: Mapping[str, str] | None = None, options: Callable[[], RegistryOptions] | None = None
    ) -> None:
        self._environ = os.environ if environ is None else environ
        self._options = options
        self._registry: Registry | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def registry(self) -> Registry:
        """Return the client; the same for all threads."""
        with self._lock:
            if self._registry is None:
                from buildah_py.registry import Registry, RegistryOptions

                options = self._options() if self._options else RegistryOptions.from_environment(self._environ)
                self._registry = Registry(options)
            return self._registry

    def close(self) -> None:
        """End its connections, and whatever waits for them."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
                self._registry = None


def waited_for(
    options: Callable[[], RegistryOptions] | None,
    environ: Mapping[str, str],
    tell: Callable[[str], object],
    cancelled: Callable[[], bool],
) -> Callable[[], RegistryOptions]:
    """Give options, or what the environment says, for somebody who waits: `tell` and `cancelled` are a Waiter's."""

    def read() -> RegistryOptions:
        from buildah_py.frozen import replace
        from buildah_py.http.retry import Waiter
        from buildah_py.registry import RegistryOptions

        found = options() if options else RegistryOptions.from_environment(environ)
        return replace(found, waiter=Waiter(tell, cancelled))

    return read


class OriginProvider:
    """Gets layers from their origins, as `LayerProvider` says.

    `openers` gives ways to open origins beside registries and layouts, by their kinds, when they are first needed.
    `tell` hears of what is fetched; `cancelled` ends it early.
    """

    def __init__(
        self,
        registries: Registries,
        *,
        openers: Callable[[], Mapping[str, Opener]] = dict,
        tell: Callable[[str], object] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._registries = registries
        self._openers = openers
        self._tell = tell
        self._cancelled = cancelled
        self._announced: set[str] = set()

    def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
        """Have the files of layers in the store.

        Raises NotFound, ArchiveError, RegistryError where one of them cannot be had, Interrupted.
        """
        from buildah_py.transfer.fetch import Fetch

        Fetch(
            store,
            self._registries.registry,
            self._openers(),
            tell=self._tell,
            cancelled=self._cancelled,
            announced=self._announced,
        ).ensure(diff_ids)

    def blob(self, store: Store, diff_id: str) -> StoredBlob:
        """Have the blob of a layer in the store, without unpacking it. Raises what `ensure` does."""
        from buildah_py.transfer.fetch import Fetch

        return Fetch(store, self._registries.registry, self._openers(), cancelled=self._cancelled).blob(diff_id)

    def close(self) -> None:
        """End the connections."""
        self._registries.close()


class Promises(Protocol):
    """Whoever promised layers to the store."""

    def promise_again(self, store: Store, diff_id: str) -> None:
        """Tell the store all places that are known for a layer which cannot be had from where it says."""
        ...

    def note_fetched(self, origins: Iterable[Origin]) -> None:
        """Take note of the origins of layers that are about to be fetched."""
        ...


class NoPromises:
    """The promises of a build without shared caches."""

    def promise_again(self, store: Store, diff_id: str) -> None:
        """Know no other place."""

    def note_fetched(self, origins: Iterable[Origin]) -> None:
        """Take no note."""


class VerifiedProvider:
    """The provider of a store in which an image is built: `inner`'s layers, compared with what records say of them.

    A record that came from a shared cache names a layer that nobody here has seen. Whatever is built on it has a key
    that was made of what the cache said, and is worth nothing if that was not so.
    """

    def __init__(self, inner: LayerProvider, promises: Promises) -> None:
        self._inner = inner
        self._promises = promises

    def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
        """Have layers here. Raises LayersLost that names those that cannot be had, or are not what a record says."""
        missing = store.layers.missing(diff_ids)
        self._promises.note_fetched({origin for diff_id in missing for origin in store.layers.origins(diff_id)})
        try:
            self._inner.ensure(store, diff_ids)
        except (Interrupted, StoreError):  # a full disk has lost nothing
            raise
        except PybuildError as error:
            self._fetch_each(store, diff_ids, error)
        lies = [diff_id for diff_id in missing if drop_lies(store, diff_id)]
        if lies:
            raise LayersLost(f"the content of layer {lies[0]} is not what a shared cache said of it", lies)

    def blob(self, store: Store, diff_id: str) -> StoredBlob:
        """Return the blob of a layer for an output.

        One that records lead to is unpacked, or nobody would know what it is.
        """
        if store.records.of_layer(diff_id):
            if store.layers.missing([diff_id]):
                self.ensure(store, [diff_id])
            for blob in store.blobs.of(diff_id):
                if not blob.compressor and store.blobs.use(blob.digest):
                    return blob
        return self._inner.blob(store, diff_id)

    def close(self) -> None:
        """Close the inner provider."""
        self._inner.close()

    def _fetch_each(self, store: Store, diff_ids: Sequence[str], first: PybuildError) -> None:
        lost = []
        for place, diff_id in enumerate(diff_ids):
            if not store.layers.missing([diff_id]):
                continue
            self._promises.promise_again(store, diff_id)
            try:
                self._inner.ensure(store, diff_ids[: place + 1])
            except Interrupted:
                raise
            except PybuildError:
                if store.layers.missing([diff_id]):
                    lost.append(diff_id)
        if lost:
            raise LayersLost(first.message, lost, hint=first.hint) from first
