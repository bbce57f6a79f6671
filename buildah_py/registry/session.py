"""Requests to one repository of one server: scheme, authorization, redirects, tries again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from buildah_py.errors import RegistryError
from buildah_py.registry import credentials as known_credentials
from buildah_py.registry.answers import AGAIN, describe, failure, finish, hint_for, printable, read_small
from buildah_py.registry.challenge import choose, parse
from buildah_py.registry.endpoint import hostname, is_loopback
from buildah_py.registry.patience import Patience, Trouble
from buildah_py.registry.tokens import Asking, Tokens
from buildah_py.registry.transport import Transport, again

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3 import BaseHTTPResponse

    from buildah_py.registry.challenge import Challenge
    from buildah_py.registry.credentials import Credentials
    from buildah_py.registry.endpoint import Endpoint
    from buildah_py.registry.options import RegistryOptions

PULL: Final = "pull"
PUSH: Final = "pull,push"
_KEEPING: Final = frozenset({307, 308})
"""Redirects that keep the method and its body (RFC 9110, 15.4); the others turn into a GET what is none."""
_REDIRECTS: Final = _KEEPING | {301, 302, 303}
_MAX_REDIRECTS: Final = 10


@dataclass(slots=True)
class Server:
    """What has been learnt of a server: whether it speaks TLS ("" not yet known), what it demands, that it is down."""

    scheme: str = ""
    challenge: Challenge | None = None
    is_down: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Shared:
    """What all sessions of a process share."""

    def __init__(self, options: RegistryOptions) -> None:
        self.options = options
        self.transport = Transport(options)
        self.tokens = Tokens(self.transport, options.limits, options.tell)
        self._servers: dict[tuple[str, bool], Server] = {}
        self._credentials: dict[tuple[str, str], Credentials | None] = {}
        self._lock = threading.Lock()

    def server(self, endpoint: Endpoint) -> Server:
        """Give what is known of an endpoint's server."""
        with self._lock:
            return self._servers.setdefault((endpoint.host, endpoint.insecure), Server())

    def credentials(self, endpoint: Endpoint) -> Credentials | None:
        """Give the credentials for an endpoint; files and helpers are asked once."""
        key = (endpoint.registry, endpoint.repository)
        options = self.options
        if endpoint.is_mirror or endpoint.is_other:  # those that were given are for the registry itself
            if options.credentials is not None:
                options = replace(options, credentials=None)
        elif options.credentials is not None:
            return options.credentials
        with self._lock:
            if key not in self._credentials:
                self._credentials[key] = known_credentials.find(*key, options)
            return self._credentials[key]


