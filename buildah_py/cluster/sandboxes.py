"""The sandbox of a worker process, kept from step to step: its helper takes longer to start than many a step to run."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.sandbox import Sandbox

_IDLE: Final = 10.0
"""Seconds without a step after which nothing of a sandbox is left."""


class _Kept:
    """A sandbox with those who use it now; `end` is what ends it when nobody has for a while."""

    def __init__(self, make: Callable[[], Sandbox]) -> None:
        self.containers = Containers(make, Cancellation(), lambda spec: spec)
        self.users = 0
        self.end: threading.Timer | None = None


class Sandboxes:
    """Lends one sandbox to all steps that run at a time; another one after it has refused something."""

    def __init__(self, idle: float = _IDLE) -> None:
        self._idle = idle
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    @contextmanager
    def lent(self, make: Callable[[], Sandbox]) -> Iterator[Containers]:
        """Give containers beside which others have a place; `make` makes the sandbox where there is none."""
        with self._lock:
            if self._kept is None:
                self._kept = _Kept(make)
            kept = self._kept
            kept.users += 1
            if kept.end is not None:
                kept.end.cancel()
                kept.end = None
        try:
            yield kept.containers
        except SandboxError:
            with self._lock:
                if self._kept is kept:
                    self._kept = None
            raise
        finally:
            with self._lock:
                kept.users -= 1
                if not kept.users:
                    kept.end = threading.Timer(self._idle if self._kept is kept else 0, self._close, (kept,))
                    kept.end.daemon = True
                    kept.end.start()

    def _close(self, kept: _Kept) -> None:
        with self._lock:
            if kept.users:
                return
            if self._kept is kept:
                self._kept = None
        kept.containers.close()
