"""Large regular files: read in pieces, without their holes, and on their way to the disk while they are written."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from buildah_py.layers.stream import PIECE, ZEROS

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_pieces(descriptor: int, size: int) -> Iterator[bytes | memoryview]:
    """Give the `size` bytes of an open file in pieces of at most 1 MiB, zeros for its holes.

    Raises EOFError when the file ends earlier.
    """
    for is_data, start, end in ranges(descriptor, size):
        position = start
        while position < end:
            if is_data:
                data: bytes | memoryview = os.pread(descriptor, min(PIECE, end - position), position)
                if not data:
                    raise EOFError
            else:
                data = ZEROS[: end - position]
            position += len(data)
            yield data


def ranges(descriptor: int, size: int) -> Iterator[tuple[bool, int, int]]:
    """Give a file's parts in order as (is data, start, end); the others are holes.

    A file system that knows no holes, or a file that has none, is one range of data.
    """
    if os.fstat(descriptor).st_blocks * 512 >= size:
        yield True, 0, size
        return
    position = 0
    while position < size:
        try:
            start = min(os.lseek(descriptor, position, os.SEEK_DATA), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            start = size
        if start > position:
            yield False, position, start
        if start == size:
            return
        position = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        yield True, start, position


def start_write_back(descriptor: int, start: int, length: int) -> None:
    """Have the disk write a part of an open file now: whoever waits for the whole store later waits for less."""
    from buildah_py.linux.files import sync_file_range

    # It is advice: where the kernel has none of it, nothing is lost but time.
    with contextlib.suppress(OSError):
        sync_file_range(descriptor, start, length)
