"""Facts about a layer that an output has to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    Write = Callable[[ReadableBuffer], object]
    """Takes the next bytes, which must not change afterwards."""

    WriteTar = Callable[[Write], str]
    """Passes a layer's canonical uncompressed tar on piece by piece, and returns its diff_id."""


class Blob(NamedTuple):
    """A form of a layer that lies in a file already: `compression` is `uncompressed`, `gzip` or `zstd`.

    `original` ones are as they came from elsewhere: they are passed on as they are wherever that will do.
    """

    compression: str
    digest: str
    size: int
    path: str
    original: bool = False


class LayerSource(NamedTuple):
    """A layer. `write_tar` is called only where none of `blobs` will do; `size` is that of its tar, 0 if unknown."""

    diff_id: str
    write_tar: WriteTar
    blobs: tuple[Blob, ...] = ()
    size: int = 0
