"""How a container that runs is asked for things: by a socket in its directory, which its user alone can reach.

Messages: ("signal", number); ("exec", what, variables) with three descriptors, or none where there is to be a terminal,
answered by ("terminal",) with its master, then ("exit", status) or ("error", message, hint); ("processes",), answered
by ("processes", ids); ("wait",), answered by ("ended", status) when it has. Who is connected sees the end of the
connection when the container has ended and has said how.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from buildah_py.errors import NotFound, SandboxError
from buildah_py.frozen import replace
from buildah_py.sandbox import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.engine.containers import Containers
    from buildah_py.sandbox import Container, ContainerSpec
    from buildah_py.store.containers import KeptContainer

_NAME: Final = "control"
_LOOK: Final = 0.02
_PATIENCE: Final = 10.0


class Control:
    """The container's side: threads that answer for as long as it runs."""

    def __init__(self, directory: str, containers: Containers, container: Container, spec: ContainerSpec) -> None:
        self._containers = containers
        self._container = container
        self._spec = spec
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._waiting: set[socket.socket] = set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _short(directory) as place:
            self._listener.bind(place)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self, status: int) -> None:
        """Let whoever is connected know that it is over, and who waits for that how it ended."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # whoever that was has gone
                    if connection in self._waiting:
                        wire.send(connection, ("ended", status))
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # it is over
                self._listener.close()
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        target = self._container
        joined = False
        try:
            while True:
                message, descriptors = wire.receive(connection)
                if message is None:
                    return
                if message[0] == "signal":
                    target.signal(message[1])
                elif message[0] == "wait":
                    with self._lock:
                        self._waiting.add(connection)
                elif message[0] == "processes":
                    wire.send(connection, ("processes", tuple(self._processes())))
                elif message[0] == "exec" and not joined:
                    target, joined = self._join(connection, message[1], message[2], descriptors), True
        except SandboxError as error:
            wire.send(connection, ("error", error.message, error.hint))
        finally:
            if joined:
                target.kill()
            with self._lock:
                self._connections.discard(connection)
                self._waiting.discard(connection)
                connection.close()

    def _join(
        self, connection: socket.socket, what: dict[str, Any], env: dict[str, str], descriptors: list[int]
    ) -> Container:
        try:
            there = dict(entry.partition("=")[::2] for entry in self._spec.env)
            spec = replace(self._spec, **what, env=tuple(f"{name}={value}" for name, value in (there | env).items()))
            if len(descriptors) == 3:
                stdin, stdout, stderr = descriptors
                started = self._containers.join(self._container, spec, stdin=stdin, stdout=stdout, stderr=stderr)
            else:
                started = self._containers.join(self._container, spec)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if spec.tty:
            master = started.open_terminal()
            wire.send(connection, ("terminal",), (master,))
            os.close(master)
        threading.Thread(target=_say_end, args=(connection, started), daemon=True).start()
        return started

    def _processes(self) -> Iterator[int]:
        """Give the ids, as this process sees them, of those that are in the container."""
        from buildah_py.sandbox.joining import KINDS

        namespaces = self._container.namespaces
        if not namespaces:
            return
        wanted = os.fstat(namespaces[[name for name, _ in KINDS].index("pid")]).st_ino
        for name in os.listdir("/proc"):
            with suppress(OSError):  # it has ended
                if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == wanted:
                    yield int(name)


def _say_end(connection: socket.socket, started: Container) -> None:
    try:
        answer: tuple[Any, ...] = ("exit", started.wait().status)
    except SandboxError as error:
        answer = ("error", error.message, error.hint)
    with suppress(OSError):  # whoever asked has gone
        wire.send(connection, answer)


class ContainerLine:
    """A connection to a container that runs; context manager."""

    def __init__(self, container: KeptContainer) -> None:
        """Connect. Raises NotFound where it does not run, SandboxError where it has no socket."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        last = time.monotonic() + _PATIENCE
        while not self._reaches(container):
            if container.lives() and time.monotonic() < last:  # it is about to be there
                time.sleep(_LOOK)
                continue
            self._socket.close()
            if container.alive:
                raise SandboxError(f"the container `{container.name}` runs, and cannot be reached by its socket")
            raise NotFound(
                f"the container `{container.name}` does not run", hint="`pybuild ps` lists those that do"
            ) from None

    def _reaches(self, container: KeptContainer) -> bool:
        try:
            with _short(container.path) as place:
                self._socket.connect(place)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def send(self, *message: Any, descriptors: tuple[int, ...] = ()) -> None:
        """Ask for something; nothing happens where the container has ended."""
        wire.send(self._socket, message, descriptors)

    def receive(self) -> tuple[Any, list[int]]:
        """Wait for an answer; None where the container has ended."""
        return wire.receive(self._socket)

    def ended(self, seconds: float | None) -> bool:
        """Wait for the container's end, no longer than `seconds`; whether it has come."""
        self._socket.settimeout(seconds)
        try:
            while self._socket.recv(1):
                continue
        except (TimeoutError, BlockingIOError):  # the latter where there was no time to wait
            return False
        except ConnectionResetError:
            return True
        finally:
            self._socket.settimeout(None)
        return True


@contextmanager
def _short(directory: str) -> Iterator[str]:
    """Give a way to the socket that is short enough for an address, however long its path is; unix(7)."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
