"""Ports of the host that lead into a container: the sockets that listen, and the process that passes on what comes.

The sockets are made here, in the host's network namespace, so that a port that is taken is told before there is a
container. The process that accepts on them is in the container's network namespace (`port_forwarder.py`): no address is
translated, no setting of the host changes, and the ports are free again when this process ends, however it does.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import SandboxError
from buildah_py.sandbox import wire
from buildah_py.sandbox.spawn import spawn

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Sequence

_BACKLOG = 1024
_TRIES = 20
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}
_PKTINFO = {socket.AF_INET: (socket.IPPROTO_IP, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO)}
"""Options by which a datagram comes with the address that it was sent to, ip(7), ipv6(7)."""


class Port(NamedTuple):
    """A port to be published: `address` is of the host, "" for all; one of `hosts` is taken, the first that is free.

    Any port will do where `hosts` is empty.
    """

    container: int
    protocol: str = "tcp"
    address: str = ""
    hosts: Sequence[int] = ()


class Published(NamedTuple):
    """A port of the host that leads to one of the container."""

    address: str
    host: int
    container: int
    protocol: str

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.host}->{self.container}/{self.protocol}"


class Listeners:
    """Sockets that listen for a container. `published` says which ports they are."""

    def __init__(self, ports: Iterable[Port]) -> None:
        """Listen. Raises SandboxError where a port is taken, or this machine has no such address."""
        self._open: list[tuple[socket.socket, Published]] = []
        try:
            for port in ports:
                self._listen(port)
        except BaseException:
            self.close()
            raise

    @property
    def published(self) -> tuple[Published, ...]:
        """Ports that are listened on."""
        return tuple(published for _, published in self._open)

    def close(self) -> None:
        """Give the ports back, as far as they have not been handed on."""
        for one, _ in self._open:
            one.close()

    def forward(self, network: int) -> Forwarder:
        """Have what comes passed on into the network namespace behind a descriptor. Raises SandboxError."""
        channel, process = spawn("buildah_py.sandbox.port_forwarder", "main(3)")
        for one, published in self._open:
            wire.send(channel, (published.protocol, published.container), (one.fileno(),))
        wire.send(channel, ("network",), (network,))
        answer, _ = wire.receive(channel)
        self.close()
        if answer is None or answer[0] != "ready":
            channel.close()
            os.waitpid(process, 0)
            why = answer[1] if answer else "the process that forwards them has ended unexpectedly"
            raise SandboxError(f"ports cannot be published: {why}")
        return Forwarder(channel, process)

    def _listen(self, port: Port) -> None:
        problem: OSError | None = None
        for number in port.hosts or [0] * _TRIES:
            try:
                self._open += _bound(port, number)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise _refusal(port, number, error) from None
                problem = error
            else:
                return
        assert problem is not None
        raise _refusal(port, port.hosts[0] if len(port.hosts) == 1 else 0, problem)


def _bound(port: Port, number: int) -> list[tuple[socket.socket, Published]]:
    """Listen on one port, of both families where no address was given. Raises OSError."""
    made: list[tuple[socket.socket, Published]] = []
    addresses = [port.address] if port.address else ["0.0.0.0", "::"]  # noqa: S104 (docker's default)
    try:
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                one = _socket_on(family, address, number, port.protocol)
            except OSError as error:
                if port.address or not made or error.errno not in _NO_IPV6:
                    raise
                continue
            number = one.getsockname()[1]
            made.append((one, Published(address, number, port.container, port.protocol)))
    except BaseException:
        for one, _ in made:
            one.close()
        raise
    return made


def _socket_on(family: socket.AddressFamily, address: str, number: int, protocol: str) -> socket.socket:
    one = socket.socket(family, _KINDS[protocol] | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            one.setsockopt(*_PKTINFO[family], 1)
        one.bind((address, number))
        if protocol == "tcp":
            one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _refusal(port: Port, number: int, error: OSError) -> SandboxError:
    address = f"[{port.address}]" if ":" in port.address else port.address
    what = f"{address}{':' if address else ''}{number}/{port.protocol}"
    if error.errno == errno.EADDRINUSE and number:
        hint = f"`ss -lnp 'sport = {number}'` tells by whom; or publish another one: -p OTHER:{port.container}"
        return SandboxError(f"the port {what} of this machine is taken", hint=hint)
    if error.errno == errno.EADDRINUSE:
        ports = f" from {port.hosts[0]} to {port.hosts[-1]}" if port.hosts else ""
        return SandboxError(f"no port of this machine{ports} is free for {port.container}/{port.protocol}")
    if error.errno == errno.EACCES:
        hint = "ports below net.ipv4.ip_unprivileged_port_start are root's: take one from 1024 on"
        return SandboxError(f"the port {what} of this machine is not for ordinary users", hint=hint)
    return SandboxError(f"cannot listen on the port {what} of this machine: {error.strerror}")


class Forwarder:
    """The process that passes on what comes, for as long as this is not closed."""

    def __init__(self, channel: _socket.socket, process: int) -> None:
        self._channel = channel
        self.process = process

    def close(self) -> None:
        """Have the ports given back; what is under way is still delivered, beside this process."""
        self._channel.shutdown(socket.SHUT_WR)
        wire.receive(self._channel)
        self._channel.close()
