"""The attributes of `type=reapi`: where the server is, as whom it is spoken to, and what the cache is called there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from buildah_py.errors import UsageError
from buildah_py.http.tls import Files, Pem, pem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.sharing.spec import CacheSpec

_HEADER: Final = "header."
_FILES: Final = ("cacert", "cert", "key")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME: Final = re.compile(r"[a-z0-9_.-]+")
_TLS_PORT: Final = 443


class CacheServer(NamedTuple):
    """A server and a cache in it. `tls` is None for a connection that is not encrypted.

    `host` has the port; `server_name` is who its certificate is to name instead. `headers` go along with each call, and
    are secret. `names` are those of the cache: all are written, the first that is there is read.
    """

    host: str
    instance: str
    names: tuple[str, ...]
    location: str
    headers: tuple[tuple[str, str], ...] = ()
    tls: Pem | None = None
    server_name: str = ""

    @property
    def prefix(self) -> str:
        """The beginning of the names of ByteStream's resources."""
        return f"{self.instance}/" if self.instance else ""


def read(place: CacheSpec, environ: Mapping[str, str]) -> CacheServer:
    """Read what was said; secrets come from the variables that it names. Raises UsageError."""
    said = place.where
    host, encrypted = _endpoint(said.get("endpoint", ""), place.option)
    files = {name: os.path.abspath(said[name]) for name in _FILES if said.get(name)}
    if not encrypted and (files or said.get("servername")):
        raise UsageError(
            f"{place.option}: a connection by grpc:// is not encrypted, and has no certificates",
            hint=f"write endpoint=grpcs://{host}",
        )
    if ("cert" in files) != ("key" in files):
        raise UsageError(f"{place.option}: a certificate needs its key", hint="give cert=FILE and key=FILE")
    if "header.authorization" in said and "token" in said:
        raise UsageError(f"{place.option}: `token` is sent as the header authorization, which is given too")
    names = tuple(dict.fromkeys(filter(None, said.get("name", "pybuild").split(";"))))
    if not names:
        raise UsageError(f"{place.option}: name= is empty", hint="leave it out, or name the cache")
    tls = None
    if encrypted:
        pairs = ((files["cert"], files["key"]),) if "cert" in files else ()
        try:
            tls = pem(environ, Files((files["cacert"],) if "cacert" in files else (), pairs))
        except OSError as error:
            raise UsageError(f"{place.option}: {error.filename} cannot be read: {error.strerror}") from error
    instance = said.get("instance", "").strip("/")
    return CacheServer(
        host, instance, names, _location(said, files), tuple(_headers(place, environ)), tls, said.get("servername", "")
    )


def _endpoint(text: str, option: str) -> tuple[str, bool]:
    """Read the endpoint: host with port, and whether it is encrypted."""
    example = "write it as grpc://HOST:PORT, or grpcs://HOST:PORT for a connection that is encrypted"
    if "@" in text:
        raise UsageError(
            f"{option}: the endpoint holds credentials", hint="give them as token=VARIABLE or header.NAME=VARIABLE"
        )
    wrong = UsageError(f"{option}: endpoint={text} is not the address of a server", hint=example)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    encrypted = parts.scheme == "grpcs"
    port = port or (_TLS_PORT if encrypted else None)
    if parts.scheme not in ("grpc", "grpcs") or not host or not port or parts.path.strip("/") or parts.query:
        raise wrong
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", encrypted


def _headers(place: CacheSpec, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for attribute, variable in place.where.items():
        if attribute == "token":
            name, before = "authorization", "Bearer "
        elif attribute.startswith(_HEADER):
            name, before = attribute.removeprefix(_HEADER), ""
        else:
            continue
        if not _NAME.fullmatch(name) or name.startswith("grpc-") or name.endswith("-bin"):
            raise UsageError(f"{place.option}: `{name}` is not the name of a header that can be sent")
        hint = "the value is the name of an environment variable, so that no secret stands in a command line"
        if not _VARIABLE.fullmatch(variable):  # which may well be the secret itself
            raise UsageError(f"{place.option}: {attribute}=… does not name an environment variable", hint=hint)
        value = environ.get(variable, "").strip()
        if not value:
            raise UsageError(f"{place.option}: {attribute}={variable}: that variable is not set", hint=hint)
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"{place.option}: {attribute}={variable}: its value cannot be sent as a header")
        found.append((name, before + value))
    return found


def _location(said: Mapping[str, str], files: Mapping[str, str]) -> str:
    """Write the attributes down again: they name secrets, and hold none."""
    parts = [f"{name}={files.get(name, value)}" for name, value in {"type": "reapi", **said}.items()]
    return ",".join('"' + part.replace('"', '""') + '"' if set(part) & set(',"') else part for part in parts)
