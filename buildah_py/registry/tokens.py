"""Bearer tokens: asked for where a challenge says, for a scope, kept until they expire.

Docker's token specification (GET with a password or none) and its OAuth2 form (POST with an identity token).
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from buildah_py.errors import RegistryError
from buildah_py.registry.answers import AGAIN, describe, failure, finish, read_small
from buildah_py.registry.patience import Patience, Trouble
from buildah_py.registry.transport import again

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

    from buildah_py.registry.challenge import Challenge
    from buildah_py.registry.credentials import Credentials
    from buildah_py.registry.options import Limits
    from buildah_py.registry.transport import Transport

CLIENT: Final = "pybuild"
_NO_POST: Final = frozenset({404, 405})
"""Answers of token servers that know no OAuth2."""
_LIFETIME: Final = 60
_MARGIN: Final = 5.0
_LARGEST: Final = 1 << 20
_KEPT: Final = 1000


class Asking(NamedTuple):
    """For whom tokens are asked. `verify`: TLS is checked; `plain`: the registry has none; `what` begins messages."""

    registry: str
    host: str
    verify: bool
    plain: bool
    what: str


class Answer(NamedTuple):
    """A token, and the refresh token that came with it ("" if none did)."""

    token: str
    refresh: str
    lifetime: float


class Tokens:
    """The tokens of a process. Threads that need the same one wait for whoever asks for it."""

    def __init__(self, transport: Transport, limits: Limits, tell: Callable[[str], object]) -> None:
        self._transport = transport
        self._limits = limits
        self._tell = tell
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
    ) -> Answer:
        """Ask for a token; with `offline` for a refresh token too. Raises RegistryError."""
        realm = challenge.parameters.get("realm", "")
        self._check(realm, asking)
        patience = Patience(self._limits, self._transport.closed, asking.what, self._tell)
        where = urlsplit(realm).netloc
        while True:
            try:
                service = challenge.parameters.get("service", "")
                response = self._ask(realm, service, scopes, credentials, asking, offline)
                if response.status in _NO_POST and credentials is not None and credentials.identity:
                    finish(response)
                    instead = _as_password(credentials)
                    response = self._ask(realm, service, scopes, instead, asking, offline)
                if response.status in AGAIN:
                    raise again(response, f"{where} answered {describe(response)}")
                if response.status != 200:
                    raise _refused(response, realm, credentials, asking)
                return _read(read_small(response, _LARGEST, host=where, silence=self._limits.silence), where, asking)
            except Trouble as trouble:
                patience.wait(trouble)

    def _check(self, realm: str, asking: Asking) -> None:
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise RegistryError(f"{asking.what}: {asking.host} names no server for tokens that can be asked")
        if parts.scheme == "http" and not asking.plain and asking.verify:
            raise RegistryError(
                f"{asking.what}: {asking.host} wants tokens to be had from {parts.netloc} over plain HTTP",
                hint="if the registry is to be trusted so far, say --tls-verify=false",
            )

    def _ask(
        self,
        realm: str,
        service: str,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
        asking: Asking,
        offline: bool,
    ) -> BaseHTTPResponse:
        fields = [("service", service)] if service else []
        if credentials is not None and credentials.identity:
            fields += [("client_id", CLIENT), ("grant_type", "refresh_token"), ("refresh_token", credentials.identity)]
            fields += [("scope", " ".join(scopes))] if scopes else []
            return self._transport.request(
                "POST",
                realm,
                {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                verify=asking.verify,
                body=urlencode(fields).encode(),
                asked=asking.host,
            )
        fields += [("scope", scope) for scope in scopes]
        headers = {"Accept": "application/json"}
        if credentials is not None and (credentials.username or credentials.password):
            fields += [("account", credentials.username), ("client_id", CLIENT)]
            headers["Authorization"] = credentials.basic()
        if offline:
            fields.append(("offline_token", "true"))
        joint = "&" if urlsplit(realm).query else "?"
        return self._transport.request(
            "GET",
            realm + (joint + urlencode(fields) if fields else ""),
            headers,
            verify=asking.verify,
            asked=asking.host,
        )


def _as_password(credentials: Credentials) -> Credentials:
    """Give what a server without OAuth2 gets for an identity token: the password, or else the token in its place."""
    return replace(credentials, password=credentials.password or credentials.identity, identity="")


def _refused(response: BaseHTTPResponse, realm: str, credentials: Credentials | None, asking: Asking) -> RegistryError:
    error = failure(asking.what, response, asking.registry, urlsplit(realm).netloc)
    message = error.message
    for secret in credentials.secrets() if credentials is not None else ():
        message = message.replace(secret, "***")
    return RegistryError(message, hint=error.hint, status=error.status)


def _read(body: bytes, where: str, asking: Asking) -> Answer:
    try:
        data: Any = json.loads(body)
        token = data.get("token") or data.get("access_token")
        lifetime = float(data.get("expires_in") or _LIFETIME)
        refresh = data.get("refresh_token") or ""
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise RegistryError(f"{asking.what}: {where} answered with something that is no token") from None
    if not isinstance(token, str) or not token or not (token.isascii() and token.isprintable()):
        raise RegistryError(f"{asking.what}: {where} answered without a token")
    return Answer(token, refresh if isinstance(refresh, str) else "", min(max(lifetime, 0.0), 86400.0))
