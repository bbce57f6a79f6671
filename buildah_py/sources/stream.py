"""A build context that comes as a stream: a tar, compressed or not, or a lone build file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py import meter
from buildah_py.errors import SourceError
from buildah_py.layers.compression import decompress, detect
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.reader import begins_as_tar

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.blob import Readable

_START: Final = 1 << 16
_MAX_BUILD_FILE: Final = 16 << 20


class _Again:
    """A stream of which the beginning has been read already."""

    def __init__(self, start: bytes, stream: Readable) -> None:
        self._start = start
        self._stream = stream

    def read(self, length: int, /) -> bytes:
        if self._start:
            data, self._start = self._start[:length], self._start[length:]
            return data
        return self._stream.read(length)


def read_stream(
    stream: Readable,
    dest: str,
    *,
    name: str = "standard input",
    warn: Callable[[str], object] = lambda _: None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
) -> bytes | None:
    """Read a context from `stream`, as `pybuild -` takes it from standard input; `name` is what messages call that.

    A tar archive (plain, gzip, bzip2, xz or zstd) is unpacked into the empty directory `dest`, and None comes back:
    `dest` is the context. Anything else is a build file without a context, whose bytes come back. Raises ArchiveError
    for a damaged or hostile archive, SourceError for what is neither. `warn` is told of device nodes that are left out.
    """
    with meter.start(f"reading {name}", waits=True) as moved:
        return _read(moved.reading(stream), dest, name, warn, limits)


def _read(stream: Readable, dest: str, name: str, warn: Callable[[str], object], limits: ArchiveLimits) -> bytes | None:
    start = b""
    while len(start) < _START and (data := stream.read(_START - len(start))):
        start += data
    if not start.strip():
        raise SourceError(f"nothing came from {name}", hint="a context is a tar archive or a build file")
    if begins_as_tar(_Start(start)):
        _unpack(_Again(start, stream), dest, name, warn, limits)
        return None
    if detect(start) or b"\0" in start:
        raise SourceError(f"what came from {name} is neither a tar archive nor a build file")
    parts = [start]
    size = len(start)
    while data := stream.read(_START):
        parts.append(data)
        size += len(data)
        if size > _MAX_BUILD_FILE:
            raise SourceError(f"a build file of more than {_MAX_BUILD_FILE >> 20} MiB came from {name}")
    return b"".join(parts)


def _unpack(stream: Readable, dest: str, name: str, warn: Callable[[str], object], limits: ArchiveLimits) -> None:
    """Unpack a tar archive, compressed or not, into the empty directory `dest`, which then serves as a context.

    Owners are not kept, as contexts have none. Raises ArchiveError.
    """
    from buildah_py.layers.apply import unpack

    nodes: list[str] = []
    unpack(decompress(stream), dest, keep_whiteouts=False, owners=False, left_out=nodes.append, limits=limits)
    if nodes:
        more = f" and {len(nodes) - 1} more" if len(nodes) > 1 else ""
        warn(f"the context from {name} has device nodes, which only root can make: {nodes[0]}{more} left out")


class _Start:
    """The beginning of a stream, as if there were no more of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, length: int, /) -> bytes:
        data, self._data = self._data[:length], self._data[length:]
        return data


class DescriptorStream:
    """A file descriptor as a stream; the caller closes it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, length: int, /) -> bytes:
        """Read at most `length` bytes, b"" at the end."""
        return os.read(self._descriptor, length)
