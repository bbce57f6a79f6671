from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from buildah_py.http.download import Download
from tests.http.conftest import Failed, failed
from tests.web_server import DATA, Handler, Server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.http.client import Client
    from buildah_py.http.response import Response

SIZE = len(DATA)


class Flaky:
    """Serves DATA in parts: each answer ends after `step` bytes, without having said that it would."""

    def __init__(self, step: int, *, ranges: bool = True) -> None:
        self._step = step
        self._ranges = ranges
        self.starts: list[int] = []

    def __call__(self, handler: Handler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        self.starts.append(start)
        if start >= SIZE:
            handler.answer(416)
            return
        sent = start if self._ranges else 0
        handler.send_response(206 if found and self._ranges else 200)
        handler.send_header("Content-Range", f"bytes {start}-{SIZE - 1}/{SIZE}")
        handler.send_header("Content-Length", str(SIZE - sent))
        handler.end_headers()
        handler.wfile.write(DATA[sent : start + self._step])


def download(client: Client, server: Server, size: int = SIZE, offset: int = 0) -> Download:
    def ask(headers: Mapping[str, str]) -> Response:
        return client.request("GET", server.url + "/", headers)

    def refused(response: Response) -> Failed:
        return Failed(f"refused with {response.status}")

    return Download(ask, client.retries("it", failed), refused, Failed, size, offset)


def read(stream: Download) -> bytes:
    data = b"".join(iter(lambda: stream.read(1000), b""))
    stream.close()
    return data


def test_a_download(client: Client, server: Server) -> None:
    assert read(download(client, server)) == DATA
    assert read(download(client, server, offset=SIZE - 10)) == DATA[-10:]
    assert server.requests[-1][1]["range"] == f"bytes={SIZE - 10}-"


@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_cut_goes_on_where_it_was(client: Client, server: Server, ranges: bool) -> None:
    server.answers["/"] = flaky = Flaky(4000, ranges=ranges)
    assert read(download(client, server)) == DATA
    assert flaky.starts == [0, 4000, 8000]


def test_what_is_cut_too_often_is_given_up(client: Client, server: Server) -> None:
    server.answers["/"] = flaky = Flaky(100)
    with pytest.raises(Failed, match=r"^it: 127\.0\.0\.1:.* ended the connection 10600 bytes too early") as caught:
        read(download(client, server))
    assert "tried 4 times" in caught.value.hint
    assert flaky.starts == [0, 100, 200, 300]


def test_a_cut_after_the_last_byte_loses_nothing(client: Client, server: Server) -> None:
    server.answers["/"] = Flaky(SIZE)
    assert read(download(client, server, offset=SIZE)) == b""


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (404, {}, b"", "refused with 404"),
        (416, {}, b"", "refused with 416"),
        (200, {}, DATA + b"x", f"announces {SIZE + 1} bytes of it, and there should be {SIZE - 10}"),
        (206, {}, b"x", "was asked for the bytes from 10 on, and gives those from -1 on"),
        (206, {"Content-Range": "bytes 5-9/20"}, b"x", "and gives those from 5 on"),
        (206, {"Content-Range": "lines 10-20/20"}, b"x", "and gives those from -1 on"),
    ],
)
def test_answers_that_are_not_the_one(
    client: Client, server: Server, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    server.answers["/"] = lambda handler: handler.answer(status, headers, body)
    with pytest.raises(Failed, match=said.replace(f"{SIZE - 10}", f"{SIZE}")):
        download(client, server, offset=10).open()
