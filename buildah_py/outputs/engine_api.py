"""The part of Docker's and Podman's API that takes images: found by its socket, spoken to over HTTP."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py import debug
from buildah_py.errors import HttpError, OutputError
from buildah_py.http import local
from buildah_py.image.canonical import loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildah_py.http.client import Client

_CONNECT = 10.0
_SILENCE = 900.0
_LARGEST = 64 << 20
_CONTAINERD = "io.containerd.snapshotter.v1"


class DaemonAddress(NamedTuple):
    """Where an engine listens: `path` of a socket, or host and port. `said` is what named it."""

    path: str
    host: str
    port: int
    said: str


def find_engine(environ: Mapping[str, str]) -> DaemonAddress:
    """Find Docker or Podman: $DOCKER_HOST, $CONTAINER_HOST, then the sockets that they usually have.

    Raises OutputError where there is none.
    """
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        if environ.get(name):
            return _address(environ[name], f"${name}")
    own = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    usual = ("/var/run/docker.sock", f"{own}/docker.sock", "/run/podman/podman.sock", f"{own}/podman/podman.sock")
    for path in usual:
        if os.path.exists(path):
            return DaemonAddress(path, "", 0, path)
    raise OutputError(
        "there is neither a running Docker nor a running Podman to load the image into",
        hint="start one (`podman system service`), name its socket with DOCKER_HOST, or write one with dest=FILE.tar",
    )


def _address(text: str, said: str) -> DaemonAddress:
    scheme, separator, rest = text.partition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme == "unix" and rest:
        return DaemonAddress(rest, "", 0, said)
    if scheme in ("tcp", "http") and separator and host and port.isdecimal():
        return DaemonAddress("", host.strip("[]"), int(port), said)
    raise OutputError(
        f"{said} is `{text}`, which pybuild cannot reach", hint="it can be unix:///path/of/a/socket or tcp://host:port"
    )


class Daemon:
    """A running Docker or Podman. Raises OutputError that names where it was looked for."""

    def __init__(self, address: DaemonAddress) -> None:
        self._name = address.path or f"{address.host}:{address.port}"
        self._path = address.path
        self._base = "http://localhost" if address.path else f"http://{_bracketed(address.host)}:{address.port}"
        self._opened: Client | None = None
        self._containerd: bool | None = None

    def check(self) -> None:
        """See whether it is there."""
        self._get("/version")

    def in_containerd(self) -> bool:
        """Whether it keeps images in containerd: it calls them by the digests of their manifests then."""
        if self._containerd is None:
            status = self._get("/info").get("DriverStatus") or []
            self._containerd = any(_CONTAINERD in pair for pair in status)
        return self._containerd

    def has(self, image: str, name: str = "") -> bool:
        """Whether it has an image of that id, by a name of it if one is given, with all that it is made of."""
        found = self._get(f"/images/{name or image}/json?manifests=1", missing={})
        return bool(found) and found.get("Id") == image and _is_whole(found)

    def tag(self, image: str, name: str) -> None:
        """Give one of its images a name: `registry/path:tag`."""
        from urllib.parse import quote

        repository, _, tag = name.rpartition(":")
        self._ask("POST", f"/images/{image}/tag?repo={quote(repository)}&tag={quote(tag)}")

    def layers_there(self) -> list[tuple[str, ...]]:
        """Return the layers (diff_ids, lowest first) of the images whose layers need not be sent again.

        Podman takes no archive without them. A Docker that keeps images in containerd takes any, and may not have the
        blobs that such an archive means: whoever leaves layers out asks afterwards whether it `has` the image.
        """
        if "Podman" in json.dumps(self._get("/version").get("Components") or []):
            return []
        found = []
        for image in self._get("/images/json"):
            root = self._get(f"/images/{image['Id']}/json").get("RootFS") or {}
            found.append(tuple(root.get("Layers") or ()))
        return found

    def load(self, archive: Iterator[bytes]) -> None:
        """Have it take a docker-archive."""
        headers = {"Content-Type": "application/x-tar", "Transfer-Encoding": "chunked"}
        for line in self._ask("POST", "/images/load?quiet=1", headers, archive).splitlines():
            said = _json(line)
            if isinstance(said, dict) and said.get("error"):
                raise self._refused(str(said["error"]))

    def _get(self, path: str, *, missing: Any = None) -> Any:
        """Return what it answers; `missing`, where that is given, for what it has not."""
        data = self._ask("GET", path, absent=b"null" if missing is not None else None)
        found = _json(data)
        if found is None and missing is not None:
            return missing
        if not isinstance(found, (dict, list)):
            raise self._refused(f"its answer to GET {path} is not JSON")
        return found

    def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Iterator[bytes] | None = None,
        *,
        absent: bytes | None = None,
    ) -> bytes:
        """Send a request; the body of its answer, `absent` where that is 404. Raises OutputError for other failures."""
        found = local.ask(self._path, method, path, patience=_CONNECT) if self._path and body is None else None
        status, data = found or self._exchange(method, path, headers or {}, body)
        debug.log("the engine: %s %s: %d", method, path, status)
        if status == 404 and absent is not None:
            return absent
        if not 200 <= status < 300:
            said = _json(data)
            text = (
                said.get("message") or said.get("cause")
                if isinstance(said, dict)
                else data[:500].decode("utf-8", "replace")
            )
            raise self._refused(f"{text} (HTTP {status})")
        return data

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: Iterator[bytes] | None
    ) -> tuple[int, bytes]:
        """Send a request of any kind; the status and the body of its answer. Raises OutputError."""
        from buildah_py.http.client import Client
        from buildah_py.http.retry import Policy, RetryableError

        if self._opened is None:
            self._opened = Client({}, policy=Policy(connect=_CONNECT, silence=_SILENCE), path=self._path)
        try:
            response = self._opened.request(method, self._base + path, headers, body=body)
            return response.status, response.body(_LARGEST)
        except (RetryableError, HttpError) as error:
            hint = "is it running, and may this user use its socket?"
            raise OutputError(f"the engine at {error.args[0]}", hint=hint) from error

    def _refused(self, text: str) -> OutputError:
        return OutputError(f"the engine at {self._name} did not take the image: {text}")


def _is_whole(found: Mapping[str, Any]) -> bool:
    """Whether nothing of an image is missing, as far as the engine says so (API 1.48, with containerd)."""
    listed = found.get("Manifests")
    return not isinstance(listed, list) or any(isinstance(one, dict) and one.get("Available") for one in listed)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _json(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None
