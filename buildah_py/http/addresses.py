"""Hosts that are this machine itself, or its link (where clouds keep their metadata): by name, and by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


def hostname(host: str) -> str:
    """Give a host without its port and brackets, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(host: str) -> bool:
    """Whether a host (with or without a port) is this machine by its very name."""
    from ipaddress import ip_address

    name = hostname(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:  # a name
        return False


def is_local(address: str) -> bool:
    """Whether an address is this machine, by any of its own addresses, or its link; false for what is not an address.

    The kernel knows its own: from here they are reached with themselves as the source.
    """
    import ipaddress
    import socket

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
    """Whether the other end of a connection is this machine or its link.

    That decides, and not a name: a name may have another address each time that it is looked up.
    """
    return is_local(str(connected.getpeername()[0]))


def is_here(host: str) -> bool:
    """Whether a host's name leads to this machine or its link just now; not so where the name is not known."""
    import socket

    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # whoever connects is told
        return False
    return any(is_local(str(address[0])) for *_, address in found)
