"""Connections to published ports, passed on into the container.

What waits to be passed on is one piece for each direction: who does not read is not read from. The end of one direction
is passed on as such, and an abort as an abort.
"""

from __future__ import annotations

import _socket
import errno
import select
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECE = 1 << 16
_FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NOBODY = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
_LATER = {errno.EAGAIN, errno.EINPROGRESS, errno.EINTR}
_SHUT_WR = 1
_ABORT = struct.pack("ii", 1, 0)


class _Side:
    """One end of a connection: what waits to be sent to it, and how far it has come."""

    __slots__ = ("ended", "other", "pending", "shut", "socket")

    def __init__(self) -> None:
        self.socket: Any = None
        """None while it is being connected."""
        self.other = self
        self.pending = memoryview(b"")
        self.ended = False
        """It sends nothing any more."""
        self.shut = False
        """It has been told that nothing comes any more."""


class Connections:
    """All connections; `most` at a time, others wait to be accepted. `addresses` of the container are tried in turn."""

    def __init__(self, loop: Any, addresses: tuple[str, ...], most: int) -> None:
        self._loop = loop
        self._addresses = addresses
        self._most = most
        self._listening: list[tuple[_socket.socket, int]] = []
        self._paused = False
        self.count = 0

    def listen(self, listener: _socket.socket, port: int) -> None:
        """Accept connections to a port of the container."""
        self._listening.append((listener, port))
        self._loop.watch(listener.fileno(), select.EPOLLIN, lambda _: self._accept(listener, port))

    def close(self) -> None:
        """Accept nothing any more; the connections that there are go on."""
        for listener, _ in self._listening:
            self._loop.forget(listener.fileno())
            listener.close()
        self._listening.clear()

    def _accept(self, listener: Any, port: int) -> None:
        if self.count >= self._most:
            self._pause()
            return
        try:
            number, _ = listener._accept()  # noqa: SLF001 (what `socket` has over `_socket`)
        except OSError as error:
            if error.errno in _FULL and self.count:
                self._pause()
            return  # whoever came has gone again
        self.count += 1
        near, far = _Side(), _Side()
        near.other, far.other = far, near
        near.socket = _prepared(_socket.socket(fileno=number))
        self._connect(far, port, self._addresses)

    def _pause(self) -> None:
        self._paused = True
        for listener, _ in self._listening:
            self._loop.forget(listener.fileno())

    def _gone(self) -> None:
        self.count -= 1
        if self._paused:
            self._paused = False
            listening, self._listening = self._listening, []
            for listener, port in listening:
                self.listen(listener, port)

    def _connect(self, far: _Side, port: int, addresses: tuple[str, ...]) -> None:
        """Connect to the first of the addresses at which somebody listens; where nobody does, abort."""
        for place, address in enumerate(addresses):
            family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
            trying: _socket.socket | None = None
            try:
                trying = _prepared(_socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC))
                number = trying.connect_ex((address, port))
            except OSError as error:
                number = error.errno or errno.EIO
            if trying is not None and number == 0:
                self._begin(far, trying)
                return
            if trying is not None and number in _LATER:
                self._wait(far, trying, port, addresses[place + 1 :])
                return
            if trying is not None:
                trying.close()
            if number not in _NOBODY:
                break
        self._abort(far)

    def _wait(self, far: _Side, trying: _socket.socket, port: int, rest: tuple[str, ...]) -> None:
        self._loop.watch(trying.fileno(), select.EPOLLOUT, lambda _: self._connected(far, trying, port, rest))

    def _connected(self, far: _Side, trying: _socket.socket, port: int, rest: tuple[str, ...]) -> None:
        self._loop.forget(trying.fileno())
        if trying.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            trying.close()
            self._connect(far, port, rest)
        else:
            self._begin(far, trying)

    def _begin(self, far: _Side, connected: _socket.socket) -> None:
        far.socket = connected
        self._watch(far)
        self._watch(far.other)

    def _watch(self, side: _Side) -> None:
        """Wait for what a side can do now: send, if what it sent is passed on already, and take what waits for it."""
        mask = 0 if side.ended or side.other.pending else select.EPOLLIN
        mask |= select.EPOLLOUT if side.pending else 0
        self._loop.watch(side.socket.fileno(), mask, lambda events: self._moved(side, events))

    def _moved(self, side: _Side, events: int) -> None:
        try:
            if side.pending and events & ~select.EPOLLIN:
                self._send(side)
            if not side.ended and not side.other.pending and events & ~select.EPOLLOUT:
                data = side.socket.recv(_PIECE)
                side.ended = not data
                side.other.pending = memoryview(data)
                self._send(side.other)
        except OSError as error:
            if error.errno not in _LATER:
                self._abort(side)
                return
        if side.ended and side.shut and side.other.ended and side.other.shut:
            self._close(side)
        else:
            self._watch(side)
            self._watch(side.other)

    @staticmethod
    def _send(side: _Side) -> None:
        """Pass on what waits for a side, as far as it takes it, and then the end. Raises OSError."""
        try:
            while side.pending:
                side.pending = side.pending[side.socket.send(side.pending) :]
        except BlockingIOError:
            return
        if side.other.ended and not side.shut:
            side.shut = True
            side.socket.shutdown(_SHUT_WR)

    def _abort(self, side: _Side) -> None:
        for one in (side, side.other):
            if one.socket is not None:
                one.socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _ABORT)
        self._close(side)

    def _close(self, side: _Side) -> None:
        for one in (side, side.other):
            if one.socket is not None:
                self._loop.forget(one.socket.fileno())
                one.socket.close()
        self._gone()


def _prepared(one: _socket.socket) -> _socket.socket:
    one.setblocking(False)
    one.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
    one.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
    return one
