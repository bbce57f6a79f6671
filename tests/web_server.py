"""A web server on loopback for tests: it gives the files of a directory, and notes what it was asked for."""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "Bearer t0ken"


class Web(NamedTuple):
    """Where it is, its files, and what it was asked for: a path and the credentials that came along."""

    url: str
    files: Path
    asked: list[str]


@contextlib.contextmanager
def serve(files: Path, address: str = "127.0.0.1") -> Iterator[Web]:
    """Serve a directory. What is below /private wants TOKEN; /to/URL redirects to URL."""
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

    with http.server.ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=files)) as server:
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


def own_address() -> str:
    """Give an address of this machine that is not the loopback's, or skip the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address beside the loopback's")
        return str(probe.getsockname()[0])
