"""Services that are spoken to over HTTP: whole answers, downloads, and errors that name the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple
from urllib.parse import urlsplit

from buildah_py.http.client import Client
from buildah_py.http.download import Download
from buildah_py.http.response import again, printable
from buildah_py.http.retry import DEFAULT, NOBODY, RETRIED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.errors import PybuildError
    from buildah_py.http.response import Response
    from buildah_py.http.retry import Policy, Retries, Waiter

_LARGEST: Final = 1 << 20
QUICK: Final = DEFAULT._replace(connect=5.0, silence=10.0, commit=10.0, attempts=2, pause=0.2)
"""For small requests whose caller knows better than the client how long they are worth trying."""


class ServiceAnswer(NamedTuple):
    """An answer that was read: its body, or the beginning of it."""

    status: int
    reason: str
    headers: Mapping[str, str]
    data: bytes


class Service:
    """A client. `name` is what messages call the service; no message holds a query, which can be a signature.

    Redirects are not followed: requests are signed for where they go. Everything raises `error`, or `away` where the
    service cannot be reached or has no time, and Interrupted as `waiter` says.
    """

    def __init__(
        self,
        name: str,
        environ: Mapping[str, str],
        error: type[PybuildError],
        waiter: Waiter = NOBODY,
        *,
        away: type[PybuildError] | None = None,
        policy: Policy = DEFAULT,
    ) -> None:
        self._name = name
        self._error = error
        self._away = away or error
        self._client = Client(environ, waiter=waiter, policy=policy)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None = None,
        *,
        limit: int = _LARGEST,
    ) -> ServiceAnswer:
        """Send a request; its answer, whatever its status, with at most `limit` bytes of its body."""
        begin = 0 if body is None or isinstance(body, bytes) else body.tell()

        def attempt() -> ServiceAnswer:
            if body is not None and not isinstance(body, bytes):
                body.seek(begin)
            response = self._once(method, url, headers, body)
            return ServiceAnswer(response.status, response.reason, response.headers, response.body(limit))

        return self._retries(method, url).run(attempt)

    def download(
        self,
        url: str,
        size: int,
        sign: Callable[[Mapping[str, str]], Mapping[str, str]] = lambda headers: headers,
    ) -> Download:
        """Open what should have `size` bytes; `sign` completes the headers of a request."""

        def refused(response: Response) -> PybuildError:
            answer = ServiceAnswer(response.status, response.reason, response.headers, response.finish())
            return self.refused(answer, "GET", url)

        def wrong(text: str) -> PybuildError:
            return self._error(f"{self._name}: GET {_bare(url)}: it {text}")

        made = Download(
            lambda headers: self._once("GET", url, sign(headers)), self._retries("GET", url), refused, wrong, size
        )
        made.open()
        return made

    def refused(self, answer: ServiceAnswer, method: str, url: str, hint: str = "") -> PybuildError:
        """Make the error for an answer that is not the one that was asked for."""
        text = printable(answer.data[:300].decode("utf-8", "backslashreplace"))
        where = f"{method} {_bare(url)}"
        return self._error(f"{self._name}: {where}: {answer.status} {answer.reason} {text}".rstrip(), hint=hint)

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None = None
    ) -> Response:
        silence = self._client.policy.commit if body else None
        response = self._client.request(method, url, headers, body=body, silence=silence)
        if response.status in RETRIED:
            response.finish()
            raise again(response, f"{response.host} answered {response.status} {response.reason}")
        return response

    def _retries(self, method: str, url: str) -> Retries:
        def error(message: str, hint: str, _status: int) -> PybuildError:
            return self._away(message, hint=hint)

        return self._client.retries(f"{self._name}: {method} {_bare(url)}", error)


def _bare(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
