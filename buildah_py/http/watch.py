"""Connections that end when nobody wants the answer any more, or when it takes too long.

Whoever waits for another machine is blocked in the kernel, or in the resolver, where no thread can be interrupted. So
the sockets are known here: shutting one down wakes whoever reads from it, writes to it or connects it. Connections that
a library makes by itself are ended as it has it (`holding`).
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TICK: Final = 0.1
_IDLE: Final = 2.0
"""Seconds after which a thread ends that has nothing to look at."""


class Late(TimeoutError):
    """Something took longer as a whole than it may, though each of its parts did not."""


class _Held(NamedTuple):
    """Thing that can be ended while somebody waits for it, and let go afterwards."""

    end: Callable[[], object]
    close: Callable[[], object]


class Watch:
    """Ends what one client waits for: all of it with `close`, or where `cancelled()`, one thing where it is late."""

    def __init__(self, cancelled: Callable[[], bool] | None = None) -> None:
        self._cancelled = cancelled
        self._held: dict[object, _Held] = {}
        self._until: dict[object, float] = {}
        self._late: set[object] = set()
        self._closed = threading.Event()
        self._busy = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        """End everything: whoever waits has an error, which `check` turns into Interrupted."""
        self._closed.set()
        self._busy.set()
        with self._lock:
            while self._held:
                _, one = self._held.popitem()
                one.end()
                one.close()

    def check(self) -> None:
        """Raise Interrupted where nobody waits any more.

        The last bytes are not to be trusted then: to whoever reads, they look like an end.
        """
        if self._cancelled is not None and self._cancelled():
            self.close()
        if self._closed.is_set():
            raise Interrupted("interrupted while another machine was waited for")

    def pause(self, seconds: float) -> None:
        """Wait. Raises Interrupted where nobody does any more."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check()
            self._closed.wait(min(left, _TICK))
        self.check()

    @contextmanager
    def within(self, owner: object, seconds: float) -> Iterator[None]:
        """Have what `owner` does in this context end within the time limit as a whole; raises Late where it did not."""
        with self._lock:
            self._until[owner] = time.monotonic() + seconds
        self._start()
        try:
            yield
        except Exception as error:
            if self._unlimit(owner):
                raise Late(f"took more than {seconds:g} seconds") from error
            raise
        else:
            if self._unlimit(owner):
                raise Late(f"took more than {seconds:g} seconds")
        finally:
            self._until.pop(owner, None)

    def renew(self, owner: object, seconds: float) -> None:
        """Have the time limit of `owner` begin anew, where there still is one."""
        with self._lock:
            if owner in self._until:
                self._until[owner] = time.monotonic() + seconds

    @contextmanager
    def holding(self, owner: object, end: Callable[[], object]) -> Iterator[None]:
        """Have `end` called, from another thread, where what `owner` does in this context is to end early."""
        with self._lock:
            self._held[owner] = _Held(end, lambda: None)
        self._start()
        try:
            self.check()
            yield
        finally:
            self.forget(owner)

    def _unlimit(self, owner: object) -> bool:
        """Have no time limit any more; whether that came too late. Raises Interrupted where nobody waits."""
        with self._lock:
            del self._until[owner]
            late = owner in self._late
            self._late.discard(owner)
        self.check()
        return late

    def connect(
        self, owner: object, host: str, port: int, options: Sequence[Any], *, resolve: float, timeout: float
    ) -> socket.socket:
        """Connect to a host by any of its addresses; it is ended with all others until `forget` is called for `owner`.

        `resolve` bounds the time for looking the name up, `timeout` that for each address. Raises OSError, Interrupted.
        """
        error: OSError = OSError("the name has no address")
        for family, kind, protocol, _, place in self._resolve(host, port, resolve):
            try:
                made = socket.socket(family, kind, protocol)
                for option in options:
                    made.setsockopt(*option)
                self.open(owner, made, place, timeout)
            except OSError as failed:
                error = failed
            else:
                return made
        raise error

    def open(self, owner: object, made: socket.socket, place: Any, timeout: float) -> None:
        """Connect a socket to where `place` says, or close it. Raises OSError, Interrupted."""
        self.forget(owner)
        try:
            with self._lock:
                kept = made.dup()  # TLS takes the socket itself over
                self._held[owner] = _Held(partial(_shut_down, kept), kept.close)
            self._start()
            self.check()
            made.settimeout(timeout)
            made.connect(place)
            self.check()
        except BaseException as error:
            made.close()
            self.forget(owner)
            if isinstance(error, OSError):
                self.check()
            raise

    def forget(self, owner: object) -> None:
        """Let go of what its owner has closed."""
        with self._lock:
            if owner in self._held:
                self._held.pop(owner).close()

    def _resolve(self, host: str, port: int, timeout: float) -> list[Any]:
        """Look a name up. The resolver cannot be interrupted: it has a thread of its own, which may outlive us."""
        found: list[Any] = []

        def look_up() -> None:
            try:
                found.append(socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM))
            except OSError as error:
                found.append(error)
            except UnicodeError:  # by the rules for names with letters of all languages
                found.append(socket.gaierror(f"{host} is not a name that a host can have"))

        thread = threading.Thread(target=look_up, name="resolver", daemon=True)
        thread.start()
        until = time.monotonic() + timeout
        while thread.is_alive() and time.monotonic() < until:
            thread.join(_TICK)
            self.check()
        if not found:
            raise socket.gaierror(f"no answer from the resolver within {timeout:g} seconds")
        if isinstance(found[0], OSError):
            raise found[0]
        return list(found[0])

    def _start(self) -> None:
        """Have the thread at work that looks at the clock, and whether anybody waits."""
        self._busy.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._closed.wait(_TICK):
            if not self._busy.wait(_IDLE):
                with self._lock:
                    if not self._busy.is_set():
                        self._thread = None
                        return
            if self._cancelled is not None and self._cancelled():
                self.close()
            now = time.monotonic()
            with self._lock:
                for owner, until in list(self._until.items()):
                    if now > until and owner in self._held:
                        self._late.add(owner)
                        self._held[owner].end()
                if not self._until and not (self._held and self._cancelled is not None):
                    self._busy.clear()


def _shut_down(one: socket.socket) -> None:
    with suppress(OSError):  # it never was connected, or has ended by itself
        one.shutdown(socket.SHUT_RDWR)
