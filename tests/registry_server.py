"""Debian's docker-registry on loopback: plain, with TLS, with passwords, with tokens; and a proxy that does harm.

`with serving(directory) as registry:` starts one; the fixture `docker_registry` is a plain one.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.elsewhere import Elsewhere

USER = "anna"
PASSWORD = "geheim"
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuVWu8RjbNovPZWAMRdd7iqaaG0mI53Uu\n"  # of PASSWORD
_LISTENING = re.compile(r"listening on \S*?:(\d+)(?:, tls)?\"")


@dataclass(frozen=True)
class Served:
    """A registry that runs. `host` is what references begin with; `ca` the file of its CA ("" without TLS)."""

    host: str
    directory: Path
    ca: str = ""
    tokens: TokenServer | None = None

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def blob_path(self, digest: str) -> Path:
        """Where the registry keeps a blob."""
        hexadecimal = digest.partition(":")[2]
        return self.directory / "data/docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a request without any client of ours: status, headers in lower case, body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@contextmanager
def serving(directory: Path, *, tls: bool = False, basic: bool = False, tokens: bool = False) -> Iterator[Served]:
    """Run a registry that keeps its data below `directory`. Skips the test where there is no docker-registry.

    With `basic` it asks for USER and PASSWORD; with `tokens` for tokens of a server that is in `.tokens`.
    """
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "of the tests"}
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(directory / "data")}, "delete": {"enabled": True}},
        "http": http,
    }
    with ExitStack() as stack:
        ca = ""
        if tls:
            made = certificate(directory / "tls")
            http["tls"] = {"certificate": made.certificate, "key": made.key}
            ca = made.ca
        if basic:
            (directory / "htpasswd").write_text(_HTPASSWD)
            settings["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
        server: TokenServer | None = None
        if tokens:
            server = stack.enter_context(TokenServer(directory / "tokens"))
            settings["auth"] = {
                "token": {
                    "realm": server.realm, "service": "tests", "issuer": "tests", "rootcertbundle": server.certificate,
                }
            }  # fmt: skip
        configuration = directory / "config.json"  # JSON is YAML
        configuration.write_text(json.dumps(settings))
        process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        assert process.stderr is not None
        reader: threading.Thread | None = None
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                found = _LISTENING.search(line)
                if found:
                    break
            else:
                raise AssertionError("".join(said))
            reader = threading.Thread(target=_drain, args=(process.stderr,))
            reader.start()
            yield Served(f"127.0.0.1:{found[1]}", directory, ca, server)
        finally:
            process.terminate()
            process.wait()
            if reader is not None:
                reader.join()
            process.stderr.close()


def _drain(stream: Any) -> None:
    for _ in stream:
        pass


@dataclass(frozen=True)
class Certificate:
    """Files: a certificate for 127.0.0.1 and localhost, its key, and the CA that signed it."""

    certificate: str
    key: str
    ca: str
    ca_key: str

    def client(self, directory: Path, name: str = "client") -> tuple[str, str]:
        """Make a certificate for a client: its file, and its key's."""
        return _signed(directory, name, self.ca, self.ca_key, "subjectAltName=DNS:client")


def certificate(directory: Path) -> Certificate:
    """Make a CA, and a certificate of it for 127.0.0.1, ::1 and localhost."""
    directory.mkdir(parents=True, exist_ok=True)
    ca, ca_key = str(directory / "ca.crt"), str(directory / "ca.key")
    _openssl(
        "req", "-x509", *_EC, "-nodes", "-days", "30", "-subj", "/CN=CA of the tests", "-keyout", ca_key, "-out", ca,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",  # without which Python 3.13 does not take it for one
    )  # fmt: skip
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    made, key = _signed(directory, "server", ca, ca_key, names)
    return Certificate(made, key, ca, ca_key)


_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


def _signed(directory: Path, name: str, ca: str, ca_key: str, names: str) -> tuple[str, str]:
    made, key, request = (str(directory / f"{name}.{ending}") for ending in ("cert", "key", "csr"))
    _openssl("req", *_EC, "-nodes", "-subj", f"/CN={name}", "-addext", names, "-keyout", key, "-out", request)
    _openssl(
        "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30",
        "-copy_extensions", "copy", "-out", made,
    )  # fmt: skip
    return made, key


