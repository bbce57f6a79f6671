"""The body of a GET, as one stream: where a connection breaks off, it goes on from that byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from buildah_py.http.retry import RetryableError
from buildah_py.image.numbers import decimal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.http.response import Response
    from buildah_py.http.retry import Retries

_PIECE: Final = 256 << 10


class Download:
    """A stream of `size` bytes from `offset` on; what they are is not known.

    `ask` sends the request once, with further headers; `retries` count what fails and give up. `refused` makes the
    error for an answer with another status than was wanted, `wrong` that for one that breaks its word. To be used by
    one thread at a time.
    """

    def __init__(
        self,
        ask: Callable[[Mapping[str, str]], Response],
        retries: Retries,
        refused: Callable[[Response], Exception],
        wrong: Callable[[str], Exception],
        size: int,
        offset: int = 0,
    ) -> None:
        self._ask = ask
        self._retries = retries
        self._refused = refused
        self._wrong = wrong
        self._size = size
        self._offset = offset
        self._response: Response | None = None

    def open(self) -> None:
        """Have an answer, by as many requests as that takes."""
        if self._response is None:
            self._response = self._retries.run(self._request)

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes, b"" at the end."""
        while True:
            self.open()
            assert self._response is not None
            try:
                return self._take(self._response, size)
            except RetryableError as failure:
                self.close()
                self._retries.wait(failure)

    def close(self) -> None:
        """Be done, also before the end; a further read would begin anew from there."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _request(self) -> Response:
        """Ask for what is missing, and check what the server announces."""
        response = self._ask({"Range": f"bytes={self._offset}-"} if self._offset else {})
        try:
            if not self._is_over(response):
                self._skip(response, self._start(response))
        except BaseException:
            response.close()
            raise
        return response

    def _is_over(self, response: Response) -> bool:
        """Whether the last bytes were those before the cut."""
        return response.status == 416 and self._offset == self._size > 0

    def _start(self, response: Response) -> int:
        """Give the offset that an answer begins with. Raises what `refused` and `wrong` make."""
        if response.status not in (200, 206):
            raise self._refused(response)
        start = 0
        if response.status == 206:
            start = _start_of(response.headers.get("Content-Range") or "")
            if start != self._offset:
                raise self._wrong(f"was asked for the bytes from {self._offset} on, and gives those from {start} on")
        if response.length not in (-1, self._size - start):
            raise self._wrong(f"announces {response.length} bytes of it, and there should be {self._size - start}")
        return start

    def _skip(self, response: Response, start: int) -> None:
        """Read again what is known already, of a server that knows no ranges."""
        while start < self._offset:
            data = response.read(min(self._offset - start, _PIECE))
            if not data:
                raise self._short(response, start)
            start += len(data)

    def _take(self, response: Response, size: int) -> bytes:
        data = b"" if self._is_over(response) else response.read(size)
        self._offset += len(data)
        self._retries.progressed(len(data))
        if not data:
            if self._offset < self._size:
                raise self._short(response, self._offset)
            response.release()
        return data

    def _short(self, response: Response, offset: int) -> RetryableError:
        return RetryableError(f"{response.host} ended it after {offset} of {self._size} bytes")


def _start_of(content_range: str) -> int:
    """Read where `bytes START-END/SIZE` starts; -1 for anything else."""
    unit, _, rest = content_range.strip().partition(" ")
    start = rest.partition("-")[0].strip()
    return decimal(start) if unit.lower() == "bytes" else -1
