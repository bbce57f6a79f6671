"""The proxy that a request goes through, by the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from buildah_py.errors import UsageError
from buildah_py.http.addresses import hostname, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping


def proxy_for(scheme: str, host: str, environ: Mapping[str, str]) -> str | None:
    """Give the URL of the proxy for a host (with its port): <scheme>_proxy, all_proxy; no_proxy against them.

    This machine is never reached through a proxy. Raises UsageError for a proxy of a kind that cannot be used.
    """
    names = {name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy") and value}
    value = names.get(f"{scheme}_proxy") or names.get("all_proxy")
    if not value or is_loopback(host) or _is_excepted(host.lower(), names.get("no_proxy", "")):
        return None
    url = value if "://" in value else f"http://{value}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"the proxy for {scheme} is not one that pybuild can use",
            hint="write it as http://host:port or https://host:port",
        )
    return url


def without_credentials(proxy: str) -> tuple[str, str]:
    """Give a proxy's URL without what stands before its `@`, and that, as `NAME:PASSWORD` ("" where there is none)."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return proxy, ""
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return url, f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def _is_excepted(host: str, no_proxy: str) -> bool:
    """Whether no_proxy names a host: by itself, by a domain that it is in, by a network, or with `*`."""
    from ipaddress import ip_address, ip_network

    name = hostname(host)
    for part in no_proxy.split(","):
        entry = part.strip().lower()
        if entry in ("*", host):
            return True
        if not entry or entry.startswith("[") or entry.count(":") == 1:  # a port is part of what is compared
            continue
        entry = entry.lstrip("*").lstrip(".")
        if name == entry or name.endswith("." + entry):
            return True
        try:
            if ip_address(name) in ip_network(entry, strict=False):
                return True
        except ValueError:  # a name, not an address
            continue
    return False
