"""Ports of a container as docker's users name them: `--publish`, `--publish-all`, and a word where neither is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.ports import parse_ports
from buildah_py.errors import UsageError
from buildah_py.sandbox.ports import Port

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildah_py.image.config import ImageConfig

_FORM = "write it as [[IP:][HOST]:]CONTAINER[/udp], such as 8080:80, 127.0.0.1:8080:80 or 8000-8002:80-82"
_PROTOCOLS = ("tcp", "udp")


def parse_published(text: str) -> list[Port]:
    """Read a value of --publish: `[[IP:][HOST]:]CONTAINER[/PROTOCOL]`, HOST and CONTAINER may be ranges.

    Raises UsageError.
    """
    option = f"--publish {text}"
    try:
        inside = parse_ports(text)
        places, _, _ = text.partition("/")
        address, _, host = places.rpartition(":")[0].rpartition(":")
        outside = parse_ports(host) if host else None
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=_FORM) from None
    protocol = inside.protocol.lower()
    if protocol not in _PROTOCOLS:
        raise UsageError(f"{option}: only tcp and udp are published, not {protocol}")
    if not inside.first or (outside is not None and not outside.first):
        raise UsageError(f"{option}: there is no port 0", hint="leave the port of the host out for any that is free")
    address = address.strip("[]")
    ports = range(inside.first, inside.last + 1)
    if outside is None:
        return [Port(port, protocol, address) for port in ports]
    hosts = range(outside.first, outside.last + 1)
    if len(ports) == 1:
        return [Port(inside.first, protocol, address, tuple(hosts))]
    return [Port(port, protocol, address, (host_port,)) for port, host_port in zip(ports, hosts, strict=True)]


def ports_of(given: Iterable[Port], config: ImageConfig, *, everything: bool) -> list[Port]:
    """Return the ports to publish, with all that the image exposes where `everything` is to be."""
    found = list(dict.fromkeys(given))
    named = {(port.container, port.protocol) for port in found}
    if everything:
        found += [Port(*one) for one in exposed(config) if one not in named]
    return found


def exposed(config: ImageConfig) -> Iterator[tuple[int, str]]:
    """Give the ports that an image exposes and that can be published."""
    for text in config.exposed_ports:
        number, _, protocol = text.partition("/")
        if number.isdecimal() and (protocol or "tcp") in _PROTOCOLS:
            yield int(number), protocol or "tcp"


def word_for(config: ImageConfig) -> str:
    """Return what to tell somebody who published nothing; empty where there is nothing to publish."""
    found = list(exposed(config))
    if not found:
        return ""
    number, protocol = found[0]
    option = f"-p {number if number > 1023 else number + 8000}:{number}{'/udp' if protocol == 'udp' else ''}"
    names = ", ".join(f"{port}/{kind}" for port, kind in found)
    return f"the image exposes {names}, and nothing outside of the container reaches that: {option} does, or -P"
