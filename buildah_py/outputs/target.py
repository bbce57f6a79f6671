"""A file that is either whole or not there: written beside its place under another name, then renamed."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from buildah_py import meter
from buildah_py.errors import ArchiveError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

STDOUT = "-"
_AT_ONCE = 1 << 25
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def naming(dest: str) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names `dest`."""
    try:
        yield
    except OSError as error:
        where = "the standard output" if dest == STDOUT else dest
        raise OutputError(
            f"{where} cannot be written: {error.strerror or error}",
            hint="" if dest == STDOUT else "free some space there, or name another place",
        ) from error


@contextmanager
def opened(dest: str, *, stdout: int = 1) -> Iterator[int]:
    """Yield a descriptor whose bytes stand at `dest` when the block ends well, and nowhere when it does not.

    `-` is the descriptor `stdout`; what is there and no regular file (a pipe, a device) is written to as it is; the
    target of a symbolic link is replaced, not the link. Raises OutputError.
    """
    if dest == STDOUT:
        check_terminal(stdout)
        yield stdout
        return
    with naming(dest):
        place = check_place(dest)
        direct = os.path.exists(place) and not os.path.isfile(place)
        path = place if direct else beside(place)
    try:
        with naming(dest):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC if direct else _CREATE, 0o666)
        try:
            yield descriptor
        finally:
            with naming(dest):
                os.close(descriptor)
        if not direct:
            with naming(dest):
                os.rename(path, place)
    except BaseException:
        # An interrupt may come before the file is there, and after it was renamed.
        if not direct and os.path.lexists(path):
            with naming(dest):
                os.unlink(path)
        raise


def check_terminal(stdout: int) -> None:
    """Raise OutputError where the descriptor `stdout` is a terminal."""
    if os.isatty(stdout):
        raise OutputError("an archive is not written to a terminal", hint="name a file, or redirect the output")


def check_place(dest: str) -> str:
    """Where a file `dest` really goes. Raises OutputError where a directory is."""
    place = os.path.realpath(dest)
    if os.path.isdir(place):
        raise OutputError(f"{dest} is a directory", hint="name a file, or write a directory with tar=false")
    return place


def beside(path: str) -> str:
    """Return a name in the same directory that nothing has."""
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name[:100]}.{os.urandom(6).hex()}.part")


def write(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`."""
    written = os.write(descriptor, data)
    if written < len(data):
        rest = memoryview(data)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def copy(path: str, descriptor: int, size: int, dest: str) -> None:
    """Copy a file of `size` bytes to the end of `descriptor`. A shorter or longer one raises ArchiveError."""
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ArchiveError(f"a blob of the image cannot be read: {path}: {error.strerror}") from error
    try:
        found = os.fstat(source).st_size
        if found != size:
            raise ArchiveError(f"{path} is damaged: it has {found} bytes instead of {size}")
        left = size
        shown = "the standard output" if dest == STDOUT else dest
        with naming(dest), meter.start(f"writing {shown}", size) as moved:
            while left:
                sent = _send(descriptor, source, left)
                if not sent:
                    raise ArchiveError(f"{path} became shorter while it was read")
                left -= sent
                moved.add(sent)
    finally:
        os.close(source)


def _send(descriptor: int, source: int, length: int) -> int:
    """Copy some bytes within the kernel; through a buffer where the target (opened for appending) does not allow it."""
    try:
        return os.sendfile(descriptor, source, None, min(length, _AT_ONCE))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    data = os.read(source, min(length, 1 << 20))
    write(descriptor, data)
    return len(data)
