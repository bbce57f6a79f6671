"""The containers of a build: the sandbox is made when the first is wanted, and whoever cancels the build kills all."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from buildah_py.errors import Interrupted, SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.sandbox import Container, ContainerSpec, Sandbox
    from buildah_py.sandbox.ports import Listeners
    from buildah_py.sandbox.spec import ObservedLayers


class Cancellation(threading.Event):
    """Set when a build is to end early; whoever fetches or waits for something looks at it."""

    def check(self) -> None:
        """Raise Interrupted where it is set."""
        if self.is_set():
            raise Interrupted("interrupted")


class Containers:
    """Shared by the threads of a build; `shape` gives a container as the command line wants it.

    `isolation` is what most of them will have; PRoot is looked for in `tracers`.
    """

    def __init__(
        self,
        make_sandbox: Callable[[], Sandbox],
        cancellation: Cancellation,
        shape: Callable[[ContainerSpec], ContainerSpec],
        *,
        beside: Containers | None = None,
        isolation: str = "container",
        tracers: str = os.defpath,
    ) -> None:
        self._isolation = isolation
        self._tracers = tracers
        self._beside = beside
        self._make_sandbox = make_sandbox
        self._cancellation = cancellation
        self._shape = shape
        self._sandbox: Sandbox | None = None
        self._released: list[Sandbox] = []
        self._running: set[Container] = set()
        self._lock = threading.RLock()

    def expect(self, *, network: bool) -> None:
        """Begin to make what containers will need, with `network` one of their own, while other things are done.

        Raises SandboxError where there can be none at all.
        """
        from buildah_py.sandbox.client import refuse_where_impossible
        from buildah_py.sandbox.rungs import WITHOUT_CONTAINER

        is_plain = self._isolation in WITHOUT_CONTAINER
        if not is_plain:
            refuse_where_impossible(self._tracers)
        self._open().start(network=network and not is_plain)

    def _open(self) -> Sandbox:
        if self._beside is not None:
            return self._beside.sandbox()
        with self._lock:
            if self._sandbox is None:
                from buildah_py.linux.files import raise_descriptor_limit

                raise_descriptor_limit()  # a step on a thousand layers looks into all of them at once
                self._sandbox = self._make_sandbox()
            return self._sandbox

    def sandbox(self) -> Sandbox:
        """Give the sandbox, for containers of another shape beside these."""
        return self._open()

    def start(
        self,
        spec: ContainerSpec,
        *,
        stdin: int | None,
        stdout: int,
        stderr: int,
        shaped: Callable[[ContainerSpec], object] = lambda _: None,
        observed: Callable[[ContainerSpec], ObservedLayers | None] = lambda _: None,
        listeners: Listeners | None = None,
    ) -> Container:
        """Start a container, which has to be `held` then; `shaped` is told what it is like with all options.

        `observed` says what is to be observed of it.

        Raises SandboxError, and Interrupted once cancelled.
        """
        self._cancellation.check()
        spec = self._shape(spec)
        shaped(spec)
        container = self._open().start_container(
            spec, stdin=stdin, stdout=stdout, stderr=stderr, observed=observed(spec), listeners=listeners
        )
        with self._lock:
            self._running.add(container)
            if self._cancellation.is_set():
                container.kill()
        return container

    def join(
        self, running: Container, spec: ContainerSpec, *, stdin: int = 0, stdout: int = 1, stderr: int = 2
    ) -> Container:
        """Start a further command in a container that runs; `spec` is as it was shaped. Raises SandboxError."""
        return self._open().join_container(running, spec, stdin=stdin, stdout=stdout, stderr=stderr)

    @contextmanager
    def held(self, container: Container) -> Iterator[None]:
        """Wait for a container meanwhile; an exception ends it."""
        try:
            yield
        except BaseException:
            container.kill()
            with suppress(SandboxError):  # what ended it says more
                container.wait()
            raise
        finally:
            with self._lock:
                self._running.discard(container)

    def cancel(self) -> None:
        """Kill what runs; nothing is started any more."""
        self._cancellation.set()
        with self._lock:
            for container in self._running:
                container.kill()

    def release(self) -> None:
        """Begin to take away what containers need: most likely none will be started any more."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.release()
                self._released.append(self._sandbox)
                self._sandbox = None

    def close(self) -> None:
        """End the sandbox; nothing of it is left."""
        with self._lock:
            self.release()
            while self._released:
                self._released.pop().close()
