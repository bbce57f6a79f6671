"""Parts that the operations of one build are executed with, each by itself, ready-made."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.cache.keys import MACHINE
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.cache import Cache
    from buildah_py.engine.containers import Cancellation, Containers
    from buildah_py.engine.file_systems import FileSystems
    from buildah_py.engine.step_sharing import StepSharing
    from buildah_py.layers.tree import SourceTree
    from buildah_py.progress.events import Event
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store
    from buildah_py.store.cache_mounts import CacheName


class ContextTrees(Protocol):
    """The contexts of a build: trees that can change while they are read."""

    def open(self, name: str) -> SourceTree:
        """Give the context of that name, always the same; "" is the main one. Raises SourceError, NotFound."""

    def refresh(self) -> None:
        """Have those that are open look at their files again."""


class Reporter:
    """Passes events on to `emit`, from several threads."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self.emit = emit
        self._warned: set[str] = set()
        self._lock = threading.Lock()

    def note(self, text: str, step: int = 0) -> None:
        """Say something worth knowing of the step with that id."""
        self.emit(events.Note(text, step))

    def warn(self, text: str) -> None:
        """Pass a warning on, once in a build."""
        with self._lock:
            new = text not in self._warned
            self._warned.add(text)
        if new:
            self.emit(events.Warning(text))


class Worker(NamedTuple):
    """The pieces. `reach` gives secrets and agents, and says where fetching may lead.

    `cache_directory` is asked before a cache mount is used: for the directory that stands for it, None for the store's.
    `restrictions` are those of containers here, as keys have them. `build` names the build on this machine, "" for one
    whose failures nobody will look at. `observe` says of which RUNs it is noted what they learn of files: one of
    `reuse.OBSERVE`. `work` is what the steps are shared with, None for a build that does all of them.
    """

    store: Store
    cache: Cache
    file_systems: FileSystems
    contexts: ContextTrees
    containers: Containers
    reporter: Reporter
    cancellation: Cancellation
    reach: Reach
    cache_directory: Callable[[CacheName], str | None]
    restrictions: str = ""
    build: str = ""
    observe: str = "off"
    work: StepSharing | None = None

    @property
    def machine(self) -> dict[str, str]:
        """What keys of RUN say of this machine: nothing where all can be done."""
        return {MACHINE: self.restrictions} if self.restrictions else {}
