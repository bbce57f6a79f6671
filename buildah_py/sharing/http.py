"""HTTP for services that keep caches: pools of connections, proxies by the environment, other tries after faults."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse, PoolManager

_CONNECT: Final = 20
_READ: Final = 120
_RESUMES: Final = 3


class Http:
    """A client. `name` is what messages call the service; no message holds a query, which can be a signature."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self._name = name
        self._environ = environ
        self._pools: dict[str, PoolManager] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None = None,
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """Send a request; its answer, whatever its status. Redirects are not followed. Raises CacheError."""
        import urllib3

        retries = urllib3.Retry(
            total=4,
            connect=2,
            redirect=0,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=None,
            backoff_factor=0.2,
            raise_on_status=False,
            raise_on_redirect=False,
        )
        try:
            return self._pool(url).request(
                method,
                url,
                headers=dict(headers),
                body=body,
                redirect=False,
                retries=retries,
                preload_content=not stream,
                timeout=urllib3.Timeout(connect=_CONNECT, read=_READ),
            )
        except urllib3.exceptions.HTTPError as error:
            raise self.fault(method, url, error) from error

    def refused(self, response: BaseHTTPResponse, method: str, url: str, hint: str = "") -> CacheError:
        """The error for an answer that is not the one that was asked for."""
        text = response.data[:300].decode("utf-8", "backslashreplace").replace("\n", " ") if response.data else ""
        where = f"{method} {_bare(url)}"
        return CacheError(
            f"{self._name}: {where}: {response.status} {response.reason or ''} {text}".rstrip(), hint=hint
        )

    def fault(self, method: str, url: str, error: Exception) -> CacheError:
        """The error for a request that got no answer."""
        reason = getattr(error, "reason", None) or error
        return CacheError(f"{self._name}: {method} {_bare(url)}: {type(reason).__name__}", hint="is it reachable?")

    def _pool(self, url: str) -> PoolManager:
        import urllib3

        from buildah_py.sources.connection import proxy_for

        proxy = proxy_for(urlsplit(url), self._environ)
        key = proxy.geturl() if proxy is not None else ""
        with self._lock:
            if key not in self._pools:
                options: dict[str, Any] = {"maxsize": 8}
                if proxy is None:
                    self._pools[key] = urllib3.PoolManager(**options)
                else:
                    headers = None
                    if proxy.username is not None:
                        from urllib.parse import unquote

                        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
                        headers = urllib3.make_headers(proxy_basic_auth=pair)
                    where = f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
                    self._pools[key] = urllib3.ProxyManager(where, proxy_headers=headers, **options)
            return self._pools[key]


class Download:
    """The body of a GET; a connection that breaks is taken up where it broke, as long as that helps."""

    def __init__(self, http: Http, url: str, headers: Mapping[str, str], *, sign: Any = None) -> None:
        self._http = http
        self._url = url
        self._headers = headers
        self._sign = sign
        self._at = 0
        self._resumes = _RESUMES
        self._response = self._ask()

    def read(self, length: int, /) -> bytes:
        """Return the next bytes."""
        import urllib3

        while True:
            try:
                data = self._response.read(length)
            except urllib3.exceptions.HTTPError as error:
                self._response.close()
                if not self._resumes:
                    raise self._http.fault("GET", self._url, error) from error
                self._resumes -= 1
                self._response = self._ask()
            else:
                self._at += len(data)
                return data

    def close(self) -> None:
        """Give the connection back, or end it where bytes are left."""
        self._response.close()
        self._response.release_conn()

    def _ask(self) -> BaseHTTPResponse:
        headers = dict(self._headers)
        if self._at:
            headers["Range"] = f"bytes={self._at}-"
        if self._sign is not None:
            headers = self._sign(headers)
        response = self._http.request("GET", self._url, headers=headers, stream=True)
        if response.status != (206 if self._at else 200):
            response.drain_conn()
            raise self._http.refused(response, "GET", self._url)
        return response


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
