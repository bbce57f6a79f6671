"""First settings of every network namespace of a container, made from within."""

from __future__ import annotations

import _socket
import errno
import fcntl
import struct

from buildah_py.linux.netlink import NETLINK_ROUTE, NLM_F_ACK, NLM_F_CREATE, Netlink, attribute, message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NO_TOOL = "none"
"""In the place of a program that connects networks without root: they lead nowhere."""
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_SETTINGS = "/proc/sys/net/ipv4"
_MOST = (1 << 31) - 1
_NEW_ROUTE, _DESTINATION = 24, 1
_NEW_ADDRESS, _ADDRESS, _LOCAL = 20, 1, 2
_LOOPBACK_INDEX = 1
_MAIN_TABLE, _STATIC, _UNREACHABLE = 254, 4, 7


def loopback_up() -> None:
    """Bring up `lo`."""
    with_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    request = bytearray(b"lo".ljust(40, b"\0"))
    fcntl.ioctl(with_socket.fileno(), _SIOCGIFFLAGS, request)
    request[16] |= _IFF_UP
    fcntl.ioctl(with_socket.fileno(), _SIOCSIFFLAGS, request)
    with_socket.close()


def open_to_all_users() -> None:
    """Let whoever is in there listen on any port and send pings, as docker does: nobody else is behind its address."""
    with open("/proc/self/gid_map", encoding="ascii") as file:
        ranges = [list(map(int, line.split())) for line in file]
    last = min(max(inside + count - 1 for inside, _, count in ranges), _MOST)
    for name, value in (("ip_unprivileged_port_start", "0"), ("ping_group_range", f"0 {last}")):
        try:
            with open(f"{_SETTINGS}/{name}", "w", encoding="ascii") as file:
                file.write(value)
        except OSError as error:
            # A container around us may show its settings read-only: then this is as it was.
            if error.errno not in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EINVAL}:
                raise


def add_address(text: str) -> None:
    """Give this network namespace an IPv4 address of its own, on `lo`; rtnetlink(7)."""
    packed = _socket.inet_pton(_socket.AF_INET, text)
    kind = struct.pack("=BBBBI", _socket.AF_INET, 32, 0, 0, _LOOPBACK_INDEX)
    channel = Netlink(NETLINK_ROUTE)
    try:
        attributes = attribute(_ADDRESS, packed) + attribute(_LOCAL, packed)
        channel.request([message(_NEW_ADDRESS, NLM_F_CREATE | NLM_F_ACK, kind + attributes)])
    finally:
        channel.close()


def packed_network(text: str) -> tuple[bytes, int]:
    """Read an address, or a network as ADDRESS/BITS; gives the packed address and how many of its bits count."""
    address, _, bits = text.partition("/")
    packed = _socket.inet_pton(_socket.AF_INET6 if ":" in address else _socket.AF_INET, address)
    return packed, int(bits) if bits else len(packed) * 8


def refuse(networks: Iterable[str]) -> None:
    """Have nothing sent to these addresses and networks: whoever tries is told that they cannot be reached."""
    routes = []
    for network in networks:
        packed, bits = packed_network(network)
        family = _socket.AF_INET6 if ":" in network else _socket.AF_INET
        kind = struct.pack("=BBBBBBBBI", family, bits, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNREACHABLE, 0)
        routes.append(message(_NEW_ROUTE, NLM_F_CREATE | NLM_F_ACK, kind + attribute(_DESTINATION, packed)))
    if not routes:
        return
    channel = Netlink(NETLINK_ROUTE)
    try:
        channel.request(routes)
    finally:
        channel.close()
