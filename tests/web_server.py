"""A web server on loopback for tests: it gives the files of a directory, and notes what it was asked for."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.elsewhere import Elsewhere

TOKEN = "Bearer t0ken"


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
