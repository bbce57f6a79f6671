"""The process that passes on what comes to ports of the host, into a container's network namespace.

It enters that namespace and gives up every right. Sockets belong to the namespace that they were made in: those that
listen were made on the host and are handed over, those that it makes are the container's. So bytes cross over, and
nothing else does; of what a container sends nothing is looked at.

Messages: (protocol, port) with a socket each, then ("network",) with the namespace, answered by ("ready",) or
("error", why). Once nobody sends any more, the ports are given back and ("closed",) is said.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import _socket
import os
import resource
import select
import time

from buildah_py.linux import namespaces, process
from buildah_py.sandbox import wire
from buildah_py.sandbox.host_network import own_addresses
from buildah_py.sandbox.port_connections import Connections
from buildah_py.sandbox.port_datagrams import Datagrams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_CONNECTIONS, _MOST_FLOWS = 1024, 512
_SPARE = 64
"""Descriptors that are not connections."""
_PATIENCE = 10.0
"""Seconds for delivering what a container has sent before it ended."""


def main(control: int) -> None:
    """Serve until the other end of `control` is closed, and what has been sent by then is delivered."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    process.set_name("pybuild-ports")
    process.set_dumpable(False)
    channel = _socket.socket(fileno=control)
    listening: list[tuple[int, str, int]] = []
    while True:
        message, descriptors = wire.receive(channel)
        if message is None:
            return
        if message[0] == "network":
            break
        listening.append((descriptors[0], *message))
    try:
        namespaces.setns(descriptors[0], namespaces.CLONE_NEWNET)
        os.close(descriptors[0])
        _give_up_rights()
        addresses = tuple(own_addresses()) or ("127.0.0.1", "::1")
    except OSError as error:
        wire.send(channel, ("error", error.strerror))
        return
    most_connections, most_flows = _bounds(len(listening))
    loop = Loop()
    connections = Connections(loop, addresses, most_connections)
    datagrams = Datagrams(loop, addresses[0], most_flows)
    for descriptor, protocol, port in listening:
        listener = _socket.socket(fileno=descriptor)
        listener.setblocking(False)
        (connections if protocol == "tcp" else datagrams).listen(listener, port)
    ending: list[int] = []
    loop.watch(control, select.EPOLLIN, ending.append)
    wire.send(channel, ("ready",))
    while not ending:
        loop.turn(datagrams.forget_idle())
    loop.forget(control)
    connections.close()
    datagrams.close()
    wire.send(channel, ("closed",))
    channel.close()
    os.dup2(0, 2)  # whoever reads what the main process writes does not wait for this
    last = time.monotonic() + _PATIENCE
    while connections.count and (left := last - time.monotonic()) > 0:
        loop.turn(left)


def _give_up_rights() -> None:
    process.limit_bounding_set(0)
    process.clear_ambient_capabilities()
    process.capset(0, 0, 0)
    process.set_no_new_privileges()


def _bounds(listening: int) -> tuple[int, int]:
    """Raise the limit of descriptors as far as it is of use; gives how many connections and flows it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _SPARE + listening + 2 * _MOST_CONNECTIONS + _MOST_FLOWS
    soft = most if hard == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    third = max(1, (soft - _SPARE - listening) // 3)
    return min(_MOST_CONNECTIONS, third), min(_MOST_FLOWS, third)


class Loop:
    """Descriptors that are waited for, and what is called with the events of each."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._does: dict[int, Callable[[int], object]] = {}

    def watch(self, descriptor: int, mask: int, does: Callable[[int], object]) -> None:
        """Wait for these events of a descriptor from now on; for nothing at all with a `mask` of 0."""
        if not mask:
            self.forget(descriptor)
        elif descriptor in self._does:
            self._poll.modify(descriptor, mask)
        else:
            self._poll.register(descriptor, mask)
        if mask:
            self._does[descriptor] = does

    def forget(self, descriptor: int) -> None:
        """Wait for nothing of a descriptor any more."""
        if self._does.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def turn(self, seconds: float | None) -> None:
        """Wait for events, no longer than `seconds` where that is not None, and have them dealt with."""
        for descriptor, events in self._poll.poll(seconds):
            does = self._does.get(descriptor)
            if does is not None:  # else it was closed by what came just before
                does(events)