def _openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, input=data, capture_output=True).stdout


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class TokenServer:
    """Docker's token authentication: GET with a password or none, POST with a refresh token.

    Anybody may pull what is below `public/`; USER may do everything. `asked` are the parameters of each request
    with the method and whether it carried a password; `lifetime` is how long tokens hold; `refresh` its refresh token.
    """

    directory: Path
    lifetime: int = 300
    refresh: str = "a-refresh-token"
    asked: list[dict[str, str]] = field(default_factory=list)
    oauth: bool = True

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.key, self.certificate = str(self.directory / "key.pem"), str(self.directory / "cert.pem")
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=tokens",
            "-keyout", self.key, "-out", self.certificate,
        )  # fmt: skip
        self._serial = 0
        self._lock = threading.Lock()
        self._server = _Server(_TokenHandler, self)
        self.realm = f"http://{self._server.host}/token"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def answer(self, handler: BaseHTTPRequestHandler, parameters: dict[str, list[str]]) -> None:
        """Answer a request for a token."""
        first = {name: values[0] for name, values in parameters.items()}
        first["scope"] = " ".join(parameters.get("scope", []))
        given = handler.headers.get("Authorization") or ""
        with self._lock:
            self.asked.append({**first, "method": handler.command, "password": str(bool(given))})
        right = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        known = given == right or (first.get("username"), first.get("password")) == (USER, PASSWORD)
        if handler.command == "POST":
            if not self.oauth:
                _reply(handler, 404, b"")
                return
            known = known or first.get("refresh_token") == self.refresh
        if (given or handler.command == "POST") and not known:
            _reply(handler, 401, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}')
            return
        token = self._sign(first["service"], self._granted(first["scope"].split(), known=known))
        answer: dict[str, Any] = {"token": token, "access_token": token, "expires_in": self.lifetime}
        if first.get("offline_token") == "true" or first.get("access_type") == "offline":
            answer["refresh_token"] = self.refresh
        _reply(handler, 200, json.dumps(answer).encode())

    @staticmethod
    def _granted(scopes: list[str], *, known: bool) -> list[dict[str, Any]]:
        granted = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [one for one in actions.split(",") if known or (one == "pull" and name.startswith("public/"))]
            granted.append({"type": kind, "name": name, "actions": allowed})
        return granted

    def _sign(self, service: str, access: list[dict[str, Any]]) -> str:
        with open(self.certificate) as file:
            body = "".join(line.strip() for line in file if not line.startswith("-----"))
        now = int(time.time())
        with self._lock:
            self._serial += 1
            serial = self._serial
        claims = {
            "iss": "tests", "sub": USER, "aud": service, "exp": now + self.lifetime, "nbf": now - 10, "iat": now,
            "jti": str(serial), "access": access,
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": [body]}
        text = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        return f"{text}.{_base64(_openssl('dgst', '-sha256', '-sign', self.key, data=text.encode()))}"


class _TokenHandler(BaseHTTPRequestHandler):
    owner: TokenServer

    def do_GET(self) -> None:
        self.owner.answer(self, parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.answer(self, parse_qs(body.decode()))

    def log_message(self, *_: object) -> None:
        pass


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


class _Server:
    """A threaded web server on a free port, whose handlers know their owner."""

    def __init__(
        self,
        handler: type[BaseHTTPRequestHandler],
        owner: object,
        tls: Certificate | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self._http = ThreadingHTTPServer((address, 0), type("Handler", (handler,), {"owner": owner}))
        self._http.daemon_threads = True
        if tls is not None:
            import ssl

            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.host = f"{address}:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@dataclass
class Request:
    """A request as it came to the proxy, and what `upstream` answers, if it is asked."""

    handler: BaseHTTPRequestHandler
    method: str
    path: str
    headers: dict[str, str]
    body: Callable[[], bytes]
    upstream: Callable[..., tuple[int, list[tuple[str, str]], bytes]]

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer."""
        _reply(self.handler, status, body, **headers)

    def cut(self) -> None:
        """End the connection with a reset, at once."""
        import socket
        import struct

        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.wfile.flush()
        self.handler.close_connection = True
        self.handler.connection.close()


class FaultProxy:
    """A proxy before a registry that does to requests what a test says.

    `fault(method, pattern, action, times)` has `action` answer the next `times` requests (-1: all) whose method is
    `method` ("" any) and whose path matches `pattern`; all others are passed on. `requests` are all that came.
    """

    def __init__(
        self,
        registry: Served | str,
        tls: Certificate | None = None,
        machine: Elsewhere | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.upstream = registry if isinstance(registry, str) else registry.host
        self.ca = "" if isinstance(registry, str) else registry.ca
        self.requests: list[Request] = []
        self._faults: list[tuple[str, re.Pattern[str], Callable[[Request], None], list[int]]] = []
        self._lock = threading.Lock()

        def make() -> _Server:
            return _Server(_ProxyHandler, self, tls, machine.address if machine else address)

        self._server = machine.make(make) if machine else make()
        self.host = self._server.host
        self.silence = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.silence.set()
        self._server.stop()

    def fault(self, method: str, pattern: str, action: Callable[[Request], None], times: int = 1) -> None:
        """Have `action` answer some requests."""
        with self._lock:
            self._faults.append((method, re.compile(pattern), action, [times]))

    def asked(self, method: str, pattern: str = "") -> list[Request]:
        """Give the requests that came, of a method, with a path that matches."""
        with self._lock:
            return [one for one in self.requests if one.method == method and re.search(pattern, one.path)]

    def be_silent(self, _request: Request) -> None:
        """Never answer (until the proxy is stopped); an action for `fault`."""
        self.silence.wait(60)

    def pass_on(self, request: Request) -> None:
        """Pass a request on, and the answer back."""
        status, headers, body = request.upstream()
        handler = request.handler
        handler.send_response(status)
        for name, value in headers:
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def take(self, request: Request) -> Callable[[Request], None]:
        """Note a request; give what is to be done with it."""
        with self._lock:
            self.requests.append(request)
            for method, pattern, action, left in self._faults:
                if left[0] and method in ("", request.method) and pattern.search(request.path):
                    left[0] -= 1
                    return action
        return self.pass_on


class _ProxyHandler(BaseHTTPRequestHandler):
    owner: FaultProxy
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        taken: list[bytes] = []

        def body() -> bytes:
            if not taken:
                taken.append(self._read())
            return taken[0]

        def upstream(**changed: str) -> tuple[int, list[tuple[str, str]], bytes]:
            host = self.owner.upstream
            connection: HTTPConnection
            if self.owner.ca:
                import ssl

                connection = HTTPSConnection(host, timeout=20, context=ssl.create_default_context(cafile=self.owner.ca))
            else:
                connection = HTTPConnection(host, timeout=20)
            sent = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            sent.update((name.replace("_", "-"), value) for name, value in changed.items())
            data = body()
            if data:
                sent["Content-Length"] = str(len(data))
            try:
                connection.request(self.command, self.path, body=data or None, headers=sent)
                answer = connection.getresponse()
                got = answer.read()
                headers = [
                    (n, v) for n, v in answer.getheaders() if n.lower() not in ("transfer-encoding", "connection")
                ]
                if not any(name.lower() == "content-length" for name, _ in headers):
                    headers.append(("Content-Length", str(len(got))))
                return answer.status, headers, got
            finally:
                connection.close()

        lower = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self, self.command, self.path, lower, body, upstream)
        try:
            self.owner.take(request)(request)
            if not taken and not self.close_connection:
                body()
        except (ConnectionError, ValueError):  # the client has gone, or the test has cut it off
            self.close_connection = True

    def _read(self) -> bytes:
        if (self.headers.get("Transfer-Encoding") or "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def digest_of(data: bytes) -> str:
    """The digest of bytes."""
    return "sha256:" + sha256(data).hexdigest()


@pytest.fixture
def docker_registry(tmp_path: Path) -> Iterator[Served]:
    """Give a plain registry that holds nothing."""
    with serving(tmp_path / "registry") as registry:
        yield registry
