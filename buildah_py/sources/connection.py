"""Connections for ADD: proxies by the environment, and no redirect onto this machine."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from buildah_py.errors import SourceError
from buildah_py.linux.addresses import is_local, is_ours

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from buildah_py.sources.watch import Watch


def connect(
    url: SplitResult, watch: Watch, environment: Mapping[str, str], *, guarded: bool, asked: str
) -> tuple[http.client.HTTPConnection, str, bool]:
    """Connect to where `url` says; give the connection, what to request on it, and whether it is this machine.

    With `guarded`, an address of this machine or its link is refused; it is looked at after connecting, so that a name
    that changes its address in between gains nothing. `watch` ends it; `asked` is what messages call the request.
    Raises SourceError, OSError.
    """
    assert url.hostname is not None
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    try:
        port = url.port
    except ValueError:
        raise SourceError(f"{asked}: the port is not a number") from None
    proxy = proxy_for(url, environment)
    connection: http.client.HTTPConnection
    if proxy is not None:
        assert proxy.hostname is not None
        headers = {}
        if proxy.username is not None:
            pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
            headers["Proxy-Authorization"] = "Basic " + b64encode(pair.encode()).decode()
        if url.scheme == "https":
            connection = _Tls(proxy.hostname, proxy.port or 3128, watch, context=ssl.create_default_context())
            connection.set_tunnel(url.hostname, port or 443, headers)
        else:
            connection = _Proxied(proxy.hostname, proxy.port or 3128, watch, headers)
            target = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{target}"
        _open(connection, watch)
        return connection, target, False
    if url.scheme == "https":
        connection = _Tls(url.hostname, port or 443, watch, context=ssl.create_default_context())
    else:
        connection = _Watched(url.hostname, port or 80, watch)
    _open(connection, watch)
    local = is_ours(connection.sock)
    if local and guarded:
        connection.close()
        raise SourceError(
            f"{asked} leads to {url.hostname}, which is this machine or its link",
            hint="name the local address in the build file if that is meant, or give --allow-local-redirects",
        )
    return connection, target, local


def _open(connection: http.client.HTTPConnection, watch: Watch) -> None:
    try:
        with watch.within():
            connection.connect()
    except BaseException:
        connection.close()
        raise


class _Watched(http.client.HTTPConnection):
    """A connection that a watch makes, and ends."""

    def __init__(self, host: str, port: int, watch: Watch, **more: Any) -> None:
        super().__init__(host, port, timeout=watch.timeout, **more)
        self._create_connection = watch.connect  # where the class would call socket.create_connection


class _Tls(_Watched, http.client.HTTPSConnection):
    """The same, encrypted."""


class _Proxied(_Watched):
    """A connection to a proxy for plain http."""

    def __init__(self, host: str, port: int, watch: Watch, proxy_headers: Mapping[str, str]) -> None:
        super().__init__(host, port, watch)
        self.proxy_headers = proxy_headers

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        super().putrequest(method, url, skip_host, skip_accept_encoding)
        for name, value in self.proxy_headers.items():
            self.putheader(name, value)


def proxy_for(url: SplitResult, environment: Mapping[str, str]) -> SplitResult | None:
    """Give the proxy that the environment names for a URL: <scheme>_proxy, all_proxy, and no_proxy against them."""
    names = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy") and value}
    value = names.get(f"{url.scheme}_proxy") or names.get("all_proxy")
    if not value or _is_excepted(url.hostname or "", names.get("no_proxy", "")):
        return None
    proxy = urlsplit(value if "://" in value else f"http://{value}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise SourceError(f"the proxy for {url.scheme} is not one that pybuild can use", hint="give http://host:port")
    return proxy


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether no_proxy names a host: by itself, by a domain it is in, by a network, or with `*`."""
    for part in no_proxy.split(","):
        entry = part.strip().lower().lstrip(".").partition(":")[0] if part.count(":") == 1 else part.strip().lstrip(".")
        if not entry:
            continue
        if entry in ("*", host) or host.endswith("." + entry):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:  # a name, not an address
            continue
    return False


def is_here(host: str) -> bool:
    """Whether a host's name or address is this machine or its link; not so where the name is not known."""
    import socket

    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # whoever connects is told
        return False
    return any(is_local(str(address[0])) for *_, address in found)
