"""What makes a container findable while it runs, and afterwards: its directory, its socket, its ports, how it ended."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from buildah_py.errors import EXIT_BUILDER, PybuildError
from buildah_py.sandbox.streams import PATIENCE, signals_passed_on
from buildah_py.store.containers import EXITED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from buildah_py.engine.containers import Containers
    from buildah_py.sandbox import Container, ContainerSpec
    from buildah_py.sandbox.ports import Listeners
    from buildah_py.store.containers import OwnContainer


class Keeping:
    """How one container is kept: not at all without `own`.

    `patience` is how many seconds it has for ending by itself; `log` the file for its output where it runs in the
    background. `started` hears, there, that the command is executed, or status and reason where it could not be.
    """

    def __init__(
        self,
        own: OwnContainer | None = None,
        *,
        listeners: Listeners | None = None,
        patience: float = PATIENCE,
        log: str = "",
        warn: Callable[[str], object] = lambda _: None,
        tell: Callable[[str], object] = lambda _: None,
        started: Callable[[int, str], object] = lambda _status, _why: None,
    ) -> None:
        self.log = log
        self._own = own
        self._listeners = listeners
        self._patience = patience
        self._warn = warn
        self._tell = tell
        self._started = started
        self._spec: ContainerSpec | None = None
        self._status = EXIT_BUILDER

    def start(self, containers: Containers, spec: ContainerSpec, **streams: Any) -> Container:
        """Start the container, and warn at once of what this machine cannot do for it: it may run for long."""
        container = containers.start(spec, **streams, shaped=self._shaped, listeners=self._listeners)
        self.warn_of(container)
        return container

    def warn_of(self, container: Container) -> None:
        """Warn of what has become known since the last time."""
        while container.warnings:
            self._warn(container.warnings.pop(0))

    def _shaped(self, spec: ContainerSpec) -> None:
        self._spec = spec

    def signals(self, container: Container) -> AbstractContextManager[None]:
        """Have the command get the signals that this process gets."""
        return signals_passed_on(container, patience=self._patience, tell=self._tell)

    @contextmanager
    def watched(self, containers: Containers, container: Container) -> Iterator[None]:
        """Have others reach the container meanwhile."""
        if self._own is None:
            yield
            return
        from buildah_py.running.control import Control

        assert self._spec is not None
        control: Control | None = None
        try:
            control = Control(self._own.path, containers, container, self._spec)
        except OSError as error:  # not every file system has sockets
            self._warn(f"nobody else can stop the container, or run commands in it: its socket: {error.strerror}")
        try:
            yield
        except BaseException as error:
            self._say_end(EXIT_BUILDER, str(error) if isinstance(error, PybuildError) else type(error).__name__)
            raise
        finally:
            if control is not None:
                control.close(self._status)

    def begin(self, container: Container) -> None:
        """Wait until the command is executed. Raises SandboxError where the container could not be made."""
        executed = container.executed()
        self.warn_of(container)
        self._started(*executed)

    def ended(self, container: Container, problem: Callable[[], str] = lambda: "") -> int:
        """Wait for the end, and say how it was, with a `problem` where there was one; the command's status."""
        ended = container.wait()
        self._say_end(ended.status, problem(), out_of_memory=ended.out_of_memory)
        self.warn_of(container)
        return ended.status

    def _say_end(self, status: int, error: str, *, out_of_memory: bool = False) -> None:
        self._status = status
        if self._own is not None:
            self._own.say(status=EXITED, code=status, finished=time.time_ns(), error=error, out_of_memory=out_of_memory)
