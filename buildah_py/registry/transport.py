"""HTTP, one request at a time: pools of connections, TLS, proxies, time limits. urllib3 does the work."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from buildah_py.errors import RegistryError
from buildah_py.registry.certificates import Certificates
from buildah_py.registry.endpoint import hostname, is_loopback
from buildah_py.registry.patience import Trouble, retry_after
from buildah_py.registry.proxies import proxy_for, without_credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse, PoolManager

    from buildah_py.registry.connections import Open
    from buildah_py.registry.options import RegistryOptions

_CONNECTIONS: Final = 8
"""Connections to a host that are kept; more are made where more threads ask."""


class _Pool(NamedTuple):
    scheme: str
    host: str
    verify: bool
    guarded: bool


class Transport:
    """Connections for all threads of a process, and the end of them."""

    def __init__(self, options: RegistryOptions) -> None:
        self._options = options
        self._certificates = Certificates(options)
        self._pools: dict[_Pool, PoolManager] = {}
        self._open: Open | None = None
        self._lock = threading.Lock()
        self._here: set[str] = set()
        self.closed = threading.Event()

    def close(self) -> None:
        """Close all connections; whoever waits, in whatever thread, is woken."""
        self.closed.set()
        with self._lock:
            if self._open is not None:
                self._open.end()
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        verify: bool,
        body: Any = None,
        silence: float | None = None,
        asked: str = "",
    ) -> BaseHTTPResponse:
        """Send a request; give the answer, whose body has not been read and whose `url` is whole.

        Redirects and retries are the caller's.

        `asked` is the host that led here, if one did: where that is elsewhere, it cannot lead to this machine or its
        link, which is decided by the address and not by the name. Raises Trouble for what may go better the next time,
        RegistryError for what will not.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        from buildah_py.registry.connections import Guarded

        parts = urlsplit(url)
        host = parts.netloc
        if self.closed.is_set():
            raise RegistryError(f"{host}: the work was ended")
        guarded = bool(asked) and asked != host and not is_loopback(asked) and hostname(asked) not in self._here
        manager = self._pool(_Pool(parts.scheme, host, verify, guarded))
        limits = self._options.limits
        begun = time.monotonic()
        try:
            response = manager.urlopen(
                method,
                url,
                body=body,
                headers={"User-Agent": _agent(), "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                timeout=Timeout(connect=limits.connect, read=silence or limits.silence),
                preload_content=False,
                decode_content=False,
            )
        except Guarded:
            raise RegistryError(f"{asked} leads to {host}, which is this machine or its link") from None
        except (HTTPError, OSError) as error:
            raise trouble_of(error, host, time.monotonic() - begun) from error
        response.url = url
        return response

    def _pool(self, key: _Pool) -> PoolManager:
        with self._lock:
            found = self._pools.get(key)
            if found is None:
                found = self._pools[key] = self._make(key)
            return found

    def _make(self, key: _Pool) -> PoolManager:
        import urllib3

        from buildah_py.registry import connections

        settings: dict[str, Any] = {"num_pools": 2, "maxsize": _CONNECTIONS}
        if key.scheme == "https":
            settings["ssl_context"] = self._certificates.context(key.host, verify=key.verify)
            if not key.verify:
                settings["cert_reqs"] = "CERT_NONE"
                settings["assert_hostname"] = False
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user has been asked
        if self._open is None:
            self._open = connections.Open()
        silence = self._options.limits.silence
        proxy = proxy_for(key.scheme, key.host, self._options.environ)
        if proxy is None:
            return connections.manager(None, None, settings, self._open, silence, guarded=key.guarded, here=self._here)
        url, pair = without_credentials(proxy)
        headers = urllib3.make_headers(proxy_basic_auth=pair) if pair else None
        if url.startswith("https:"):
            settings["proxy_ssl_context"] = self._certificates.context(urlsplit(url).netloc, verify=True)
        return connections.manager(url, headers, settings, self._open, silence, guarded=key.guarded, here=self._here)


def again(response: BaseHTTPResponse, text: str, hint: str = "") -> Trouble:
    """Make the Trouble for an answer after which the same request may succeed."""
    return Trouble(text, status=response.status, after=retry_after(response.headers, time.time()), hint=hint)


def trouble_of(error: Exception, host: str, seconds: float) -> Exception:
    """Make what an error of the connection means: Trouble, or a RegistryError where no retry can help.

    `seconds` is how long it took to come.
    """
    import ssl

    from urllib3 import exceptions

    inner: BaseException = error
    if isinstance(error, exceptions.ProxyError):
        cause = error.original_error
        return Trouble(f"the proxy for {host} cannot be used: {_reason(cause)}", tries=2)
    if isinstance(error, exceptions.SSLError | ssl.SSLError):
        inner = error.args[0] if error.args and isinstance(error.args[0], ssl.SSLError) else error
        return _of_tls(inner, host)
    if isinstance(error, exceptions.NameResolutionError):
        return Trouble(
            f"{host} has no address: {_reason(error)}", tries=2, hint="is the name right, and the network there?"
        )
    if isinstance(error, exceptions.NewConnectionError):
        return Trouble(
            f"{host} cannot be reached: {_reason(error)}", tries=2, hint="is it running, and the port right?"
        )
    if isinstance(error, exceptions.ConnectTimeoutError):
        return Trouble(f"{host} did not take the connection within {seconds:.0f} seconds", tries=3)
    if isinstance(error, exceptions.ReadTimeoutError | TimeoutError):
        return Trouble(f"{host} said nothing for {seconds:.0f} seconds", tries=2)
    if isinstance(error, exceptions.IncompleteRead):
        missing = f"{error.expected} bytes " if error.expected else ""
        return Trouble(f"{host} ended the connection {missing}too early")
    if isinstance(_innermost(error), TimeoutError):
        return Trouble(f"{host} took nothing for {seconds:.0f} seconds", tries=2)
    return Trouble(f"{host} broke off: {_reason(error)}")


def _of_tls(error: BaseException, host: str) -> Exception:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return RegistryError(
            f"{host}: its certificate is not to be trusted: {error.verify_message or error.reason}",
            hint=f"put its CA into /etc/containers/certs.d/{host}/ca.crt, or say --tls-verify=false",
        )
    reason = str(getattr(error, "reason", "") or error)
    if any(text in reason for text in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")):
        return RegistryError(
            f"{host} does not speak TLS",
            hint="if plain HTTP is meant, say --tls-verify=false, or `insecure = true` for it in registries.conf",
        )
    wanted = f"a client certificate belongs into /etc/containers/certs.d/{host}: client.cert and client.key"
    if "ALERT" in reason:
        return RegistryError(f"{host} refused the TLS connection: {reason}", hint=wanted)
    # A server that ends the connection right behind its alert may take the alert back with that.
    hint = f"if it asks for one, {wanted}" if "EOF" in reason else ""
    return Trouble(f"{host}: TLS failed: {reason}", hint=hint)


def _reason(error: BaseException) -> str:
    """Give the innermost reason in few words."""
    seen = _innermost(error)
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen) or type(seen).__name__


def _innermost(error: BaseException) -> BaseException:
    seen = error
    while True:
        inner = seen.__cause__ or next((one for one in reversed(seen.args) if isinstance(one, BaseException)), None)
        if inner is None or inner is seen:
            return seen
        seen = inner


def _agent() -> str:
    from buildah_py import __version__

    return f"pybuild/{__version__}"
