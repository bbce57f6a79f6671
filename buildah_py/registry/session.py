"""Requests to one repository of one server: scheme, authorization, redirects, tries again."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from buildah_py.errors import HttpError, RegistryError
from buildah_py.frozen import replace
from buildah_py.http.addresses import is_loopback
from buildah_py.http.client import Client
from buildah_py.http.redirects import follow, origin, target
from buildah_py.http.response import again
from buildah_py.http.retry import RETRIED, RetryableError
from buildah_py.registry import credentials as known_credentials
from buildah_py.registry.answers import describe, failure, hint_for
from buildah_py.registry.certificates import RegistryCertificates
from buildah_py.registry.challenge import choose, parse
from buildah_py.registry.tokens import Asking, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.http.response import Response
    from buildah_py.http.retry import Retries
    from buildah_py.registry.challenge import Challenge
    from buildah_py.registry.endpoint import Endpoint
    from buildah_py.registry.options import Credentials, RegistryOptions

PULL: Final = "pull"
PUSH: Final = "pull,push"


class Server:
    """Facts learnt of a server: whether it speaks TLS ("" not yet known), what it demands, that it is down.

    `is_here` says that it is this machine, by all that came from it so far.
    """

    def __init__(self) -> None:
        self.scheme = ""
        self.challenge: Challenge | None = None
        self.is_down = False
        self.is_here: bool | None = None
        self.lock = threading.Lock()


class Shared:
    """State that all sessions of a process share."""

    def __init__(self, options: RegistryOptions) -> None:
        self.options = options
        self.client = Client(
            options.environ, policy=options.policy, certificates=RegistryCertificates(options), waiter=options.waiter
        )
        self.tokens = Tokens()
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
        self.policy = shared.options.policy
        self._shared = shared

    @property
    def base(self) -> str:
        """The repository's URL, from which relative ones start."""
        return f"{self._scheme()}://{self.endpoint.host}/v2/{self.endpoint.repository}/"

    def about(self, what: str) -> Session:
        """Give the same session with messages that begin with the reference and `what`."""
        return Session(self._shared, self.endpoint, f"{self.what}: {what}")

    def retries(self) -> Retries:
        """Make what counts the failures of a piece of work."""
        attempts = 2 if self.endpoint.is_mirror else 0  # there is another place to ask
        return self._shared.client.retries(self.what, _error, attempts)

    def failure(self, response: Response) -> RegistryError:
        """Make the error for an answer that is not what was wanted."""
        return failure(self.what, response, self.endpoint.registry)

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
    ) -> Response:
        """Send a request to the repository's `path` until it has an answer that will not change by asking again.

        `scopes` are wanted beside `actions` on the repository. Raises RegistryError.
        """
        return self.retries().run(
            lambda: self.once(method, path, actions=actions, scopes=scopes, headers=headers, body=body, silence=silence)
        )

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
    ) -> Response:
        """Send a request to a path of the repository, or to a whole URL, once. Raises RetryableError, RegistryError.

        A body that can be called is called for each time that it has to be sent. Redirects are followed wherever the
        request stays what it is; to other servers it goes without credentials.
        """
        base = f"{self._scheme()}://{self.endpoint.host}"
        wanted = (f"repository:{self.endpoint.repository}:{actions}", *scopes)
        sent = dict(headers or {})

        def send(url: str, led_by: str) -> Response:
            if origin(url) == origin(base):
                return self._authorized(method, url, wanted, sent, body, silence, led_by)
            return self._request(method, url, sent, body, silence, led_by)

        url = path if "://" in path else f"{base}/v2/{self.endpoint.repository}/{path}"
        with self._naming():
            response = follow(method, url, send, led_by=self._led_by(url), downgrades=self.endpoint.insecure)
        if response.status in RETRIED:
            text = f"{response.host} answered {describe(response)}"
            raise again(response, text, hint_for(response.status, self.endpoint.registry))
        return response

    def ping(self, authorization: str) -> Response:
        """Ask the server itself, with an Authorization header ("" for none). Raises RegistryError."""

        def ask() -> Response:
            url = f"{self._scheme()}://{self.endpoint.host}/v2/"
            response = self._request("GET", url, _with({}, authorization), None, None)
            if response.status in RETRIED:
                raise again(response, f"{self.endpoint.host} answered {describe(response)}")
            return response

        return self.retries().run(ask)

    def location(self, response: Response) -> str:
        """Give where an answer's Location leads, from where the answer came. Raises RegistryError as `follow` does."""
        return self.follow(response.url, response.headers.get("Location") or "")

    def follow(self, url: str, location: str) -> str:
        """Give where a Location leads from `url`. Raises RegistryError for where no request of ours should go."""
        with self._naming():
            led_by = "" if self._may_lead_here() else self.endpoint.host
            return target(url, location, led_by=led_by, downgrades=self.endpoint.insecure)

    def _may_lead_here(self) -> bool:
        return is_loopback(self.endpoint.host) or bool(self.server.is_here)

    def _led_by(self, url: str) -> str:
        """Give who led to a URL, as `follow` takes it: one of another host was named by the server before."""
        named_by_user = urlsplit(url).netloc == self.endpoint.host
        return "" if named_by_user or self._may_lead_here() else self.endpoint.host

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
            self._request("GET", f"https://{host}/v2/", {}, None, None).finish()
        except (RetryableError, RegistryError):
            response = self._request("GET", f"http://{host}/v2/", {}, None, None)
            if b"HTTPS" in response.finish().upper() and response.status == 400:
                raise  # it does speak TLS, and that has failed
            return "http"
        return "https"

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, silence: float | None, led_by: str = ""
    ) -> Response:
        with self._naming():
            response = self._shared.client.request(
                method,
                url,
                headers,
                verify=not self.endpoint.insecure,
                body=body() if callable(body) else body,
                silence=silence,
                led_by=led_by,
            )
        if response.host == self.endpoint.host:
            self.server.is_here = response.here and self.server.is_here is not False
        return response

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say in errors of requests what they were for."""
        try:
            yield
        except HttpError as error:
            raise _error(f"{self.what}: {error.message}", error.hint, error.status) from error

    def _authorized(
        self,
        method: str,
        url: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str],
        body: Any,
        silence: float | None,
        led_by: str,
    ) -> Response:
        """Send a request to the server itself with what it demands; what it demands newly is met once."""
        given = self._authorization(self.server.challenge, scopes)
        response = self._request(method, url, _with(headers, given), body, silence, led_by)
        if response.status != 401:
            return response
        challenge = choose(parse(response.all("WWW-Authenticate")))
        if challenge is None:
            return response
        self.server.challenge = challenge
        text = describe(response)
        newly = self._authorization(challenge, scopes, stale=given.partition(" ")[2] if given else "")
        if not newly or newly == given:
            raise self._refused(text, given)
        response = self._request(method, url, _with(headers, newly), body, silence, led_by)
        if response.status == 401 and challenge.scheme == "basic":
            raise self._refused(describe(response), newly)
        return response

    def _refused(self, text: str, given: str) -> RegistryError:
        hint = hint_for(401, self.endpoint.registry)
        if given:
            hint = f"the credentials for {self.endpoint.registry} are not right; {hint}"
        return RegistryError(f"{self.what}: {self.endpoint.host} answered {text}", hint=hint, status=401)

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
        """Give for whom tokens are asked, and how."""

        def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
            return self._request(method, url, headers, body, None, self._led_by(url))

        return Asking(
            self.endpoint.registry,
            self.endpoint.host,
            verify=not self.endpoint.insecure,
            plain=self.server.scheme == "http",
            what=self.what,
            send=send,
            retries=self.retries,
        )


def _error(message: str, hint: str, status: int) -> RegistryError:
    return RegistryError(message, hint=hint, status=status)


def _with(headers: Mapping[str, str], authorization: str) -> Mapping[str, str]:
    return {**headers, "Authorization": authorization} if authorization else headers
