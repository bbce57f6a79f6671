"""The hosts and resolv.conf files of a container."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST_RESOLVER = "/etc/resolv.conf"
_SYSTEMD_RESOLVER = "/run/systemd/resolve/resolv.conf"
_SYSTEMD_STUB = "127.0.0.53"
_LOOPBACK_IPV4, _LOOPBACK_IPV6 = 127, bytes([0] * 15 + [1])
_FALLBACK = ("8.8.8.8", "8.8.4.4")


def hosts_file(hostname: str, added: Iterable[tuple[str, str]]) -> bytes:
    """Write /etc/hosts: loopback, the container's own name, what was asked for."""
    lines = [
        f"127.0.0.1\tlocalhost {hostname}",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    lines += [f"{address}\t{name}" for name, address in added]
    return ("\n".join(lines) + "\n").encode()


def resolver_file(
    servers: Iterable[str], search: Iterable[str], options: Iterable[str], *, host: bool, path: str = _HOST_RESOLVER
) -> bytes:
    """Write /etc/resolv.conf from the host's, without servers that a network of its own cannot reach.

    Where systemd-resolved's stub is the only server, the servers behind it are taken. Given values replace the host's
    lines of that kind.
    """
    lines = _read(path)
    if not host and _servers(lines) == [_SYSTEMD_STUB]:
        lines = _read(_SYSTEMD_RESOLVER) or lines
    found = list(servers) or [server for server in _servers(lines) if host or not _is_loopback(server)]
    if not found and not host:
        found = list(_FALLBACK)
    kept = [line for line in lines if line.split()[0] in {"search", "domain", "options", "sortlist"}]
    searched = list(search)
    if searched:
        kept = [line for line in kept if line.split()[0] not in {"search", "domain"}]
        kept.append(f"search {' '.join(searched)}")
    chosen = list(options)
    if chosen:
        kept = [line for line in kept if line.split()[0] != "options"]
        kept.append(f"options {' '.join(chosen)}")
    return ("\n".join([*(f"nameserver {server}" for server in found), *kept]) + "\n").encode()


def is_replaced(path: str = _HOST_RESOLVER) -> bool:
    """Tell whether public name servers stand in for the host's, all of which listen on loopback alone."""
    own = _servers(_read(path))
    return bool(own) and all(map(_is_loopback, own)) and servers(path) == list(_FALLBACK)


def servers(path: str = _HOST_RESOLVER) -> list[str]:
    """List the name servers that containers with a network of their own are given."""
    return _servers(resolver_file((), (), (), host=False, path=path).decode().splitlines())


def _read(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file.read(1 << 16).split("\n")]
    except FileNotFoundError:
        return []
    return [line for line in lines if line and line[0] not in "#;"]


def _servers(lines: Iterable[str]) -> list[str]:
    words = [line.split() for line in lines]
    return [parts[1] for parts in words if parts[0] == "nameserver" and len(parts) > 1]


def _is_loopback(server: str) -> bool:
    """Tell whether only this machine can reach a name server; what is not an address is not reached from anywhere."""
    try:
        if ":" in server:
            return _socket.inet_pton(_socket.AF_INET6, server.partition("%")[0]) == _LOOPBACK_IPV6
        return _socket.inet_pton(_socket.AF_INET, server)[0] == _LOOPBACK_IPV4
    except OSError:
        return True
