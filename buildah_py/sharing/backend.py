"""What every place that can keep a cache is able to do, and reading of it without trusting it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from buildah_py.image.descriptor import Descriptor

    Open = Callable[[], BinaryIO]
    """Opens the bytes of a blob that is to be kept, from their beginning; may be called again after a failure."""


class Stream(Protocol):
    """Bytes on their way: `read(n)` gives at most n of them, b"" at the end."""

    def read(self, length: int, /) -> bytes:
        """Return the next bytes."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Backend(Protocol):
    """A place that keeps one cache: a manifest, and blobs by digest. All of it may be called from several threads.

    Everything raises CacheError where the place cannot be reached or refuses.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def kind(self) -> str:
        """The kind of its origins."""
        ...

    @property
    def location(self) -> str:
        """Where it is, without anything secret: enough to open its blobs in another process."""
        ...

    def manifest(self) -> bytes | None:
        """The manifest, of at most a few MiB; None where there is no cache yet."""
        ...

    def open(self, blob: Descriptor) -> Stream:
        """Open a blob; what it says of itself is not to be believed."""
        ...

    def has(self, blob: Descriptor) -> bool:
        """Whether a blob need not be sent."""
        ...

    def put(self, blob: Descriptor, source: Open) -> None:
        """Keep a blob."""
        ...

    def put_manifest(self, data: bytes) -> None:
        """Keep the manifest, in place of an older one: the cache is what it says from now on."""
        ...


class Checked:
    """Reads a blob to its end and no further; its size and digest are those of the descriptor, or CacheError.

    `count` is called with the length of each piece.
    """

    def __init__(self, stream: Stream, blob: Descriptor, what: str, count: Callable[[int], object]) -> None:
        self._stream = stream
        self._blob = blob
        self._what = what
        self._count = count
        self._left = blob.size
        self._hash = hashlib.sha256()

    def read(self, length: int, /) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(min(length, self._left) if self._left else 1)
        self._count(len(data))
        self._hash.update(data)
        if len(data) > self._left:
            raise CacheError(f"{self._what}: the blob {self._blob.digest} is longer than it should be")
        self._left -= len(data)
        if not data:
            if self._left:
                raise CacheError(f"{self._what}: the blob {self._blob.digest} is cut short")
            if f"sha256:{self._hash.hexdigest()}" != self._blob.digest:
                raise CacheError(f"{self._what}: the blob {self._blob.digest} is not what it should be")
        return data

    def close(self) -> None:
        """Let go of the connection."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_blob(backend: Backend, blob: Descriptor, limit: int, count: Callable[[int], object] = lambda _: None) -> bytes:
    """Read a whole blob of at most `limit` bytes, checked. Raises CacheError."""
    if blob.size > limit:
        raise CacheError(f"{backend.name}: the blob {blob.digest} has {blob.size} bytes; more than {limit} are refused")
    pieces = []
    with Checked(backend.open(blob), blob, backend.name, count) as stream:
        while data := stream.read(1 << 20):
            pieces.append(data)
    return b"".join(pieces)


def copy_blob(backend: Backend, blob: Descriptor, path: str, count: Callable[[int], object] = lambda _: None) -> None:
    """Write a blob to the new file `path`, checked. Raises CacheError."""
    with Checked(backend.open(blob), blob, backend.name, count) as stream, open(path, "xb") as file:
        while data := stream.read(1 << 20):
            file.write(data)
