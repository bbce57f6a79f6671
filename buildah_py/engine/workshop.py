"""What all steps of a build share: the store, the cache, the sandbox, the contexts, and where events go."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.errors import Interrupted
from buildah_py.layers.tree import SourceTree
from buildah_py.linux.identity import has_single_id, in_user_namespace
from buildah_py.progress import events
from buildah_py.sources.reach import DIGESTED, NOWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.cache import Cache
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.view import MergedView
    from buildah_py.layers.writer import LayerWriter
    from buildah_py.progress.events import Event
    from buildah_py.sandbox import Container, ContainerSpec, Sandbox
    from buildah_py.sandbox.trust import Trust
    from buildah_py.sources.reach import Reach
    from buildah_py.store import Store
    from buildah_py.store.cache_mounts import CacheName


ONE_ID = "one id"
"""A limit: no file can have another owner than root, and changing owners does nothing."""


class Context(SourceTree, Protocol):
    """A build context: a tree that can change while it is read."""

    def refresh(self) -> None:
        """Forget what was seen of it."""
        ...


class RootAttributes(NamedTuple):
    """Mode, owner and group of `/`."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Workshop:
    """Shared by the threads of one build.

    `open_context` gives a build context by its name, `make_sandbox` the sandbox; both are called when first needed.
    `trust` are certificates for what containers reach, `reach` gives secrets and says where fetching may lead, `agents`
    are the sockets of ssh agents by their ids, `shape` gives a container as the command line wants it. `secret_digest`
    gives for a secret's id what of it enters keys: "" where it was not given, "given", or a digest of its value where
    that was asked for.
    `cache_directory` is asked before a cache mount is used: for the directory that stands for it, None for the store's.
    `ended` is set when the build is cancelled; whoever fetches something for it looks at that.
    """

    def __init__(
        self,
        store: Store,
        cache: Cache,
        *,
        open_context: Callable[[str], Context],
        make_sandbox: Callable[[], Sandbox],
        emit: Callable[[Event], None],
        trust: Trust | None = None,
        reach: Reach = NOWHERE,
        secret_digest: Callable[[str], str] = lambda _: "",
        agents: Mapping[str, str] | None = None,
        shape: Callable[[ContainerSpec], ContainerSpec] = lambda spec: spec,
        cache_directory: Callable[[CacheName], str | None] = lambda _: None,
        ended: threading.Event | None = None,
    ) -> None:
        self.store = store
        self.cache = cache
        self.emit = emit
        self.trust = trust
        self.reach = reach
        self._secret_digest = secret_digest
        self.agents = agents or {}
        self.shape = shape
        self.cache_directory = cache_directory
        self._open_context = open_context
        self._make_sandbox = make_sandbox
        self._sandbox: Sandbox | None = None
        self._released: list[Sandbox] = []
        self._contexts: dict[str, Context] = {}
        self._views: dict[tuple[tuple[str, ...], tuple[Stamps, ...]], MergedView] = {}
        self._containers: set[Container] = set()
        self._warned: set[str] = set()
        self.userxattr = in_user_namespace()
        self.owners = not (self.userxattr and has_single_id())
        """Whether files and processes can have other owners than root here."""
        self._lock = threading.RLock()
        self._opening = threading.Lock()
        self._cancelled = ended or threading.Event()

    @property
    def limits(self) -> tuple[str, ...]:
        """Name what this machine lacks and results of commands depend on; it enters keys, so that others do not hit."""
        return () if self.owners else (ONE_ID,)

    # file systems

    def lowers(self, layers: Sequence[str]) -> tuple[str, ...]:
        """The directories of layers for an overlay, the top-most first; see `Store.lowers`."""
        return self.store.lowers(layers)

    def view(self, layers: tuple[str, ...], stamps: tuple[Stamps, ...] = ()) -> MergedView:
        """The merged file system of layers, to be looked at without mounting; `stamps` as in a Result."""
        with self._lock:
            if (layers, stamps) not in self._views:
                self._views[layers, stamps] = self.store.view(layers, stamps)
            return self._views[layers, stamps]

    def root_attributes(self, layers: Sequence[str]) -> RootAttributes:
        """What `/` is like on top of layers."""
        self.store.need(layers)
        rows = self.store.layers.several(layers)
        for diff_id in reversed(layers):
            layer = rows.get(diff_id)
            if layer is not None and layer.root is not None:
                return RootAttributes(*layer.root)
        return RootAttributes()

    def make_root(self, path: str, layers: Sequence[str]) -> RootAttributes:
        """Make the directory `path` with the attributes of the root of `layers`, and give these."""
        root = self.root_attributes(layers)
        os.mkdir(path)
        if self.owners:
            from buildah_py.layers.owner import give

            give(path, root.uid, root.gid, "/")
        os.chmod(path, root.mode)
        return root

    def writer(self, path: str) -> LayerWriter:
        """Give what writes a layer into the empty directory `path`, in the form that overlays of this process take."""
        from buildah_py.layers.writer import LayerWriter

        return LayerWriter(path, userxattr=self.userxattr, owners=self.owners, devices=False)

    def context(self, name: str) -> Context:
        """The build context `name`; "" is the main one."""
        with self._opening:  # which may take as long as another machine likes; nothing else waits for it
            if name not in self._contexts:
                self._contexts[name] = self._open_context(name)
            return self._contexts[name]

    def refresh_contexts(self) -> None:
        """Have the contexts look at their files again."""
        with self._opening:
            contexts = list(self._contexts.values())
        for context in contexts:
            context.refresh()

    def lent(self, name: str, *, required: bool) -> str:
        """What of a secret enters a key: its value only where that was asked for, "" for nothing at all.

        One that need not be there can change a result by being there or not.
        """
        digest = self._secret_digest(name) or "not given"
        return "" if required and not digest.startswith(DIGESTED) else digest

    def open_log(self, number: int) -> int:
        """A descriptor for appending to the log of step `number` of this build, which nothing clips."""
        directory = self.store.path("logs", self.store.lease.name)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(os.path.join(directory, f"{number}.log"), flags, 0o600)

    # containers

    def expect_containers(self, *, network: bool) -> None:
        """Begin to make what containers will need, with `network` one of their own, while other things are done."""
        self._open_sandbox().start(network=network)

    def release_containers(self) -> None:
        """Begin to take that away: most likely no container will be started any more."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.release()
                self._released.append(self._sandbox)
                self._sandbox = None

    def _open_sandbox(self) -> Sandbox:
        with self._lock:
            if self._sandbox is None:
                from buildah_py.linux.files import raise_descriptor_limit

                raise_descriptor_limit()  # a step on a thousand layers looks into all of them at once
                self._sandbox = self._make_sandbox()
            return self._sandbox

    def start(self, spec: ContainerSpec, *, stdin: int | None, stdout: int, stderr: int) -> Container:
        """Start a container that `cancel` kills."""
        self.check()
        container = self._open_sandbox().start_container(spec, stdin=stdin, stdout=stdout, stderr=stderr)
        with self._lock:
            self._containers.add(container)
            if self._cancelled.is_set():
                container.kill()
        return container

    def finished(self, container: Container) -> None:
        """Forget a container that has ended."""
        with self._lock:
            self._containers.discard(container)

    def warn(self, text: str) -> None:
        """Pass a warning on, once in a build."""
        with self._lock:
            new = text not in self._warned
            self._warned.add(text)
        if new:
            self.emit(events.Warning(text))

    def cancel(self) -> None:
        """Kill what runs; whatever asks `check` from now on is interrupted."""
        self._cancelled.set()
        with self._lock:
            for container in self._containers:
                container.kill()

    def cancelled(self) -> bool:
        """Whether the build is being ended early."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise Interrupted where the build is being ended early."""
        if self._cancelled.is_set():
            raise Interrupted("interrupted")

    def close(self) -> None:
        """End the sandbox; nothing of it is left."""
        with self._lock:
            self.release_containers()
            while self._released:
                self._released.pop().close()
