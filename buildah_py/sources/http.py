"""ADD from an http(s) URL: fetched once, asked for again only with its ETag."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import SourceError
from buildah_py.image.numbers import decimal
from buildah_py.layers.entry import FILE, Entry
from buildah_py.layers.limits import DEFAULT_LIMITS, Limits
from buildah_py.sources.single import SingleFile
from buildah_py.sources.urls import check, origin, redact
from buildah_py.sources.watch import Watch

if TYPE_CHECKING:
    import http.client
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

_MAX_REDIRECTS: Final = 10
_TRIES: Final = 3
_PIECE: Final = 1 << 20
_TIMEOUT: Final = 60.0
_SLOWEST: Final = 100
"""Fewer bytes in a second than these, for as long as the time limit, are silence."""
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_UNNAMED: Final = "__unnamed__"


class Fetched(NamedTuple):
    """A fetched file: where its bytes are, its digest, and what the server said of it. `mtime` in ns, 0 unknown."""

    url: str
    path: str
    name: str
    digest: str
    size: int
    mtime: int

    def tree(self) -> SingleFile:
        """Give it as a tree for COPY to select from: one file, mode 0600, owner 0:0."""
        entry = Entry(self.name, FILE, 0o600, size=self.size, digest=self.digest, mtime=self.mtime)
        return SingleFile(entry, self.path)


class _Way(NamedTuple):
    """How servers are reached."""

    authorization: Callable[[str], str | None] | None
    watch: Watch
    environment: Mapping[str, str]
    local_redirects: bool
    limits: Limits = DEFAULT_LIMITS


class _Answer(NamedTuple):
    response: http.client.HTTPResponse
    connection: http.client.HTTPConnection
    url: str


def fetch(
    url: str,
    cache: str,
    *,
    checksum: str = "",
    authorization: Callable[[str], str | None] | None = None,
    timeout: float = _TIMEOUT,
    environment: Mapping[str, str] | None = None,
    local_redirects: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    cancelled: Callable[[], bool] = lambda: False,
) -> Fetched:
    """Fetch `url` into the directory `cache`, or find there what the server says has not changed.

    With `checksum` (`sha256:<hex>`) that is what comes back, or SourceError; what is in the cache with that digest is
    not asked for again. `authorization` gives the Authorization header for a URL; it, and what stands before the `@`
    of the URL, goes to the scheme, host and port of that URL alone and into no message. Redirects stay on http and
    https, never lead from https to http, nor, without `local_redirects`, from elsewhere to this machine itself or its
    link. A server that is silent for `timeout` seconds, or next to it, has failed, and so has one that sends more than
    `limits` say.
    Raises SourceError, and Interrupted where `cancelled()`.
    """
    from hashlib import sha256

    os.makedirs(cache, mode=0o700, exist_ok=True)
    check(url)
    if checksum and (not checksum.startswith("sha256:") or len(checksum) != 71):
        raise SourceError(f"--checksum={checksum} is not supported", hint="give sha256: and 64 hexadecimal digits")
    key = os.path.join(cache, sha256(url.partition("#")[0].encode()).hexdigest())
    known = _known(key, url)
    if known is not None and checksum and known.digest == checksum:
        _mark(key, known)
        return known
    with Watch(cancelled, timeout) as watch:
        way = _Way(authorization, watch, os.environ if environment is None else environment, local_redirects, limits)
        fetched = _with_retries(url, key, known, way)
    if checksum and fetched.digest != checksum:
        raise SourceError(
            f"{redact(url)} has the digest {fetched.digest}, and --checksum says {checksum}",
            hint="if the new content is right, change the checksum",
        )
    _mark(key, fetched)
    return fetched


def _mark(key: str, fetched: Fetched) -> None:
    """Note that a file was used now: what was not used for long is what goes first."""
    import time

    now = time.time_ns()
    for path in (key + ".json", fetched.path):
        os.utime(path, ns=(now, now))


def authorization_from(secret: Callable[[str], bytes | None]) -> Callable[[str], str | None]:
    """Give the Authorization header for a URL from secrets called HTTP_AUTH_HEADER_<host>, HTTP_AUTH_TOKEN_<host>."""
    from urllib.parse import urlsplit

    def header(url: str) -> str | None:
        host = urlsplit(url).hostname
        value = secret(f"HTTP_AUTH_HEADER_{host}")
        if value is not None:
            return value.decode("latin-1").strip()
        token = secret(f"HTTP_AUTH_TOKEN_{host}")
        return None if token is None else "Bearer " + token.decode("latin-1").strip()

    return header


def follow(
    url: str,
    *,
    authorization: Callable[[str], str | None] | None = None,
    timeout: float = _TIMEOUT,
    environment: Mapping[str, str] | None = None,
    local_redirects: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """Give the URL that `url` leads to in the end; redirects are those that `fetch` follows.

    Raises SourceError, and Interrupted where `cancelled()`.
    """
    import http.client

    check(url)
    with Watch(cancelled, timeout) as watch:
        try:
            way = _Way(authorization, watch, os.environ if environment is None else environment, local_redirects)
            answer = _follow(url, {}, way)
        except (OSError, http.client.HTTPException) as error:
            raise SourceError(f"{redact(url)} cannot be followed: {redact(str(error))}") from error
        answer.response.close()
        answer.connection.close()
    return answer.url


def name_of(url: str) -> str:
    """Give the name that a URL's file gets: the last component of its path."""
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return _UNNAMED if name in ("", ".", "..") or "\0" in name else name


