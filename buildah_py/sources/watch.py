"""Fetching within a time limit: whoever waits for another machine is woken when nobody wants the answer."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from buildah_py.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TICK: Final = 0.1


class Watch:
    """Ends the connections of one fetch when `cancelled()`, or when something takes longer than `timeout` seconds.

    A context manager, for one thread.
    """

    def __init__(self, cancelled: Callable[[], bool], timeout: float) -> None:
        self._cancelled = cancelled
        self.timeout = timeout
        self._ended = ""
        self._until: float | None = None
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.forget()

    def forget(self) -> None:
        """Let the connections go that were made so far."""
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def check(self) -> None:
        """Raise Interrupted where nobody waits any more, TimeoutError where the connections were ended meanwhile.

        What came last is not to be trusted then: to whoever reads, it looks like an end.
        """
        if self._cancelled():
            raise Interrupted("interrupted while something was fetched")
        if self._ended:
            why, self._ended = self._ended, ""
            raise TimeoutError(why)

    def pause(self, seconds: float) -> None:
        """Wait; raises Interrupted where nobody does any more."""
        while seconds > 0:
            self.check()
            time.sleep(min(_TICK, seconds))
            seconds -= _TICK
        self.check()

    @contextmanager
    def within(self) -> Iterator[None]:
        """Have what is done here end within the time limit as a whole."""
        outer, self._until = self._until, self._until or time.monotonic() + self.timeout
        try:
            yield
        finally:
            self._until = outer

    def connect(self, address: tuple[str, int], timeout: Any = None, source_address: Any = None) -> socket.socket:
        """Do what socket.create_connection does, watched. Raises OSError, Interrupted."""
        del timeout, source_address
        self.check()
        error: OSError | None = None
        for family, kind, protocol, _, place in self._resolve(*address):
            made = socket.socket(family, kind, protocol)
            self._add(made)
            try:
                made.settimeout(self.timeout)
                made.connect(place)
            except OSError as failed:
                made.close()
                self.check()
                error = error or failed
            else:
                return made
        raise error or OSError("the name has no address")

    def _resolve(self, host: str, port: int) -> list[Any]:
        """Look a name up. The resolver cannot be interrupted: it has a thread of its own, which may outlive us."""
        found: list[Any] = []

        def look_up() -> None:
            try:
                found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except OSError as error:
                found.append(error)

        thread = threading.Thread(target=look_up, name="resolver", daemon=True)
        thread.start()
        until = time.monotonic() + self.timeout
        while thread.is_alive() and time.monotonic() < until:
            thread.join(_TICK)
            self.check()
        if not found:
            raise TimeoutError(f"looking up {host} took more than {self.timeout:g} seconds")
        if isinstance(found[0], OSError):
            raise found[0]
        return list(found[0])

    def _add(self, made: socket.socket) -> None:
        with self._lock:
            self._sockets.append(made.dup())  # TLS takes the socket itself over
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(_TICK):
            until = self._until
            if self._cancelled():
                self._end("interrupted")
            elif until is not None and time.monotonic() > until:
                self._end(f"it took more than {self.timeout:g} seconds to answer")

    def _end(self, why: str) -> None:
        self._ended = why
        self._until = None
        with self._lock:
            for one in self._sockets:
                with suppress(OSError):  # it never was connected
                    one.shutdown(socket.SHUT_RDWR)
