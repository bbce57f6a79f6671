"""Web servers on loopback for tests: one gives files, one what a test chooses, one keeps whoever asks waiting."""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import threading
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.elsewhere import Elsewhere

TOKEN = "Bearer t0ken"
STAMP = "Wed, 21 Oct 2015 07:28:00 GMT"
DATA = b"some bytes\n" * 1000


class Web(NamedTuple):
    """Where it is, its files, and what it was asked for: a path and the credentials that came along."""

    url: str
    files: Path
    asked: list[str]


@contextlib.contextmanager
def serve(files: Path, machine: Elsewhere | None = None) -> Iterator[Web]:
    """Serve a directory, on loopback or on another machine.

    What is below /private wants TOKEN; /to/URL redirects to URL.
    """
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}".strip())
            if self.path.startswith("/private") and self.headers.get("Authorization") != TOKEN:
                self.send_error(401)
            elif self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_words: object) -> None:
            pass

    address = machine.address if machine else "127.0.0.1"

    def make() -> http.server.ThreadingHTTPServer:
        return http.server.ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=files))

    with machine.make(make) if machine else make() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Web(f"http://{address}:{server.server_port}", files, asked)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """Serve a new directory on loopback."""
    files = tmp_path / "www"
    files.mkdir()
    with serve(files) as served:
        yield served


class Server:
    """A web server on a free port whose answers a test chooses; it remembers what it was asked."""

    def __init__(self, machine: Elsewhere | None = None, address: str = "127.0.0.1") -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answers: dict[str, Callable[[Handler], None]] = {}
        address = machine.address if machine else address

        def make() -> http.server.ThreadingHTTPServer:
            return http.server.ThreadingHTTPServer((address, 0), Handler)

        self._http = machine.make(make) if machine else make()
        Handler.servers[self._http.server_port] = self
        self.url = f"http://{address}:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server's `answers` say for the path; else with DATA and an ETag."""

    servers: ClassVar[dict[int, Server]] = {}

    def do_GET(self) -> None:
        server = Handler.servers[self.connection.getsockname()[1]]
        server.requests.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
        server.answers.get(urlsplit(self.path).path, Handler.plain)(self)

    def plain(self, body: bytes = DATA) -> None:
        if self.headers.get("If-None-Match") == '"tag"':
            self.answer(304)
        else:
            self.answer(200, {"ETag": '"tag"', "Last-Modified": STAMP}, body)

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def full_server() -> Iterator[tuple[str, int]]:
    """Give the address of a server whose queue is full: further connections are not taken."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # more than the kernel keeps waiting
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()


class Holding:
    """A server that begins its answers with `begin` and then holds the rest back, until `release` is called.

    `asked` is set when a request has come and its answer has begun. With `drip` one byte comes after the other.
    """

    def __init__(self, begin: bytes = b"", *, drip: bool = False) -> None:
        self._begin = begin
        self._drip = drip
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._released = False
        self.asked = threading.Event()
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def release(self) -> None:
        """Answer what comes from now on."""
        self._released = True

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            with connection, contextlib.suppress(OSError):
                while b"\r\n\r\n" not in connection.recv(65536):
                    continue
                if self._released:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nfetched")
                    continue
                connection.sendall(self._begin)
                self.asked.set()
                self._wait(connection)

    def _wait(self, connection: socket.socket) -> None:
        """Wait until the other side goes."""
        connection.settimeout(0.02 if self._drip else None)
        while True:
            try:
                if self._drip:
                    connection.sendall(b"x")
                if not connection.recv(4096):
                    return
            except TimeoutError:
                continue
