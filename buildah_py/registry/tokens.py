"""Bearer tokens: asked for where a challenge says, for a scope, kept until they expire.

Docker's token specification (GET with a password or none) and its OAuth2 form (POST with an identity token).
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from buildah_py.errors import RegistryError
from buildah_py.frozen import replace
from buildah_py.http.response import again
from buildah_py.http.retry import RETRIED
from buildah_py.registry.answers import describe, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.http.response import Response
    from buildah_py.http.retry import Retries
    from buildah_py.registry.challenge import Challenge
    from buildah_py.registry.options import Credentials

CLIENT: Final = "pybuild"
_NO_POST: Final = frozenset({404, 405})
"""Answers of token servers that know no OAuth2."""
_LIFETIME: Final = 60
_MARGIN: Final = 5.0
_LARGEST: Final = 1 << 20
_KEPT: Final = 1000


class Asking(NamedTuple):
    """For whom tokens are asked, and how. `verify`: TLS is checked; `plain`: the registry has none.

    `what` begins messages; `send` takes method, URL, headers and body.
    """

    registry: str
    host: str
    verify: bool
    plain: bool
    what: str
    send: Callable[[str, str, Mapping[str, str], bytes | None], Response]
    retries: Callable[[], Retries]


class IssuedToken(NamedTuple):
    """A token, and the refresh token that came with it ("" if none did)."""

    token: str
    refresh: str
    lifetime: float


class Tokens:
    """The tokens of a process. Threads that need the same one wait for whoever asks for it."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], tuple[str, float]] = {}
        self._asking: dict[tuple[object, ...], threading.Lock] = {}
        self._lock = threading.Lock()

    def get(
        self,
        challenge: Challenge,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
        asking: Asking,
        stale: str = "",
    ) -> str:
        """Give a token for `scopes` that is not `stale`. Raises RegistryError."""
        key = (challenge.parameters.get("realm"), challenge.parameters.get("service"), scopes, credentials)
        with self._lock:
            lock = self._asking.setdefault(key, threading.Lock())
        with lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] != stale and time.monotonic() < kept[1]:
                return kept[0]
            answer = self.fetch(challenge, scopes, credentials, asking)
            with self._lock:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                self._kept[key] = (answer.token, time.monotonic() + max(answer.lifetime - _MARGIN, answer.lifetime / 2))
            return answer.token

    def fetch(
        self,
        challenge: Challenge,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
        asking: Asking,
        *,
        offline: bool = False,
    ) -> IssuedToken:
        """Ask for a token; with `offline` for a refresh token too. Raises RegistryError."""
        realm = challenge.parameters.get("realm", "")
        _check(realm, asking)
        service = challenge.parameters.get("service", "")
        where = urlsplit(realm).netloc

        def attempt() -> IssuedToken:
            response = _ask(realm, service, scopes, credentials, asking, offline)
            if response.status in _NO_POST and credentials is not None and credentials.identity:
                response.finish()
                response = _ask(realm, service, scopes, _as_password(credentials), asking, offline)
            if response.status in RETRIED:
                raise again(response, f"{where} answered {describe(response)}")
            if response.status != 200:
                raise _refused(response, credentials, asking)
            return _read(response.body(_LARGEST), where, asking)

        return asking.retries().run(attempt)


def _check(realm: str, asking: Asking) -> None:
    """Refuse a token server that must not see credentials."""
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise RegistryError(f"{asking.what}: {asking.host} names no server for tokens that can be asked")
    if parts.scheme == "http" and not asking.plain and asking.verify:
        raise RegistryError(
            f"{asking.what}: {asking.host} wants tokens to be had from {parts.netloc} over plain HTTP",
            hint="if the registry is to be trusted so far, say --tls-verify=false",
        )


def _ask(
    realm: str,
    service: str,
    scopes: tuple[str, ...],
    credentials: Credentials | None,
    asking: Asking,
    offline: bool,
) -> Response:
    fields = [("service", service)] if service else []
    if credentials is not None and credentials.identity:
        fields += [("client_id", CLIENT), ("grant_type", "refresh_token"), ("refresh_token", credentials.identity)]
        fields += [("scope", " ".join(scopes))] if scopes else []
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        return asking.send("POST", realm, headers, urlencode(fields).encode())
    fields += [("scope", scope) for scope in scopes]
    headers = {"Accept": "application/json"}
    if credentials is not None and (credentials.username or credentials.password):
        fields += [("account", credentials.username), ("client_id", CLIENT)]
        headers["Authorization"] = credentials.basic()
    if offline:
        fields.append(("offline_token", "true"))
    joint = "&" if urlsplit(realm).query else "?"
    return asking.send("GET", realm + (joint + urlencode(fields) if fields else ""), headers, None)


def _as_password(credentials: Credentials) -> Credentials:
    """Give what a server without OAuth2 gets for an identity token: the password, or else the token in its place."""
    return replace(credentials, password=credentials.password or credentials.identity, identity="")


def _refused(response: Response, credentials: Credentials | None, asking: Asking) -> RegistryError:
    error = failure(asking.what, response, asking.registry)
    message = error.message
    for secret in credentials.secrets() if credentials is not None else ():
        message = message.replace(secret, "***")
    return RegistryError(message, hint=error.hint, status=error.status)


def _read(body: bytes, where: str, asking: Asking) -> IssuedToken:
    try:
        data: Any = json.loads(body)
        token = data.get("token") or data.get("access_token")
        lifetime = float(data.get("expires_in") or _LIFETIME)
        refresh = data.get("refresh_token") or ""
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RegistryError(f"{asking.what}: {where} answered with something that is not a token") from None
    if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
        raise RegistryError(f"{asking.what}: {where} answered without a token")
    return IssuedToken(token, refresh if isinstance(refresh, str) else "", min(max(lifetime, 0.0), 86400.0))
