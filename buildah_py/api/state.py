"""Opening the store that the environment names."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from buildah_py.linux.identity import outer_uid
from buildah_py.store import Store, state_root

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from buildah_py.registry import Registry, RegistryOptions
    from buildah_py.store import StoredBlob


def open_store(
    environ: Mapping[str, str] | None = None,
    registries: Registries | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    tell: Callable[[str], object] = lambda _: None,
) -> Store:
    """Open the store of this user, or the one that `$PYBUILD_ROOT` names. Raises StoreError.

    Layers that are elsewhere are fetched when something needs them, with `registries` or as the environment says.
    `cancelled` and `tell` are those of Store.
    """
    store = Store(own_root(environ), cancelled=cancelled, tell=tell)

    used = registries or Registries(environ)

    def fetch(diff_ids: Sequence[str]) -> None:
        from buildah_py.api.fetching import Fetcher

        Fetcher(store, used.registry).ensure(diff_ids)

    def fetch_blob(diff_id: str) -> StoredBlob:
        from buildah_py.api.fetching import Fetcher

        return Fetcher(store, used.registry).blob(diff_id)

    store.fetch, store.fetch_blob = fetch, fetch_blob
    store.at_close.append(used.close)
    return store


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
        """The client; the same for all threads."""
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


def telling(
    options: Callable[[], RegistryOptions] | None, environ: Mapping[str, str], tell: Callable[[str], object]
) -> Callable[[], RegistryOptions]:
    """Give options, or what the environment says, with `tell` for whoever waits."""

    def read() -> RegistryOptions:
        from dataclasses import replace

        from buildah_py.registry import RegistryOptions

        return replace(options() if options else RegistryOptions.from_environment(environ), tell=tell)

    return read


def own_root(environ: Mapping[str, str] | None = None) -> str:
    """Say where that store lies."""
    return state_root(os.environ if environ is None else environ, outer_uid())
