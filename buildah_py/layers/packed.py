"""A layer kept as its canonical tar: whole, or as a patch of another layer's.

A whole one is a file `tar`. A patch is a file `patch`: the bytes that are not in the tar of its base, one after the
other; then, as JSON, the diff_id of the base, the segments [from base?, offset, length] that are the tar when they are
joined, and the paths that differ; the length of that in eight bytes, and MAGIC.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

MAGIC: Final = b"pybuild patch 1\n"
_LENGTH: Final = 8
_PIECE: Final = 1 << 20
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Segment(NamedTuple):
    """A run of bytes in the base's tar, or in the patch."""

    from_base: bool
    offset: int
    length: int


class Delta(NamedTuple):
    """The paths that a layer has and its base has not, or not so; and those, of none below another, that are gone."""

    own: tuple[str, ...]
    gone: tuple[str, ...]


def trailer(base: str, segments: list[Segment], delta: Delta | None) -> bytes:
    """Return what ends a patch of the tar with the diff_id `base`; `delta` is None where it cannot be told by paths."""
    rows = [[int(segment.from_base), *segment[1:]] for segment in segments]
    data = json.dumps({"base": base, "segments": rows, "delta": delta}).encode()
    return data + len(data).to_bytes(_LENGTH, "little") + MAGIC


class PackedTar:
    """The tar in the file `path`; for a patch, `locate` gives the file of the tar with a diff_id. Context manager.

    `base` is the diff_id of what a patch is one of, "" for a whole tar; `delta` is how their entries differ.

    Raises ArchiveError where these are not what they should be by their form; that bytes were exchanged is for the
    diff_id to show.
    """

    def __init__(self, path: str, locate: Callable[[str], str] | None = None) -> None:
        self.base = ""
        self.delta: Delta | None = None
        self._path = path
        self._descriptors: list[int] = []
        try:
            self._descriptors.append(os.open(path, _OPEN))
            size = os.fstat(self._descriptors[0]).st_size
            self._segments = [Segment(from_base=False, offset=0, length=size)]
            if locate is not None:
                self._segments = self._read_trailer(size)
                self._descriptors.append(os.open(locate(self.base), _OPEN))
        except OSError as error:
            self.close()
            raise ArchiveError(f"a stored layer cannot be read: {error.filename}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def pieces(self) -> Iterator[bytes]:
        """Give the whole tar in pieces of at most 1 MiB."""
        for from_base, offset, length in self._segments:
            descriptor = self._descriptors[from_base]
            end = offset + length
            while offset < end:
                data = os.pread(descriptor, min(_PIECE, end - offset), offset)
                if not data:
                    raise ArchiveError(f"a stored layer is damaged: {self._path} is cut short")
                offset += len(data)
                yield data

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a part of the tar. Raises ArchiveError where it ends earlier."""
        parts: list[bytes] = []
        for from_base, start, run in self._segments:
            if not length:
                break
            if offset >= run:
                offset -= run
                continue
            at = start + offset
            until = at + min(length, run - offset)
            while at < until:
                part = os.pread(self._descriptors[from_base], until - at, at)
                if not part:
                    raise ArchiveError(f"a stored layer is damaged: {self._path} is cut short")
                parts.append(part)
                at += len(part)
                length -= len(part)
            offset = 0
        data = b"".join(parts)
        if length:
            raise ArchiveError(f"a stored layer is damaged: {self._path} is cut short")
        return data

    def _read_trailer(self, size: int) -> list[Segment]:
        descriptor = self._descriptors[0]
        at = size - len(MAGIC) - _LENGTH
        tail = os.pread(descriptor, len(MAGIC) + _LENGTH, max(at, 0))
        length = int.from_bytes(tail[:_LENGTH], "little")
        if at < 0 or tail[_LENGTH:] != MAGIC or length > at:
            raise ArchiveError(f"a stored layer is damaged: {self._path} is not a patch")
        try:
            found = json.loads(os.pread(descriptor, length, at - length))
            self.base = str(found["base"])
            if found["delta"] is not None:
                self.delta = Delta(*(tuple(map(str, paths)) for paths in found["delta"]))
            return [Segment(bool(from_base), int(start), int(run)) for from_base, start, run in found["segments"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ArchiveError(f"a stored layer is damaged: {self._path}: {error}") from error


class Cursor:
    """Reads a tar from its beginning, so many bytes at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def read(self, length: int) -> bytes:
        """Return the next `length` bytes. Raises ArchiveError where there are fewer."""
        if length <= len(self._piece):
            data = bytes(self._piece[:length])
            self._piece = self._piece[length:]
            return data
        parts = []
        while length:
            part = self.some(length)
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def some(self, length: int) -> memoryview:
        """Return some of the next `length` bytes, at least one."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                raise ArchiveError("a stored layer is damaged: its tar is cut short")
            self._piece = memoryview(piece)
        part, self._piece = self._piece[:length], self._piece[length:]
        return part

    def skip(self, length: int) -> None:
        """Pass over the next bytes."""
        while length:
            length -= len(self.some(length))
