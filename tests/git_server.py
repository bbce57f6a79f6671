"""A git server on loopback: git's own smart http, and a repository on it."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.elsewhere import Elsewhere

STAMP = 1_500_000_000
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": f"{STAMP} +0000", "GIT_COMMITTER_DATE": f"{STAMP} +0000", "GIT_CONFIG_GLOBAL": os.devnull,
}  # fmt: skip


def git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *arguments],
        cwd=where, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.strip()  # fmt: skip


class Backend(BaseHTTPRequestHandler):
    """Git's smart http, by git's own http-backend."""

    root = ""
    password = ""

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        self.serve(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def serve(self, body: bytes) -> None:
        if self.password and self.headers.get("Authorization") != self.password:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        url = urlsplit(self.path)
        environment = {
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": url.path, "QUERY_STRING": url.query,
            "REQUEST_METHOD": self.command, "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "", "REMOTE_ADDR": "127.0.0.1",
        }  # fmt: skip
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "http-backend"],
            input=body,
            env=environment,
            check=True,
            capture_output=True,
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(root: Path, machine: Elsewhere | None = None, redirect: str = "") -> Iterator[str]:
    """Serve the repositories below a directory, or lead elsewhere whoever asks for one; gives the URL."""

    class Handler(Backend):
        def serve(self, body: bytes) -> None:
            if not redirect:
                super().serve(body)
                return
            self.send_response(302)
            self.send_header("Location", redirect + self.path)
            self.end_headers()

    Handler.root = str(root)
    address = machine.address if machine else "127.0.0.1"

    def make() -> ThreadingHTTPServer:
        return ThreadingHTTPServer((address, 0), Handler)

    made = machine.make(make) if machine else make()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://{address}:{made.server_port}"
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of the repositories in tmp_path/remote."""
    (tmp_path / "remote").mkdir()
    with serve(tmp_path / "remote") as url:
        yield url


@pytest.fixture
def repo(tmp_path: Path, server: str) -> Path:
    """A repository with two commits on main, a branch, and two tags."""
    assert server
    made = tmp_path / "remote/app.git"
    made.mkdir()
    git(made, "init", "-q")
    (made / "sub").mkdir()
    (made / "sub/file").write_text("one")
    (made / "run").write_text("#!/bin/sh")
    (made / "run").chmod(0o700)
    (made / "link").symlink_to("sub")
    (made / "out").symlink_to("/etc")
    git(made, "add", ".")
    git(made, "commit", "-q", "-m", "one")
    git(made, "tag", "v1")
    git(made, "tag", "-a", "-m", "annotated", "v1a")
    git(made, "branch", "old")
    (made / "sub/file").write_text("two")
    git(made, "commit", "-q", "-a", "-m", "two")
    return made
