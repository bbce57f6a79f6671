"""The answer to a request: read within a bound, at a pace; one that drips is as good as none."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from buildah_py.http.faults import failure_of
from buildah_py.http.retry import RetryableError, retry_after
from buildah_py.image.numbers import decimal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

    from buildah_py.http.connections import WatchedConnection
    from buildah_py.http.watch import Watch

_SLOWEST: Final = 100
"""Fewer bytes in a second than these are silence."""
_SMALL: Final = 64 << 10
_UNWANTED: Final = 10.0
"""How long an answer may drip that is only to be shown, or to be got out of the way."""
_SHOWN: Final = 300


class Response:
    """Status and headers of an answer, whose body has not been read. `url` is where it came from.

    `here` says that it came from this machine, not through a proxy. Whatever reads raises RetryableError where the
    connection breaks off or gets too slow, and Interrupted; the time that the reader takes does not count.
    """

    def __init__(self, raw: BaseHTTPResponse, url: str, host: str, silence: float, watch: Watch) -> None:
        connection: WatchedConnection = raw.connection  # type: ignore[assignment]
        self._raw = raw
        self._silence = silence
        self._watch = watch
        self._ticket = connection.ticket if connection.is_closed else None
        self._waited = 0.0
        self._got = 0
        self.url = url
        self.host = host
        self.here = connection.here
        self.status = raw.status
        self.reason = printable(raw.reason or "")
        self.headers: Mapping[str, str] = raw.headers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def length(self) -> int:
        """The length that is announced, -1 where none is."""
        return decimal(self.headers.get("Content-Length") or "")

    def all(self, header: str) -> list[str]:
        """Give the values of a header that may be there more than once."""
        return self._raw.headers.getlist(header)

    def read(self, size: int, /) -> bytes:
        """Read some bytes, at most `size`; b"" at the end."""
        from urllib3.exceptions import HTTPError

        begun = time.monotonic()
        try:
            data: bytes = self._raw.read1(size, decode_content=False)
            self._watch.check()
        except (HTTPError, OSError) as error:
            self.close()
            self._watch.check()
            raise failure_of(error, self.host, silence=self._silence) from error
        except BaseException:
            self.close()
            raise
        self._waited += time.monotonic() - begun
        self._got += len(data)
        if self._waited >= self._silence:
            if self._got < _SLOWEST * self._silence:
                self.close()
                raise RetryableError(f"{self.host} gave {self._got} bytes in {self._waited:.0f} seconds", attempts=2)
            self._waited, self._got = 0.0, 0
        return data

    def body(self, limit: int = _SMALL) -> bytes:
        """Read at most `limit` bytes, and be done with it: the connection is kept where that is all, else closed."""
        data = bytearray()
        while len(data) < limit:
            piece = self.read(limit - len(data))
            if not piece:
                self.release()
                return bytes(data)
            data += piece
        self.close()
        return bytes(data)

    def finish(self) -> bytes:
        """Be done with an answer that is not what was wanted; give some of its body, or nothing where that is cut."""
        self._silence = min(self._silence, _UNWANTED)
        try:
            return self.body()
        except RetryableError:  # its connection is not used again
            return b""

    def release(self) -> None:
        """Be done after the end: the connection may be used again."""
        self._raw.release_conn()
        self._watch.forget(self._ticket)

    def close(self) -> None:
        """Be done before the end, or wherever that is; the connection is closed."""
        self._raw.close()
        self._watch.forget(self._ticket)


def printable(text: str) -> str:
    """Give text that others wrote, without control characters, and not more than a few lines of it."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text[: _SHOWN + 1])
    return clean[:_SHOWN] + "…" if len(clean) > _SHOWN else clean


def again(response: Response, text: str, hint: str = "") -> RetryableError:
    """Make the failure for an answer after which the same request may succeed."""
    return RetryableError(text, status=response.status, after=retry_after(response.headers, time.time()), hint=hint)
