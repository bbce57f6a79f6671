"""Bodies of requests: by their length, or in chunks (RFC 9112, sections 6 and 7), read with limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from buildah_py.serve.faults import ClientGoneError, RequestError

if TYPE_CHECKING:
    from email.message import Message
    from typing import BinaryIO

_LARGEST_JSON: Final = 1 << 20
_LONGEST_LINE: Final = 4096
_MOST_TRAILERS: Final = 100
_DIGITS: Final = 15
"""Hexadecimal digits of a chunk's size: an exbibyte, which nobody sends."""


class Body:
    """The body of one request, as a stream; `done` once nothing of it is left in the connection."""

    def __init__(self, stream: BinaryIO, headers: Message) -> None:
        """Find out how it is framed. Raises RequestError for what is ambiguous or unknown."""
        self._stream = stream
        coding = headers.get("Transfer-Encoding", "").strip().lower()
        lengths = set(headers.get_all("Content-Length", ()))
        if coding and (coding != "chunked" or lengths):
            raise RequestError(400, "Transfer-Encoding can be chunked alone, without a Content-Length")
        if len(lengths) > 1 or not all(one.isascii() and one.isdecimal() and len(one) < 19 for one in lengths):
            raise RequestError(400, "Content-Length is not a number of bytes")
        self._chunked = bool(coding)
        self._left = int(lengths.pop()) if lengths else 0
        self.done = not self._chunked and not self._left

    def read(self, size: int = 1 << 16, /) -> bytes:
        """Read at most `size` bytes, b"" at the end. Raises RequestError, ClientGoneError where it breaks off."""
        if self.done:
            return b""
        if self._chunked and not self._left:
            self._left = self._next_chunk()
            if not self._left:
                self._skip_trailers()
                self.done = True
                return b""
        data = self._stream.read1(min(size, self._left))  # type: ignore[attr-defined]
        if not data:
            raise ClientGoneError
        self._left -= len(data)
        if not self._left:
            if self._chunked:
                self._expect_line_end()
            else:
                self.done = True
        return bytes(data)

    def json(self) -> Any:
        """Read it as a JSON object, {} where there is no body. Raises RequestError."""
        parts = []
        size = 0
        while data := self.read():
            parts.append(data)
            size += len(data)
            if size > _LARGEST_JSON:
                raise RequestError(413, f"the body has more than {_LARGEST_JSON >> 20} MiB")
        return read_object(b"".join(parts), "the body")

    def drop(self, most: int) -> bool:
        """Read what is left, at most so many bytes; whether that was all."""
        while not self.done and most > 0:
            most -= len(self.read(min(most, 1 << 16)))
        return self.done

    def _line(self) -> bytes:
        line = self._stream.readline(_LONGEST_LINE + 1)
        if not line:
            raise ClientGoneError
        if not line.endswith(b"\n"):
            raise RequestError(400, "a line between chunks is too long")
        return line.rstrip(b"\r\n")

    def _next_chunk(self) -> int:
        text = self._line().partition(b";")[0].strip()
        if not text or len(text) > _DIGITS or not all(one in b"0123456789abcdefABCDEF" for one in text):
            raise RequestError(400, "a chunk does not say how long it is")
        return int(text, 16)

    def _expect_line_end(self) -> None:
        if self._line():
            raise RequestError(400, "a chunk is longer than it says")

    def _skip_trailers(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if not self._line():
                return
        raise RequestError(400, "there are too many trailers")


def read_object(data: bytes | str, what: str) -> dict[str, Any]:
    """Read a JSON object; {} for nothing. Raises RequestError."""
    if not data.strip():
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"{what} is not JSON: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise RequestError(400, f"{what} is not a JSON object")
    return found
