"""The client for registries, made when it is first needed."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from buildah_py.http.retry import Waiter
    from buildah_py.registry import Registry, RegistryOptions


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
    options: Callable[[], RegistryOptions] | None, environ: Mapping[str, str], waiter: Waiter
) -> Callable[[], RegistryOptions]:
    """Give options, or what the environment says, for somebody who waits."""

    def read() -> RegistryOptions:
        from buildah_py.frozen import replace
        from buildah_py.registry import RegistryOptions

        return replace(options() if options else RegistryOptions.from_environment(environ), waiter=waiter)

    return read
