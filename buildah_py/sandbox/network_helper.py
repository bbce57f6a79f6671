"""The process that makes networks: a bridge for one build, address translation, and network namespaces on the bridge.

It is executed beside the main process, so that its time is not on the way, and outlives the main process by what it
takes to remove everything, even if that was killed. The remains of a killed one are removed by the next one: all
interfaces of a build are in one group, whose number is in the name of a file that its owner keeps locked.

Messages: ("take",) is answered by ("network", number, address) with a namespace's descriptor, or ("error", what, why);
("give", number, reusable) has no answer.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import _socket
import errno
import fcntl
import os

from buildah_py.linux import namespaces, process
from buildah_py.linux.netlink import NETLINK_ROUTE, Netlink
from buildah_py.sandbox import forwarding, wire
from buildah_py.sandbox.distrust import distrust
from buildah_py.sandbox.firewall import Passage
from buildah_py.sandbox.host_network import BITS, free_network, mtu_of, read_routes, read_uplinks6
from buildah_py.sandbox.nat import PacketFilter
from buildah_py.sandbox.netns import open_to_all_users

TYPE_CHECKING = False

PREFIX = "pyb"
INTERFACE = "eth0"
_LOOPBACK_INDEX, _INNER_INDEX = 1, 2
_GATEWAY = 1
_MOST = (1 << (32 - BITS)) - 2
_ALL_LOCK = "lock"
_BITS6 = 64
_NO_IPV6 = {errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.EAFNOSUPPORT}


def main(control: int, directory: str, servers: tuple[str, ...]) -> None:
    """Serve until the other end of `control` is closed, then remove everything."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE"):
        _signal.signal(getattr(_signal, name), _signal.SIG_IGN)
    process.set_name("pybuild-network")
    channel = _socket.socket(fileno=control)
    network = None
    try:
        network = Network(directory)
        network.open(servers)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        wire.send(channel, ("error", "making a network for containers", f"{error.strerror}{where}", error.errno))
    except ModuleNotFoundError as error:
        wire.send(channel, ("error", "making a network for containers", f"the Python package {error.name} is missing"))
    else:
        wire.send(channel, ("ready", network.name))
        network.serve(channel)
    finally:
        os.dup2(0, 2)  # whoever reads what the main process writes does not wait for this
        if network is not None:
            network.close()


class Namespace:
    """A network namespace with its address, whose interface is a port of the bridge."""

    __slots__ = ("address", "descriptor", "number")

    def __init__(self, number: int, descriptor: int, address: str) -> None:
        self.number = number
        self.descriptor = descriptor
        self.address = address


