"""Which addresses are this machine itself, or its link (where clouds keep their metadata)."""

from __future__ import annotations

import ipaddress
import socket


def is_local(address: str) -> bool:
    """Whether an address is this machine, by any of its own addresses, or its link; false for what is not an address.

    The kernel knows its own: from here they are reached with themselves as the source.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_link_local or ip.is_unspecified:
        return True
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect((str(ip), 9))  # sends nothing
        except OSError:  # nothing leads there
            return False
        return str(probe.getsockname()[0]) == str(ip)


def is_ours(connected: socket.socket) -> bool:
    """Whether the other end of a connection is this machine or its link."""
    return is_local(str(connected.getpeername()[0]))
