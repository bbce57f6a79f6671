"""The bytes of a blob on their way: the protocol of streams, and a stream of exactly what a digest says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE: Final = 256 << 10


class Readable(Protocol):
    """A source of bytes: `read(n)` gives at most n of them, b"" at the end."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""
        ...


class Stream(Readable, Protocol):
    """The same, from a file or a connection."""

    def close(self) -> None:
        """Let go of file or connection."""
        ...


class VerifiedStream:
    """A stream of `size` bytes with the digest `digest`; the last of them are not given before that is sure.

    `error` makes what is raised otherwise from a text like `has more than …`; `count` is told the length of each piece.
    To be used by one thread at a time.
    """

    def __init__(
        self,
        stream: Stream,
        digest: str,
        size: int,
        error: Callable[[str], Exception],
        count: Callable[[int], object] = lambda _: None,
    ) -> None:
        import hashlib

        self._stream = stream
        self._digest = digest
        self._size = size
        self._error = error
        self._count = count
        self._left = size
        self._hash = hashlib.new(digest.partition(":")[0])
        self._done = False

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes (all that are left, if it is negative); b"" is the verified end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_PIECE), b""))
        if self._done or not size:
            return b""
        data = self._stream.read(min(size, self._left) or 1)
        self._count(len(data))
        self._hash.update(data)
        if len(data) > self._left or (data and len(data) == self._left and self._stream.read(1)):
            raise self._bad(f"has more than the {self._size} bytes that it should have")
        self._left -= len(data)
        if self._left and not data:
            raise self._bad(f"ends after {self._size - self._left} of {self._size} bytes")
        if not self._left:
            found = f"{self._hash.name}:{self._hash.hexdigest()}"
            if found != self._digest:
                raise self._bad(f"has other bytes than it should have: their digest is {found}")
            self._done = True
        return data

    def close(self) -> None:
        """Be done, also before the end."""
        self._done = True
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bad(self, text: str) -> Exception:
        self.close()
        return self._error(text)
