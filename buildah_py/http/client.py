"""Requests over HTTP, one at a time: pools of connections, TLS, proxies, time limits. urllib3 does the work."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from buildah_py import debug
from buildah_py.errors import HttpError
from buildah_py.http.faults import failure_of
from buildah_py.http.proxies import proxy_for, without_credentials
from buildah_py.http.redirects import LeadsHereError
from buildah_py.http.response import Response
from buildah_py.http.retry import DEFAULT, NOBODY, Retries
from buildah_py.http.tls import Certificates
from buildah_py.http.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from urllib.parse import SplitResult

    from urllib3 import PoolManager

    from buildah_py.http.retry import Policy, Waiter

_CONNECTIONS: Final = 8
"""Connections to a host that are kept; more are made where more threads ask."""


class _Pool(NamedTuple):
    scheme: str
    host: str
    verify: bool
    guarded: bool


class Client:
    """Connections for all threads that share it, and the end of them.

    `certificates` say whom TLS believes, by default as `environ` does; `environ` names the proxies too. Whatever waits
    is ended by `close`, and as `waiter` says. With `path`, all connections go to that socket of this machine.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        policy: Policy = DEFAULT,
        certificates: Certificates | None = None,
        waiter: Waiter = NOBODY,
        path: str = "",
    ) -> None:
        self.policy = policy
        self._environ = environ
        self._certificates = certificates or Certificates(environ)
        self._path = path
        self._tell = waiter.tell
        self._watch = Watch(waiter.cancelled)
        self._pools: dict[_Pool, PoolManager] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; whoever waits, in whatever thread, is woken and interrupted."""
        self._watch.close()
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def retries(self, what: str, error: Callable[[str, str, int], Exception], attempts: int = 0) -> Retries:
        """Make what counts the failures of one piece of work; `attempts` bound those of the policy, see Retries."""
        policy = self.policy._replace(attempts=min(attempts or self.policy.attempts, self.policy.attempts))
        return Retries(policy, self._watch.pause, what, error, self._tell)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        verify: bool = True,
        body: Any = None,
        silence: float | None = None,
        led_by: str = "",
    ) -> Response:
        """Send a request; give the answer, whose body has not been read. Redirects and retries are the caller's.

        `led_by` is the host elsewhere that led here, if one did: where that is this machine or its link, which is
        decided by the address and not by the name, nothing is sent. `silence` replaces the policy's. A body that is not
        bytes is iterated over, or read. Raises RetryableError for what may go better the next time, HttpError for what
        will not, Interrupted.
        """
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        from buildah_py.http.connections import Guarded

        self._watch.check()
        parts = _split(url)
        host = parts.netloc
        manager = self._pool(_Pool(parts.scheme, host, verify, bool(led_by)))
        silence = silence or self.policy.silence
        try:
            raw = manager.urlopen(
                method,
                parts.geturl(),
                body=body,
                headers={"User-Agent": _agent(), "Accept-Encoding": "identity", **headers},
                redirect=False,
                retries=False,
                timeout=Timeout(connect=self.policy.connect, read=silence),
                preload_content=False,
                decode_content=False,
            )
        except Guarded:
            raise LeadsHereError(led_by, host) from None
        except (HTTPError, OSError) as error:
            self._watch.check()
            advice = self._certificates.advice
            raise failure_of(
                error, self._path or host, silence=silence, connect=self.policy.connect, advice=advice
            ) from error
        debug.log("%s %s: %d", method, url, raw.status)
        return Response(raw, url, self._path or host, silence, self._watch)

    def _pool(self, key: _Pool) -> PoolManager:
        with self._lock:
            found = self._pools.get(key)
            if found is None:
                found = self._pools[key] = self._make(key)
            return found

    def _make(self, key: _Pool) -> PoolManager:
        import urllib3

        from buildah_py.http.connections import manager

        settings: dict[str, Any] = {"num_pools": 2, "maxsize": _CONNECTIONS}
        if key.scheme == "https":
            settings["ssl_context"] = self._certificates.context(key.host, verify=key.verify)
            if not key.verify:
                settings["cert_reqs"] = "CERT_NONE"
                settings["assert_hostname"] = False
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user has been asked
        proxy = proxy_for(key.scheme, key.host, self._environ)
        headers = None
        if proxy is not None:
            proxy, pair = without_credentials(proxy)
            headers = urllib3.make_headers(proxy_basic_auth=pair) if pair else None
            if proxy.startswith("https:"):
                settings["proxy_ssl_context"] = self._certificates.context(urlsplit(proxy).netloc, verify=True)
        return manager(
            proxy,
            headers,
            settings,
            watch=self._watch,
            silence=self.policy.silence,
            guarded=key.guarded,
            path=self._path,
        )


def _split(url: str) -> SplitResult:
    """Give the parts of a URL as they are sent: names with letters of all languages have a form without them."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return parts._replace(netloc=host if host.isascii() else host.encode("idna").decode("ascii"), fragment="")
    except ValueError:
        raise HttpError("that is not an address of a web server") from None


def _agent() -> str:
    from buildah_py.version import __version__

    return f"pybuild/{__version__}"
