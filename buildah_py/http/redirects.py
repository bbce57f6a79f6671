"""Redirects: which answers are followed, what goes along, and where no server may lead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit

from buildah_py.errors import HttpError
from buildah_py.http.addresses import is_local, is_loopback
from buildah_py.http.response import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.http.response import Response

_KEEPING: Final = frozenset({307, 308})
"""Redirects that keep the method and its body (RFC 9110, 15.4); the others turn any other method into a GET."""
_REDIRECTS: Final = _KEEPING | {301, 302, 303}
MOST: Final = 10


class LeadsHereError(HttpError):
    """A server elsewhere leads to this machine or its link."""

    def __init__(self, led_by: str, host: str) -> None:
        super().__init__(f"{led_by} leads to {host}, which is this machine or its link")


def origin(url: str) -> tuple[str, str, int]:
    """Give scheme, host and port of a URL, to which credentials are bound. Raises HttpError for a bad port."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise HttpError(f"{parts.netloc.rpartition('@')[2]}: the port is not a number") from None
    return parts.scheme, parts.hostname or "", port or {"http": 80, "https": 443}.get(parts.scheme, 0)


def is_redirect(method: str, status: int) -> bool:
    """Whether an answer sends the same request elsewhere."""
    return status in (_REDIRECTS if method in ("GET", "HEAD") else _KEEPING)


def follow(
    method: str,
    url: str,
    send: Callable[[str, str], Response],
    *,
    led_by: str = "",
    downgrades: bool = False,
    to_local: bool = False,
) -> Response:
    """Send a request, and send it again to wherever it is redirected; give the answer that is not a redirect.

    `send(url, led_by)` sends it: `led_by` is the host elsewhere that led there, "" where none did, or with `to_local`
    any may lead to this machine. Raises HttpError where nothing should be sent to; with `downgrades` from https to http
    too.
    """
    was_here = not led_by
    for _ in range(MOST + 1):
        response = send(url, led_by)
        if not is_redirect(method, response.status):
            return response
        response.finish()
        was_here = was_here and response.here
        led_by = "" if was_here or to_local else response.host
        url = target(response.url, response.headers.get("Location") or "", led_by=led_by, downgrades=downgrades)
    raise HttpError(f"{response.host} leads through more than {MOST} redirects")


def target(url: str, location: str, *, led_by: str = "", downgrades: bool = False) -> str:
    """Give where a Location leads from `url`, without credentials. Raises HttpError for where no request should go.

    `led_by` is the host that gave it, "" if that may lead to this machine too. Names are looked at here; that no name
    turns out to be this machine is seen to when it is connected to.
    """
    here = urlsplit(url)
    where = here.netloc.rpartition("@")[2]
    try:
        there = urlsplit(urljoin(url, location))
        host, port = there.hostname, there.port
    except ValueError:
        there, host, port = urlsplit(""), None, None
    if not location or there.scheme not in ("http", "https") or not host:
        raise HttpError(f"{where} leads to `{printable(location)}`, which is not an address of a web server")
    there = there._replace(netloc=there.netloc.rpartition("@")[2])
    if here.scheme == "https" and there.scheme == "http":
        if host == here.hostname and port in (None, here.port):  # a server that does not know that TLS ends before it
            there = there._replace(scheme="https")
        elif not downgrades:
            raise HttpError(f"{where} leads from https to http://{there.netloc}, which anybody could change")
    if led_by and (is_loopback(there.netloc) or is_local(host)):
        raise LeadsHereError(led_by, there.netloc)
    return there.geturl()