class Session:
    """Talks to `endpoint` on behalf of a reference; `what` begins all messages. Cheap; many threads may use it."""

    def __init__(self, shared: Shared, endpoint: Endpoint, what: str) -> None:
        self.endpoint = endpoint
        self.what = what
        self.server = shared.server(endpoint)
        self.limits = shared.options.limits
        if endpoint.is_mirror:  # there is another place to ask
            self.limits = replace(self.limits, attempts=min(2, self.limits.attempts))
        self._shared = shared
        self._transport = shared.transport

    @property
    def base(self) -> str:
        """The repository's URL, from which relative ones start."""
        return f"{self._scheme()}://{self.endpoint.host}/v2/{self.endpoint.repository}/"

    def about(self, what: str) -> Session:
        """Give the same session with messages that begin with the reference and `what`."""
        return Session(self._shared, self.endpoint, f"{self.what}: {what}")

    def patience(self) -> Patience:
        """Make the patience for a piece of work."""
        return Patience(self.limits, self._transport.closed, self.what, self._shared.options.tell)

    def failure(self, response: BaseHTTPResponse) -> RegistryError:
        """Make the error for an answer that is not what was wanted."""
        return failure(self.what, response, self.endpoint.registry, self.endpoint.host)

    def wrong(self, text: str, hint: str = "") -> RegistryError:
        """Make the error for an answer that breaks the specification."""
        return RegistryError(f"{self.what}: {self.endpoint.host} {text}", hint=hint)

    def send(
        self,
        method: str,
        path: str,
        *,
        actions: str = PULL,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        silence: float | None = None,
    ) -> BaseHTTPResponse:
        """Send a request to the repository's `path` until it has an answer that will not change by asking again.

        `scopes` are wanted beside `actions` on the repository. Raises RegistryError.
        """
        patience = self.patience()
        while True:
            try:
                return self.once(
                    method, path, actions=actions, scopes=scopes, headers=headers, body=body, silence=silence
                )
            except Trouble as trouble:
                patience.wait(trouble)

    def once(
        self,
        method: str,
        path: str,
        *,
        actions: str = PULL,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], Any] | None = None,
        silence: float | None = None,
    ) -> BaseHTTPResponse:
        """Send a request to a path of the repository, or to a whole URL, once. Raises Trouble, RegistryError.

        A body that can be called is called for each time that it has to be sent. Redirects are followed wherever the
        request stays what it is; to other servers it goes without credentials.
        """
        base = f"{self._scheme()}://{self.endpoint.host}"
        url = path if "://" in path else f"{base}/v2/{self.endpoint.repository}/{path}"
        wanted = (f"repository:{self.endpoint.repository}:{actions}", *scopes)
        sent = dict(headers or {})
        for count in range(_MAX_REDIRECTS + 1):
            ours = _origin(url) == _origin(base)
            response = (
                self._authorized(method, url, wanted, sent, body, silence)
                if ours
                else self._request(method, url, sent, body, silence)
            )
            if response.status not in (_REDIRECTS if method in ("GET", "HEAD") else _KEEPING):
                break
            finish(response)
            if count == _MAX_REDIRECTS:
                raise self.wrong(f"leads through more than {_MAX_REDIRECTS} redirects")
            url = self.location(response)
        if response.status in AGAIN:
            text = f"{urlsplit(url).netloc} answered {describe(response)}"
            raise again(response, text, hint_for(response.status, self.endpoint.registry))
        return response

    def ping(self, authorization: str) -> BaseHTTPResponse:
        """Ask the server itself, with an Authorization header ("" for none). Raises RegistryError."""
        patience = self.patience()
        while True:
            try:
                url = f"{self._scheme()}://{self.endpoint.host}/v2/"
                response = self._request("GET", url, _with({}, authorization), None, None)
                if response.status in AGAIN:
                    raise again(response, f"{self.endpoint.host} answered {describe(response)}")
            except Trouble as trouble:
                patience.wait(trouble)
            else:
                return response

    def location(self, response: BaseHTTPResponse) -> str:
        """Give where an answer's Location leads, from where the answer came. Raises RegistryError as `follow` does."""
        return self.follow(response.url or self.base, response.headers.get("Location") or "")

    def follow(self, url: str, location: str) -> str:
        """Give where a Location leads from `url`. Raises RegistryError for where no request of ours should go."""
        here = urlsplit(url)
        try:
            there = urlsplit(urljoin(url, location))
            host, port = there.hostname, there.port
        except ValueError:
            there, host, port = urlsplit(""), None, None
        if not location or there.scheme not in ("http", "https") or not host:
            raise self.wrong(f"leads to `{printable(location)}`, which is not an address of a web server")
        if there.username is not None:
            there = there._replace(netloc=there.netloc.rpartition("@")[2])
        if here.scheme == "https" and there.scheme == "http":
            if host != here.hostname or port not in (None, here.port):
                if not self.endpoint.insecure:
                    raise self.wrong(f"leads from https to http://{there.netloc}, which anybody could change")
            else:  # a registry that does not know that TLS ends before it
                there = there._replace(scheme="https")
        if not is_loopback(self.endpoint.host) and _is_local(there.netloc):
            raise self.wrong(f"leads to {there.netloc}, which is this machine or its link")
        return there.geturl()

    def _scheme(self) -> str:
        """Give `https`, or what an insecure server turns out to speak."""
        server = self.server
        if server.scheme:
            return server.scheme
        with server.lock:
            if not server.scheme:
                server.scheme = self._probe() if self.endpoint.insecure else "https"
            return server.scheme

    def _probe(self) -> str:
        host = self.endpoint.host
        try:
            finish(self._request("GET", f"https://{host}/v2/", {}, None, None))
        except (Trouble, RegistryError):
            response = self._request("GET", f"http://{host}/v2/", {}, None, None)
            if response.status == 400 and b"HTTPS" in read_small(response).upper():
                raise  # it does speak TLS, and that has failed
            finish(response)
            return "http"
        return "https"

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, silence: float | None
    ) -> BaseHTTPResponse:
        try:
            return self._transport.request(
                method,
                url,
                headers,
                verify=not self.endpoint.insecure,
                body=body() if callable(body) else body,
                silence=silence,
                asked=self.endpoint.host,
            )
        except RegistryError as error:
            if error.message.startswith(self.what):
                raise
            raise RegistryError(f"{self.what}: {error.message}", hint=error.hint, status=error.status) from error

    def _authorized(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str],
        body: Any,
        silence: float | None,
    ) -> BaseHTTPResponse:
        """Send a request to the server itself with what it demands; what it demands newly is met once."""
        given = self._authorization(self.server.challenge, scopes)
        response = self._request(method, url, _with(headers, given), body, silence)
        if response.status != 401:
            return response
        challenge = choose(parse(response.headers.getlist("WWW-Authenticate")))
        if challenge is None:
            return response
        self.server.challenge = challenge
        text = describe(response)
        newly = self._authorization(challenge, scopes, stale=given.partition(" ")[2] if given else "")
        if not newly or newly == given:
            hint = hint_for(401, self.endpoint.registry)
            if given:
                hint = f"the credentials for {self.endpoint.registry} are not right; {hint}"
            raise RegistryError(f"{self.what}: {self.endpoint.host} answered {text}", hint=hint, status=401)
        return self._request(method, url, _with(headers, newly), body, silence)

    def _authorization(self, challenge: Challenge | None, scopes: tuple[str, ...], stale: str = "") -> str:
        if challenge is None:
            return ""
        credentials = self._shared.credentials(self.endpoint)
        if challenge.scheme == "basic":
            return credentials.basic() if credentials is not None and credentials.username else ""
        if credentials is not None and credentials.bearer:
            return f"Bearer {credentials.bearer}"
        names = {scope.rpartition(":")[0] for scope in scopes}
        demanded = challenge.parameters.get("scope", "").split()
        # A challenge that was kept may be of another repository: only what concerns ours, or none, is asked for too.
        also = [
            scope for scope in demanded if not scope.startswith("repository:") and scope.rpartition(":")[0] not in names
        ]
        return "Bearer " + self._shared.tokens.get(challenge, (*scopes, *also), credentials, self.asking(), stale)

    def asking(self) -> Asking:
        """Give for whom tokens are asked."""
        return Asking(
            self.endpoint.registry,
            self.endpoint.host,
            verify=not self.endpoint.insecure,
            plain=self.server.scheme == "http",
            what=self.what,
        )


def _origin(url: str) -> tuple[str, str, int]:
    """Give what decides whether two URLs are of one server: scheme, host, port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _with(headers: Mapping[str, str], authorization: str) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers


def _is_local(host: str) -> bool:
    """Whether an address, as it is written, is this machine or its link (where clouds keep their metadata)."""
    from ipaddress import ip_address

    if is_loopback(host):
        return True
    try:
        address = ip_address(hostname(host).partition("%")[0])
    except ValueError:
        return False
    return address.is_link_local or address.is_unspecified
