"""Places that can keep a cache: what each of them can do, and how it is read without trusting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, Protocol

from buildah_py.errors import CacheError
from buildah_py.image.blob import VerifiedStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor

    Open = Callable[[], BinaryIO]
    """Opens the bytes of a blob that is to be kept, from their beginning; may be called again after a failure."""


ABSENT: Final = ""
"""The version of a note that is not there."""
MAX_NOTE: Final = 1 << 21
"""Bytes of a note."""


class StoredNote(NamedTuple):
    """A small text, and what tells this version of it from all that were there before and come after it."""

    data: bytes
    version: str


class Notes(Protocol):
    """A place for builders that are at work at the same time: small texts by name, beside the cache.

    A name has at most 100 of `a-z`, `0-9` and `-`. Whoever writes says which version the note is to replace, and the
    place lets one of several writers do so: that is a claim. Where it cannot, `unconditional` says why, claims are off,
    and notes are written with `over=None` alone. Everything raises CacheAway where the place cannot be reached at the
    moment, CacheError where it refuses, and may be called from several threads.
    """

    claim_ttl: float
    """Seconds after which a claim that is not renewed counts no more, unless the user says another number.

    A claim is written about six times in that time.
    """
    claims_are_dear: bool
    """Whether a claim takes so long, or so many requests, that only commands are worth one: not copies."""

    def unconditional(self) -> str:
        """Say why a write cannot depend on what is there; "" where it can. Asks the place, if need be."""
        ...

    def read_note(self, name: str) -> StoredNote | None:
        """Return a note of at most MAX_NOTE bytes as it is now; None where there is none."""
        ...

    def write_note(self, name: str, data: bytes, *, over: str | None, blobs: Sequence[Descriptor] = ()) -> str:
        """Write a note in place of the version `over` (ABSENT for none, None for whatever is there); its new version.

        ABSENT where another version was there: nothing is written then. A request that was sent twice, because its
        answer got lost, may say so of its own first one. `blobs`, which the place has, are named in the note: it keeps
        them as long as that.
        """
        ...


class Backend(Notes, Protocol):
    """A place that keeps one cache: a manifest, and blobs by digest. All of it may be called from several threads.

    Everything raises CacheError where the place cannot be reached or refuses.
    """

    @property
    def name(self) -> str:
        """Name in messages."""
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
        """Return the manifest, of at most a few MiB; None where there is no cache yet."""
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


def verified(
    stream: Stream, blob: Descriptor, what: str, count: Callable[[int], object] = lambda _: None
) -> VerifiedStream:
    """Make a stream whose size and digest are those of a descriptor, or CacheError; `what` is where it comes from.

    `count` is called with the length of each piece.
    """

    def error(text: str) -> CacheError:
        return CacheError(f"{what}: the blob {blob.digest} {text}")

    return VerifiedStream(stream, blob.digest, blob.size, error, count)


def read_blob(backend: Backend, blob: Descriptor, limit: int, count: Callable[[int], object] = lambda _: None) -> bytes:
    """Read a whole blob of at most `limit` bytes, checked. Raises CacheError."""
    if blob.size > limit:
        raise CacheError(f"{backend.name}: the blob {blob.digest} has {blob.size} bytes; more than {limit} are refused")
    with verified(backend.open(blob), blob, backend.name, count) as stream:
        return stream.read()


def copy_blob(backend: Backend, blob: Descriptor, path: str, count: Callable[[int], object] = lambda _: None) -> None:
    """Write a blob to the new file `path`, checked. Raises CacheError."""
    with verified(backend.open(blob), blob, backend.name, count) as stream, open(path, "xb") as file:
        while data := stream.read(1 << 20):
            file.write(data)
