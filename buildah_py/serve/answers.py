"""Answers to requests: JSON at once, or a stream in chunks whose status is not sent before there is something in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from buildah_py.serve.faults import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.server import BaseHTTPRequestHandler

_END = "\r\n"


class Answer:
    """The answer to one request. Raises ClientGoneError where the client has gone."""

    def __init__(self, handler: BaseHTTPRequestHandler, headers: Mapping[str, str]) -> None:
        self._handler = handler
        self._headers = dict(headers)
        self._with_body = handler.command != "HEAD"
        self.begun = False

    def json(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.whole(json.dumps(value).encode() + b"\n", "application/json", status)

    def error(self, status: int, message: str) -> None:
        """Answer that it could not be done."""
        self.json({"message": message}, status)

    def whole(self, data: bytes, kind: str = "text/plain; charset=utf-8", status: int = 200) -> None:
        """Answer with these bytes."""
        self._start(status, {"Content-Type": kind, "Content-Length": str(len(data))})
        if self._with_body:
            self._write(data)

    def nothing(self, status: int) -> None:
        """Answer without a body."""
        self._start(status, {} if status == 204 else {"Content-Length": "0"})

    def begin(self, kind: str = "application/json") -> None:
        """Begin a stream."""
        self._start(200, {"Content-Type": kind, "Transfer-Encoding": "chunked"})

    def send(self, data: bytes) -> None:
        """Send a piece of a stream, which begins with the first one."""
        if not self.begun:
            self.begin()
        if data:
            self._write(b"%x\r\n%b\r\n" % (len(data), data))

    def say(self, **message: Any) -> None:
        """Send a message of a stream of JSON objects."""
        self.send((json.dumps(message) + _END).encode())

    def end(self) -> None:
        """End a stream."""
        if not self.begun:
            self.begin()
        self._write(b"0\r\n\r\n")

    def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        self._handler.send_response(status)
        for name, value in {**self._headers, **headers}.items():
            self._handler.send_header(name, value)
        try:
            self._handler.end_headers()
        except OSError as error:
            raise ClientGoneError from error

    def _write(self, data: bytes) -> None:
        try:
            self._handler.wfile.write(data)
        except OSError as error:
            raise ClientGoneError from error
