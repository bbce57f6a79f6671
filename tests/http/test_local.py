"""Short questions at a socket: what is not a plain and whole answer is left to the other client."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.http.local import ask

if TYPE_CHECKING:
    from pathlib import Path


def answered(place: Path, answer: bytes) -> tuple[tuple[int, bytes] | None, bytes]:
    """Give what `ask` makes of an answer, and what it has asked."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "s"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(4096))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        found = ask(str(place / "s"), "GET", "/images/x/json?a=b", patience=20)
        thread.join()
    return found, seen[0]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", (200, b"{}")),
        (b"HTTP/1.1 404 Not Found\r\nApi-Version: 1.47\r\n\r\nno", (404, b"no")),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", (201, b"")),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{}", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Len", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", None),
        (b"SSH-2.0-x\r\n\r\n", None),
        (b"", None),
    ],
    ids=["plain", "missing", "empty", "short", "chunked", "cut", "interim", "other", "nothing"],
)
def test_what_answers_are_taken_for(tmp_path: Path, answer: bytes, expected: tuple[int, bytes] | None) -> None:
    found, asked = answered(tmp_path, answer)
    assert found == expected
    assert asked == b"GET /images/x/json?a=b HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"


def test_nobody_is_there(tmp_path: Path) -> None:
    assert ask(str(tmp_path / "s"), "GET", "/", patience=20) is None


def test_answers_without_end_are_left_alone(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("buildah_py.http.local._LARGEST", 1000)
        found, _ = answered(tmp_path, b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 5000)
    assert found is None
