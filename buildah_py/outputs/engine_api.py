"""The part of Docker's and Podman's API that takes images: found by its socket, spoken to over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.errors import OutputError
from buildah_py.image.canonical import loads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 900
_LARGEST = 64 << 20
_CONTAINERD = "io.containerd.snapshotter.v1"


class EngineAddress(NamedTuple):
    """Where an engine listens: `path` of a socket, or host and port. `said` is what named it."""

    path: str
    host: str
    port: int
    said: str


def find_engine(environ: Mapping[str, str]) -> EngineAddress:
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
            return EngineAddress(path, "", 0, path)
    raise OutputError(
        "there is neither a running Docker nor a running Podman to load the image into",
        hint="start one (`podman system service`), name its socket with DOCKER_HOST, or write one with dest=FILE.tar",
    )


def _address(text: str, said: str) -> EngineAddress:
    scheme, separator, rest = text.partition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme == "unix" and rest:
        return EngineAddress(rest, "", 0, said)
    if scheme in ("tcp", "http") and separator and host and port.isdecimal():
        return EngineAddress("", host.strip("[]"), int(port), said)
    raise OutputError(
        f"{said} is `{text}`, which pybuild cannot reach", hint="it can be unix:///path/of/a/socket or tcp://host:port"
    )


class _Connection(http.client.HTTPConnection):
    def __init__(self, address: EngineAddress) -> None:
        super().__init__(address.host or "localhost", address.port or None, timeout=_CONNECT_SECONDS)
        self._path = address.path

    def connect(self) -> None:
        if self._path:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_CONNECT_SECONDS)
            self.sock.connect(self._path)
        else:
            super().connect()
        self.sock.settimeout(_ANSWER_SECONDS)


class Engine:
    """A running Docker or Podman. Raises OutputError that names where it was looked for."""

    def __init__(self, address: EngineAddress) -> None:
        self._address = address

    def check(self) -> None:
        """See whether it is there."""
        self._get("/version")

    def layers_there(self) -> list[tuple[str, ...]]:
        """The layers (diff_ids, lowest first) of the images whose layers need not be sent again.

        Only Docker with a store of its own says so and takes an archive without them: none for Podman, and none for
        a Docker that keeps images in containerd.
        """
        info = self._get("/info")
        status = info.get("DriverStatus") or []
        if "Podman" in json.dumps(self._get("/version").get("Components") or []) or any(
            _CONTAINERD in pair for pair in status
        ):
            return []
        found = []
        for image in self._get("/images/json"):
            root = self._get(f"/images/{image['Id']}/json").get("RootFS") or {}
            found.append(tuple(root.get("Layers") or ()))
        return found

    def load(self, archive: Iterator[bytes]) -> None:
        """Have it take a docker-archive."""
        connection = _Connection(self._address)
        try:
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its answer will say why
                for data in archive:
                    connection.send(b"%x\r\n%b\r\n" % (len(data), data))
                connection.send(b"0\r\n\r\n")
            response = connection.getresponse()
            data = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        self._check(response.status, data)
        for line in data.splitlines():
            said = _json(line)
            if isinstance(said, dict) and said.get("error"):
                raise self._refused(str(said["error"]))

    def _get(self, path: str) -> Any:
        connection = _Connection(self._address)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            data = response.read(_LARGEST)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        self._check(response.status, data)
        found = _json(data)
        if not isinstance(found, (dict, list)):
            raise self._refused(f"its answer to GET {path} is not JSON")
        return found

    def _check(self, status: int, data: bytes) -> None:
        if not 200 <= status < 300:
            said = _json(data)
            text = (
                said.get("message") or said.get("cause")
                if isinstance(said, dict)
                else data[:500].decode("utf-8", "replace")
            )
            raise self._refused(f"{text} (HTTP {status})")

    def _refused(self, text: str) -> OutputError:
        return OutputError(f"the engine at {self._name()} did not take the image: {text}")

    def _unreachable(self, error: Exception) -> OutputError:
        return OutputError(
            f"the engine at {self._name()} cannot be reached: {error}",
            hint="is it running, and may this user use its socket?",
        )

    def _name(self) -> str:
        address = self._address
        return address.path or f"{address.host}:{address.port}"


def _json(data: bytes) -> Any:
    try:
        return loads(data)
    except ValueError:
        return None
