"""ADD from an http(s) URL: fetched once, asked for again only with its ETag."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter
from buildah_py.errors import SourceError
from buildah_py.http.response import again
from buildah_py.http.retry import DEFAULT, RETRIED, Waiter
from buildah_py.layers.entry import FILE, Entry
from buildah_py.sources.reach import NOWHERE
from buildah_py.sources.single import SingleFile
from buildah_py.sources.urls import check, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.http.client import Client
    from buildah_py.http.response import Response
    from buildah_py.http.retry import Policy
    from buildah_py.layers.limits import ArchiveLimits
    from buildah_py.sources.reach import Reach

_PIECE: Final = 1 << 20
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


def fetch(
    url: str,
    cache: str,
    reach: Reach = NOWHERE,
    *,
    checksum: str = "",
    policy: Policy = DEFAULT,
    environ: Mapping[str, str] | None = None,
) -> Fetched:
    """Fetch `url` into the directory `cache`, or find there what the server says has not changed.

    With `checksum` (`sha256:<hex>`) that is what comes back, or SourceError; what is in the cache with that digest is
    not asked for again. Credentials are those of the URL, or of the secrets HTTP_AUTH_*; they go to the scheme, host
    and port of that URL alone and into no message. Redirects stay on http and https, never lead from https to http, nor
    from elsewhere to this machine itself or its link, unless `reach` allows it. A server that sends more than the
    limits of `reach` say has failed.
    Raises SourceError, and Interrupted where `reach.cancelled()`.
    """
    from hashlib import sha256

    from buildah_py.http.client import Client

    os.makedirs(cache, mode=0o700, exist_ok=True)
    check(url)
    if checksum and (not checksum.startswith("sha256:") or len(checksum) != 71):
        raise SourceError(f"--checksum={checksum} is not supported", hint="give sha256: and 64 hexadecimal digits")
    key = os.path.join(cache, sha256(url.partition("#")[0].encode()).hexdigest())
    known = _known(key, url)
    if known is not None and checksum and known[0].digest == checksum:
        _mark(key, known[0])
        return known[0]
    waiter = Waiter(reach.tell, reach.cancelled)
    with Client(os.environ if environ is None else environ, policy=policy, waiter=waiter) as client:
        retries = client.retries(redact(url), _error)
        with meter.start(f"{'downloading' if known is None else 'checking'} {redact(url)}", waits=True) as moved:
            part = moved.part()
            fetched = retries.run(lambda: _attempt(client, url, key, known, reach, part))
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
    policy: Policy = DEFAULT,
    environ: Mapping[str, str] | None = None,
    local_redirects: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> str:
    """Give the URL that `url` leads to in the end; redirects are those that `fetch` follows.

    Raises SourceError, and Interrupted where `cancelled()`.
    """
    from buildah_py.http.client import Client

    waiter = Waiter(cancelled=cancelled)
    with Client(os.environ if environ is None else environ, policy=policy, waiter=waiter) as client:
        retries = client.retries(redact(check(url)), _error)
        answer = retries.run(lambda: _send(client, url, {}, authorization, local_redirects=local_redirects))
        answer.close()
        return answer.url


def name_of(url: str) -> str:
    """Give the name that a URL's file gets: the last component of its path."""
    from urllib.parse import unquote, urlsplit

    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return _UNNAMED if name in ("", ".", "..") or "\0" in name else name


def _known(key: str, url: str) -> tuple[Fetched, dict[str, str]] | None:
    """Give what is known of a URL, and the headers that ask whether it is still so."""
    import json

    try:
        with open(key + ".json", "rb") as file:
            data = json.load(file)
        path = os.path.join(os.path.dirname(key), data["digest"].partition(":")[2])
        size = os.stat(path).st_size
        if size != data["size"]:
            return None
        known = Fetched(url, path, name_of(url), data["digest"], size, data["mtime"])
        names = {"If-None-Match": data.get("etag"), "If-Modified-Since": data.get("last_modified")}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # damaged: fetch it again
        return None
    return known, next(({name: str(value)} for name, value in names.items() if value), {})


def _error(message: str, hint: str, _status: int) -> SourceError:
    return SourceError(redact(message), hint=hint)


def _attempt(
    client: Client,
    url: str,
    key: str,
    known: tuple[Fetched, Mapping[str, str]] | None,
    reach: Reach,
    part: meter.Portion,
) -> Fetched:
    extra = known[1] if known is not None else {}
    authorization = authorization_from(reach.secret)
    with _send(client, url, extra, authorization, local_redirects=reach.local_redirects) as response:
        if response.status == 304 and known is not None:
            return known[0]
        if response.status in RETRIED:
            raise again(response, f"the server answered {response.status} {response.reason}")
        if response.status != 200:
            hint = "give credentials with --secret id=HTTP_AUTH_TOKEN_<host>" if response.status in (401, 403) else ""
            raise SourceError(f"{redact(url)}: the server answered {response.status} {response.reason}", hint=hint)
        return _save(url, key, response, reach.limits, part)


def _save(url: str, key: str, response: Response, limits: ArchiveLimits, part: meter.Portion) -> Fetched:
    import json
    from email.utils import parsedate_to_datetime
    from hashlib import sha256
    from tempfile import mkstemp

    folder = os.path.dirname(key)
    descriptor, temporary = mkstemp(prefix=".fetch-", dir=folder)
    try:
        hashed, size = sha256(), 0
        with open(descriptor, "wb") as file:
            _refuse_large(url, response.length, limits)
            part.expect(response.length)
            stream = part.reading(response)
            while data := stream.read(_PIECE):
                _refuse_large(url, size + len(data), limits)
                file.write(data)
                hashed.update(data)
                size += len(data)
        path = os.path.join(folder, hashed.hexdigest())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    stamp = response.headers.get("Last-Modified") or ""
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
        "etag": response.headers.get("ETag") or "",
        "last_modified": stamp,
    }
    descriptor, temporary = mkstemp(prefix=".fetch-", dir=folder)
    with open(descriptor, "w") as text:
        json.dump(record, text)
    os.replace(temporary, key + ".json")
    return Fetched(url, path, name_of(url), f"sha256:{hashed.hexdigest()}", size, mtime)


def _refuse_large(url: str, size: int, limits: ArchiveLimits) -> None:
    if size > limits.size:
        raise SourceError(f"{redact(url)} is larger than the allowed {limits.size} bytes", hint=limits.hint)


def _send(
    client: Client,
    url: str,
    extra: Mapping[str, str],
    authorization: Callable[[str], str | None] | None,
    *,
    local_redirects: bool,
) -> Response:
    """Send the request, following redirects; credentials go no further than to the server of `url`."""
    from buildah_py.http.redirects import LeadsHereError, follow, origin

    given = _basic(url) or (authorization(url) if authorization is not None else None)
    if given and any(character in given for character in "\r\n\0"):
        raise SourceError(f"{redact(url)}: its credentials have a line break in them")

    def send(there: str, led_by: str) -> Response:
        ours = {"Authorization": given} if given and origin(there) == origin(url) else {}
        return client.request("GET", there, {**extra, **ours}, led_by=led_by)

    try:
        return follow("GET", url, send, to_local=local_redirects)
    except LeadsHereError as error:
        error.hint = "name the local address in the build file if that is meant, or give --allow-local-redirects"
        raise


def _basic(url: str) -> str | None:
    """Give the header for the credentials that stand in a URL."""
    from base64 import b64encode
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()
