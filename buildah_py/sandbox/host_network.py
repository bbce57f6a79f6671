"""Parts of this machine's network that matter to one for containers: routes, where they lead, the size of packets."""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

BITS = 22
"""Of a network for one build: it has 1024 addresses."""
_ROUTE_REJECTS = 0x200
_SIOCGIFMTU = 0x8921


def read_routes(path: str = "/proc/net/route") -> Iterator[tuple[str, int, int]]:
    """Give interface, destination and mask of every IPv4 route."""
    for line in _read(path).splitlines()[1:]:
        words = line.split()
        if len(words) > 7:
            destination, mask = (int.from_bytes(bytes.fromhex(words[place]), "little") for place in (1, 7))
            yield words[0], destination, mask


def read_uplinks6(routes: str = "/proc/net/ipv6_route", addresses: str = "/proc/net/if_inet6") -> set[str]:
    """Give the interfaces that lead outside by IPv6: those of default routes, or with an address that is not local."""
    if not os.path.exists(addresses):  # the kernel has no IPv6
        return set()
    found = set()
    for words in map(str.split, _read(routes).splitlines()):
        if int(words[0], 16) == int(words[1], 16) == 0 and not int(words[8], 16) & _ROUTE_REJECTS:
            found.add(words[9])
    for words in map(str.split, _read(addresses).splitlines()):
        if int(words[3], 16) == 0:
            found.add(words[5])
    return found - {"lo"}


def own_addresses(trie: str = "/proc/net/fib_trie", addresses: str = "/proc/net/if_inet6") -> Iterator[str]:
    """Give this machine's addresses, but for those that mean it on every machine."""
    place = ""
    for line in _read(trie).splitlines():
        words = line.split()
        if words[0] == "|--":
            place = words[1]
        elif words == ["/32", "host", "LOCAL"] and not place.startswith("127."):
            yield place
            place = "127."  # each stands there once in the main table and once in the local one
    if os.path.exists(addresses):
        for words in map(str.split, _read(addresses).splitlines()):
            if int(words[3], 16) == 0:
                yield _socket.inet_ntop(_socket.AF_INET6, bytes.fromhex(words[0]))


def free_network(routes: list[tuple[str, int, int]]) -> int:
    """Choose a network of 1024 addresses in 10.64.0.0/10 that no route but the default one overlaps."""
    size = 1 << (32 - BITS)
    mask = 0xFFFFFFFF ^ (size - 1)
    start, end = 0x0A400000, 0x0A800000
    for base in range(start, end, size):
        if not any(other and base & other & mask == destination & mask & other for _, destination, other in routes):
            return base
    raise OSError(errno.EADDRINUSE, "every network in 10.64.0.0/10 is routed elsewhere")


def mtu_of(interface: str) -> int:
    """Ask for the size of an interface's packets (netdevice(7)); 0 where it has gone meanwhile."""
    asking = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        answer = fcntl.ioctl(asking.fileno(), _SIOCGIFMTU, struct.pack("16s16x", interface.encode()))
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return 0
    finally:
        asking.close()
    (mtu,) = struct.unpack_from("=i", answer, 16)
    return int(mtu)


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()
