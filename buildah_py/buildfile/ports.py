"""Arguments of EXPOSE: `PORT[-PORT][/PROTOCOL]`, and the old `[[IP:]HOST:]PORT`."""

from __future__ import annotations

import re
from typing import NamedTuple


class Ports(NamedTuple):
    """A range of ports, the protocol as written, and whether an address or a port of the host was named.

    `text` is the whole argument.
    """

    first: int
    last: int
    protocol: str
    on_host: bool
    text: str = ""

    def names(self) -> list[str]:
        """Each port as image configs spell it: `80/tcp`."""
        protocol = self.protocol.lower()
        return [f"{port}/{protocol}" for port in range(self.first, self.last + 1)]


def parse_ports(text: str) -> Ports:
    """Read one expanded argument of EXPOSE.

    Raises:
        ValueError: with a message for people.

    """
    parts = text.split(":")
    rest = parts[-1]
    host = parts[-2] if len(parts) > 1 else ""
    ip = ":".join(parts[:-2])
    number, _, protocol = rest.partition("/")
    if not number:
        raise ValueError(f'invalid port: "{text}": no port specified')
    if protocol.lower() not in ("", "tcp", "udp", "sctp"):
        raise ValueError(f'invalid port: "{text}": invalid proto: {protocol}')
    if ip and not _is_address(ip):
        raise ValueError(f"invalid IP address: {ip}")
    container = _range(number)
    if container is None:
        raise ValueError(f"invalid containerPort: {number}")
    if host:
        outside = _range(host)
        if outside is None:
            raise ValueError(f"invalid hostPort: {host}")
        sizes_differ = container[1] - container[0] != outside[1] - outside[0]
        if sizes_differ and container[0] != container[1]:
            raise ValueError(f"invalid ranges specified for container and host Ports: {number} and {host}")
    return Ports(container[0], container[1], protocol or "tcp", on_host=bool(ip or host), text=text)


def _is_address(text: str) -> bool:
    from ipaddress import ip_address

    try:
        ip_address(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return False
    return True


def _range(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    start = _port(first)
    if start is None:
        return None
    if not dash or first == last:
        return start, start
    end = _port(last)
    return (start, end) if end is not None and end >= start else None


def _port(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?0*[0-9]{1,18}", text):
        return None
    number = int(text)
    return number if 0 <= number <= 65535 else None
