"""Functions of network addresses in CIDR notation."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from buildah_py.bake.functions.function import Library, num, text, whole
from buildah_py.bake.values import Value, ValueFault, strings

if TYPE_CHECKING:
    from fractions import Fraction

LIBRARY = Library()
_add = LIBRARY.add
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _read(prefix: str) -> _Network:
    if "/" not in prefix or not prefix.rpartition("/")[2].isdecimal():
        raise ValueFault(f"`{prefix}` is not a network", "networks look like 10.0.0.0/8")
    try:
        return ipaddress.ip_network(prefix, strict=False)
    except ValueError as error:
        raise ValueFault(f"`{prefix}` is not a network: {error}") from None


@_add("cidrhost", text("prefix"), num("hostnum"))
def _cidrhost(prefix: str, hostnum: Fraction) -> str:
    network, count = _read(prefix), whole(hostnum, "hostnum")
    position = count if count >= 0 else network.num_addresses + count
    if not 0 <= position < network.num_addresses:
        raise ValueFault(f"{prefix} has no host {count}")
    return str(network.network_address + position)


@_add("cidrnetmask", text("prefix"))
def _cidrnetmask(prefix: str) -> str:
    return str(_read(prefix).netmask)


def _subnet(network: _Network, bits: int, position: int) -> _Network:
    length = network.prefixlen + bits
    if length > network.max_prefixlen or bits < 0:
        raise ValueFault(f"{network} has no {bits} further bits")
    if position < 0:
        position += 2**bits
    if not 0 <= position < 2**bits:
        raise ValueFault(f"with {bits} bits there is no subnet {position} of {network}")
    address = int(network.network_address) + (position << (network.max_prefixlen - length))
    return type(network)((address, length))


@_add("cidrsubnet", text("prefix"), num("newbits"), num("netnum"))
def _cidrsubnet(prefix: str, newbits: Fraction, netnum: Fraction) -> str:
    return str(_subnet(_read(prefix), whole(newbits, "newbits"), whole(netnum, "netnum")))


@_add("cidrsubnets", text("prefix"), rest=num("newbits"))
def _cidrsubnets(prefix: str, *newbits: Fraction) -> Value:
    network = _read(prefix)
    at = int(network.network_address)
    end = at + network.num_addresses
    found: list[str] = []
    for one in newbits:
        bits = whole(one, "newbits")
        length = network.prefixlen + bits
        if bits < 1:
            raise ValueFault("`newbits` is at least 1")
        if length > network.max_prefixlen:
            raise ValueFault(f"{network} has no {bits} further bits")
        size = 1 << (network.max_prefixlen - length)
        at = -(-at // size) * size
        if at + size > end:
            raise ValueFault(f"{network} has no room for so many subnets")
        found.append(str(type(network)((at, length))))
        at += size
    return strings(found)