class Network:
    """One build's bridge and everything on it. `directory` holds the locks of all builds of this machine."""

    def __init__(self, directory: str) -> None:
        from buildah_py.sandbox import links

        self._links = links
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self._route = Netlink(NETLINK_ROUTE)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.name = ""
        self._lock = -1
        self._bridge = 0
        self._base = 0
        self._prefix = b""  # of IPv6; empty where the host has none
        self._mtu = 1500
        self._filter: PacketFilter | None = None
        self._passage: Passage | None = None
        self._ready: list[Namespace] = []
        self._taken: dict[int, Namespace] = {}
        self._count = 0

    def open(self, servers: tuple[str, ...]) -> None:
        """Remove what dead builds left, make the bridge and the packet filter, and one namespace for the first step."""
        with _Locked(self._path(_ALL_LOCK)):
            self._sweep()
            self._claim()
            routes = list(read_routes())
            self._base = free_network(routes)
            uplinks = {interface for interface, destination, mask in routes if not interface.startswith(PREFIX)}
            self._mtu = min(filter(None, map(mtu_of, uplinks)), default=1500)
            self._route.request([self._links.new_bridge(self.name, _group(self.name), self._mtu)])
            self._bridge = _socket.if_nametoindex(self.name)
            distrust(self.name)
            self._route.request([self._links.bring_up(self._bridge)])
            gateway, last = dotted(self._base + _GATEWAY), dotted(self._base + _MOST + 1)
            self._route.request([self._links.new_address(self._bridge, gateway, BITS, last)])
            uplinks6 = {interface for interface in read_uplinks6() if not interface.startswith(PREFIX)}
            if uplinks6:
                self._open_ipv6()
            switched = forwarding.begin(self._directory, self.name, uplinks, uplinks6 if self._prefix else set())
            self._filter = PacketFilter(self.name)
            mask = (0xFFFFFFFF << (32 - BITS)) & 0xFFFFFFFF
            networks = [(self._base.to_bytes(4), mask.to_bytes(4))]
            if self._prefix:
                networks.append((self._prefix + bytes(8), b"\xff" * 8 + bytes(8)))
            allowed = [packed for server in servers if (packed := _packed(server))]
            self._filter.install(self.name, networks, allowed, PREFIX, switched)
            self._passage = Passage(self.name, PREFIX)
            self._passage.open()
        self._ready.append(self._make())

    def _open_ipv6(self) -> None:
        """Give the bridge a network of unique local addresses (RFC 4193), chosen by chance as these are meant to be."""
        self._prefix = b"\xfd" + os.urandom(7)
        try:
            self._route.request([self._links.new_address6(self._bridge, self._address6(_GATEWAY), _BITS6)])
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
            self._prefix = b""

    def _address6(self, number: int) -> str:
        return _socket.inet_ntop(_socket.AF_INET6, self._prefix + number.to_bytes(8))

    def serve(self, channel: _socket.socket) -> None:
        """Hand out namespaces and take them back."""
        while True:
            message, _ = wire.receive(channel)
            if message is None:
                return
            if message[0] == "take":
                try:
                    namespace = self._ready.pop() if self._ready else self._make()
                except OSError as error:
                    where = f": {error.filename}" if error.filename else ""
                    wire.send(channel, ("error", "making a network namespace", f"{error.strerror}{where}"))
                    continue
                self._taken[namespace.number] = namespace
                wire.send(channel, ("network", namespace.number, namespace.address), (namespace.descriptor,))
            else:
                namespace = self._taken.pop(message[1])
                if message[2]:
                    self._ready.append(namespace)
                else:
                    os.close(namespace.descriptor)

    def close(self) -> None:
        """Remove everything that was made."""
        for namespace in (*self._ready, *self._taken.values()):
            os.close(namespace.descriptor)
        if not self.name:
            return
        self._delete_links(self.name)
        if self._filter is not None:
            self._filter.remove()
        if self._passage is not None:
            self._passage.close()
        with _Locked(self._path(_ALL_LOCK)):
            os.unlink(self._path(self.name))
            os.close(self._lock)
            if not self._others():
                forwarding.end(self._directory)

    def _path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def _claim(self) -> None:
        while True:
            name = PREFIX + os.urandom(4).hex()[:7]
            try:
                self._lock = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileExistsError:
                continue
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self.name = name
            return

    def _others(self) -> list[str]:
        return [name for name in os.listdir(self._directory) if name.startswith(PREFIX)]

    def _sweep(self) -> None:
        dead = []
        for name in self._others():
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                dead.append(name)
            finally:
                os.close(descriptor)
        for name in dead:
            self._delete_links(name)
            PacketFilter(name).remove()
            Passage(name, PREFIX).close()
            os.unlink(self._path(name))
        if dead and not self._others():
            forwarding.end(self._directory)

    def _delete_links(self, name: str) -> None:
        try:
            self._route.request([self._links.delete_group(_group(name))])
        except OSError as error:
            if error.errno not in {errno.ENODEV, errno.EPERM}:  # who may make none has none
                raise

    def _make(self) -> Namespace:
        number = self._count + 1
        if number + _GATEWAY > _MOST:
            raise OSError(errno.EADDRNOTAVAIL, f"more than {_MOST} containers on one bridge")
        self._count = number
        address = dotted(self._base + _GATEWAY + number)
        namespaces.unshare(namespaces.CLONE_NEWNET)
        try:
            descriptor = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            inner = Netlink(NETLINK_ROUTE)
            open_to_all_users()
        finally:
            namespaces.setns(self._own, namespaces.CLONE_NEWNET)
        try:
            name = f"{self.name}.{number}"
            pair = self._links.new_pair(
                name, _group(self.name), self._mtu, self._bridge, descriptor, INTERFACE, _INNER_INDEX
            )
            self._route.request([pair])
            distrust(name)
            # Steps see the gateway, not each other. By message, for /sys may be that of another network namespace.
            port = _socket.if_nametoindex(name)
            self._route.request([self._links.isolate(port), self._links.bring_up(port)])
            inner.request(
                [
                    self._links.bring_up(_LOOPBACK_INDEX),
                    self._links.bring_up(_INNER_INDEX),
                    self._links.new_address(_INNER_INDEX, address, BITS, dotted(self._base + _MOST + 1)),
                    self._links.default_route(dotted(self._base + _GATEWAY), _INNER_INDEX),
                ]
            )
            if self._prefix:
                self._add_ipv6(inner, _GATEWAY + number)
        except BaseException:
            os.close(descriptor)
            raise
        finally:
            inner.close()
        return Namespace(number, descriptor, address)

    def _add_ipv6(self, inner: Netlink, number: int) -> None:
        try:
            inner.request(
                [
                    self._links.new_address6(_INNER_INDEX, self._address6(number), _BITS6),
                    self._links.default_route(self._address6(_GATEWAY), _INNER_INDEX),
                ]
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:  # new namespaces may have it switched off though the host has it
                raise
            self._prefix = b""


class _Locked:
    """A file that one process at a time holds."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)


def dotted(address: int) -> str:
    """Write an IPv4 address as people do."""
    return _socket.inet_ntoa(address.to_bytes(4))


def _group(name: str) -> int:
    return int(name.removeprefix(PREFIX), 16) | 1 << 28


def _packed(server: str) -> bytes:
    """Pack the address of a name server; empty for what is not an address."""
    try:
        return _socket.inet_pton(_socket.AF_INET6 if ":" in server else _socket.AF_INET, server)
    except OSError:
        return b""