def _known(key: str, url: str) -> Fetched | None:
    import json

    try:
        with open(key + ".json", "rb") as file:
            data = json.load(file)
        path = os.path.join(os.path.dirname(key), data["digest"].partition(":")[2])
        size = os.stat(path).st_size
        if size != data["size"]:
            return None
        return Fetched(url, path, name_of(url), data["digest"], size, data["mtime"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # damaged: fetch it again
        return None


def _headers(key: str) -> dict[str, str]:
    """Give the headers that ask whether what is known is still so."""
    import json

    with open(key + ".json", "rb") as file:
        data = json.load(file)
    headers = {}
    if data.get("etag"):
        headers["If-None-Match"] = str(data["etag"])
    elif data.get("last_modified"):
        headers["If-Modified-Since"] = str(data["last_modified"])
    return headers


def _with_retries(
    url: str,
    key: str,
    known: Fetched | None,
    way: _Way,
) -> Fetched:
    import http.client
    import ssl

    last = ""
    for attempt in range(_TRIES):
        if attempt:
            way.watch.pause(0.25 * 4**attempt)
        try:
            return _attempt(url, key, known, way)
        except ssl.SSLCertVerificationError as error:
            raise SourceError(f"{redact(url)}: {error.verify_message}") from error
        except (OSError, http.client.HTTPException) as error:
            last = redact(str(error)) or type(error).__name__
        except _TryAgain as error:
            last = str(error)
        way.watch.forget()
    raise SourceError(f"{redact(url)} cannot be fetched: {last}", hint=f"tried {_TRIES} times")


class _TryAgain(Exception):
    """The server says that it may do better later."""


def _attempt(
    url: str,
    key: str,
    known: Fetched | None,
    way: _Way,
) -> Fetched:
    extra = _headers(key) if known is not None else {}
    answer = _follow(url, extra, way)
    response = answer.response
    try:
        if response.status == 304 and known is not None:
            return known
        if response.status >= 500 or response.status == 429:
            raise _TryAgain(f"the server answered {response.status} {response.reason}")
        if response.status != 200:
            hint = "give credentials with --secret id=HTTP_AUTH_TOKEN_<host>" if response.status in (401, 403) else ""
            raise SourceError(f"{redact(url)}: the server answered {response.status} {response.reason}", hint=hint)
        return _save(url, key, response, way)
    finally:
        response.close()
        answer.connection.close()


def _save(url: str, key: str, response: http.client.HTTPResponse, way: _Way) -> Fetched:
    import json
    from email.utils import parsedate_to_datetime
    from hashlib import sha256
    from tempfile import mkstemp

    folder = os.path.dirname(key)
    descriptor, temporary = mkstemp(prefix=".fetch-", dir=folder)
    try:
        hashed, size = sha256(), 0
        with open(descriptor, "wb") as file:
            _refuse_large(url, decimal(response.getheader("Content-Length") or ""), way.limits)
            for data in _pieces(response, way.watch):
                _refuse_large(url, size + len(data), way.limits)
                file.write(data)
                hashed.update(data)
                size += len(data)
        _check_length(response, size)
        path = os.path.join(folder, hashed.hexdigest())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    stamp = response.getheader("Last-Modified") or ""
    mtime = 0
    if stamp:
        try:
            mtime = max(0, int(parsedate_to_datetime(stamp).timestamp())) * 1_000_000_000
        except (ValueError, OverflowError):  # a server that does not know the format
            stamp = ""
    record = {
        "digest": "sha256:" + hashed.hexdigest(),
        "size": size,
        "mtime": mtime,
        "etag": response.getheader("ETag") or "",
        "last_modified": stamp,
    }
    descriptor, temporary = mkstemp(prefix=".fetch-", dir=folder)
    with open(descriptor, "w") as text:
        json.dump(record, text)
    os.replace(temporary, key + ".json")
    return Fetched(url, path, name_of(url), f"sha256:{hashed.hexdigest()}", size, mtime)


def _check_length(response: http.client.HTTPResponse, size: int) -> None:
    wanted = decimal(response.getheader("Content-Length") or "")
    if wanted not in (-1, size):
        raise _TryAgain(f"it ended after {size} of {wanted} bytes")


def _refuse_large(url: str, size: int, limits: Limits) -> None:
    if size > limits.size:
        raise SourceError(f"{redact(url)} is larger than the allowed {limits.size} bytes", hint=limits.hint)


def _pieces(response: http.client.HTTPResponse, watch: Watch) -> Iterator[bytes]:
    """Give the bytes as they come; a server that drips is as good as a silent one."""
    import time

    silence = watch.timeout
    waited, got = 0.0, 0
    while True:
        begun = time.monotonic()
        data = response.read1(_PIECE)
        waited += time.monotonic() - begun
        got += len(data)
        watch.check()
        if not data:
            return
        if waited >= silence:
            if got < _SLOWEST * silence:
                raise _TryAgain(f"it gave {got} bytes in {waited:.0f} seconds")
            waited, got = 0.0, 0
        yield data


def _follow(url: str, extra: Mapping[str, str], way: _Way) -> _Answer:
    """Send the request, following redirects."""
    from urllib.parse import urljoin, urlsplit

    from buildah_py.sources.connection import connect

    here = urlsplit(url)
    first = origin(url)
    was_local = False
    for count in range(_MAX_REDIRECTS + 1):
        host = here.hostname
        if here.scheme not in ("http", "https") or not host:
            raise SourceError(f"{redact(url)} leads to {redact(here.geturl())}, which is neither http nor https")
        guarded = count > 0 and not was_local and not way.local_redirects
        connection, target, local = connect(here, way.watch, way.environment, guarded=guarded, asked=redact(url))
        was_local = local if count == 0 else was_local and local
        headers = {"Accept-Encoding": "identity", "User-Agent": "pybuild", **extra}
        asked = way.authorization if origin(here.geturl()) == first else None
        given = _basic(here) or (asked(here.geturl()) if asked is not None else None)
        if given:
            headers["Authorization"] = given
        try:
            with way.watch.within():
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
            way.watch.check()
        except BaseException:
            connection.close()
            raise
        if response.status not in _REDIRECTS:
            return _Answer(response, connection, here.geturl())
        location = response.getheader("Location") or ""
        response.close()
        connection.close()
        there = urlsplit(check(urljoin(here.geturl(), location)))
        if here.scheme == "https" and there.scheme == "http":
            raise SourceError(f"{redact(url)} leads from https to {redact(there.geturl())}, which anybody can change")
        here = there
    raise SourceError(f"{redact(url)} leads through more than {_MAX_REDIRECTS} redirects")


def _basic(url: SplitResult) -> str | None:
    """Give the header for the credentials that stand in a URL."""
    from base64 import b64encode
    from urllib.parse import unquote

    if url.username is None:
        return None
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()
