"""Datagrams to published ports, passed on into the container, and its answers to whoever asked.

An answer goes out from the address that was asked. Flows that nobody uses are forgotten after a while, and the oldest
where there are too many; a datagram that finds no room is lost, as datagrams are.
"""

from __future__ import annotations

import _socket
import select
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 1 << 16
_AT_ONCE = 64
"""Datagrams that are passed on before others have their turn."""
_IDLE = 90.0
"""Seconds after which nobody expects an answer any more; docker has the same."""
_PKTINFO4, _PKTINFO6 = 8, 50
"""IP_PKTINFO, IPV6_PKTINFO."""


class _Flow:
    """A client's datagrams to one port."""

    __slots__ = ("client", "listener", "socket", "source", "used")

    def __init__(self, socket: _socket.socket, listener: _socket.socket, client: Any, source: Any) -> None:
        self.socket = socket
        self.listener = listener
        self.client = client
        self.source = source
        self.used = 0.0


class Datagrams:
    """All flows, `most` at a time, to one address of the container."""

    def __init__(self, loop: Any, address: str, most: int) -> None:
        self._loop = loop
        self._address = address
        self._most = most
        self._listening: list[_socket.socket] = []
        self._flows: dict[Any, _Flow] = {}
        """The one that was used least recently comes first."""

    def listen(self, listener: _socket.socket, port: int) -> None:
        """Take datagrams to a port of the container."""
        self._listening.append(listener)
        self._loop.watch(listener.fileno(), select.EPOLLIN, lambda _: self._asked(listener, port))

    def close(self) -> None:
        """Forget everything."""
        for key in [*self._flows]:
            self._forget(key)
        for listener in self._listening:
            self._loop.forget(listener.fileno())
            listener.close()

    def forget_idle(self) -> float | None:
        """Forget flows that nobody uses; the seconds until there may be another, None where there are none."""
        now = time.monotonic()
        while self._flows:
            key, oldest = next(iter(self._flows.items()))
            if now - oldest.used < _IDLE:
                return oldest.used + _IDLE - now
            self._forget(key)
        return None

    def _forget(self, key: Any) -> None:
        flow = self._flows.pop(key)
        self._loop.forget(flow.socket.fileno())
        flow.socket.close()

    def _asked(self, listener: _socket.socket, port: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, extra, _, client = listener.recvmsg(_LARGEST, _socket.CMSG_SPACE(20))
            except OSError:  # nothing is there any more, or an answer of before was not wanted
                return
            source = [found for one in extra if (found := _source(*one))]
            key = listener.fileno(), client, *source
            try:
                flow = self._flows.pop(key, None) or self._new(key, listener, port, client, source)
                self._flows[key] = flow
                flow.used = time.monotonic()
                flow.socket.send(data)
            except OSError:  # nobody listens, or there is no room: it is lost
                continue

    def _new(self, key: Any, listener: _socket.socket, port: int, client: Any, source: Any) -> _Flow:
        if len(self._flows) >= self._most:
            self._forget(next(iter(self._flows)))
        family = _socket.AF_INET6 if ":" in self._address else _socket.AF_INET
        socket = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        socket.connect((self._address, port))
        flow = _Flow(socket, listener, client, source)
        self._loop.watch(socket.fileno(), select.EPOLLIN, lambda _: self._answered(key, flow))
        return flow

    def _answered(self, key: Any, flow: _Flow) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = flow.socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # nobody listens in the container: datagrams have no way to say so
                return
            flow.used = time.monotonic()
            self._flows[key] = self._flows.pop(key)
            try:
                flow.listener.sendmsg([data], flow.source, 0, flow.client)
            except OSError:  # the client has gone, or there is no room: it is lost
                continue


def _source(level: int, kind: int, data: bytes) -> tuple[int, int, bytes] | None:
    """Give what has an answer sent from the address that a datagram came to, ip(7) and ipv6(7)."""
    if (level, kind) == (_socket.IPPROTO_IP, _PKTINFO4):
        return level, kind, struct.pack("=i", 0) + data[4:8] + bytes(4)
    if (level, kind) == (_socket.IPPROTO_IPV6, _PKTINFO6):
        return level, kind, data[:20]
    return None
