"""An OCI layout as one tar: members with fixed owners, modes and times, in an order that depends on the image alone."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError
from buildah_py.layers.header import BLOCK_SIZE, END, padding, plain_header
from buildah_py.outputs import target

if TYPE_CHECKING:
    from collections.abc import Iterable


class TarLayout:
    """Writes members to the descriptor `out`, which `dest` names in errors.

    A blob's size and digest are known only at its end: where `out` is a regular file, room for the header is left and
    filled in afterwards, so that every byte is written once; else the blob waits in a nameless file in `scratch`.
    """

    def __init__(self, out: int, dest: str, *, scratch: str | None = None) -> None:
        import stat

        self._out = out
        self._dest = dest
        self._scratch = scratch
        self._offset = 0
        self._added: set[str] = set()
        # Where bytes are appended (`>> file`), no header can be filled in afterwards.
        self._seekable = stat.S_ISREG(os.fstat(out).st_mode) and not _appends(out)
        if self._seekable:
            self._start = os.lseek(out, 0, os.SEEK_CUR)
        for name in ("blobs/", "blobs/sha256/"):
            self._write(plain_header(name))

    def add(self, name: str, data: bytes) -> None:
        """Add a small file; a second one of the same name is left out."""
        if name not in self._added:
            self._added.add(name)
            self._write(plain_header(name, len(data)) + data + padding(len(data)))

    def add_file(self, name: str, path: str, size: int) -> None:
        """Add the file at `path`; a second one of the same name is left out."""
        if name not in self._added:
            self._added.add(name)
            self._write(plain_header(name, size))
            target.copy(path, self._out, size, self._dest)
            self._offset += size
            self._write(padding(size))

    def add_blob(self, pieces: Iterable[bytes], known: str = "", size: int = 0) -> tuple[str, int]:
        """Add `blobs/sha256/<hex>` with the bytes of `pieces`; return its digest, computed unless `known`, and size.

        Where `size` is known as well, nothing has to wait. Raises ArchiveError where the bytes are more or fewer.
        """
        if known and size:
            return self._add_straight(pieces, known, size)
        if self._seekable:
            return self._add_in_place(pieces, known)
        import tempfile

        with tempfile.TemporaryFile(dir=self._scratch, buffering=0) as file:
            digest, size = spool(pieces, file.fileno(), self._scratch or tempfile.gettempdir(), known)
            self.add_file(blob_name(digest), f"/proc/self/fd/{file.fileno()}", size)
        return digest, size

    def finish(self) -> None:
        """Write the end of the archive."""
        self._write(END)

    def _add_straight(self, pieces: Iterable[bytes], known: str, size: int) -> tuple[str, int]:
        name = blob_name(known)
        assert name not in self._added
        self._added.add(name)
        self._write(plain_header(name, size))
        _, found = spool(pieces, self._out, self._dest, known)
        if found != size:
            raise ArchiveError(f"a layer's tar has {found} bytes, not {size}: {known}")
        self._offset += size
        self._write(padding(size))
        return known, size

    def _add_in_place(self, pieces: Iterable[bytes], known: str) -> tuple[str, int]:
        begin = self._offset
        self._write(bytes(BLOCK_SIZE))
        digest, size = spool(pieces, self._out, self._dest, known)
        self._offset += size
        name = blob_name(digest)
        with target.naming(self._dest):
            if name in self._added:  # two layers whose compressed bytes are equal
                os.ftruncate(self._out, self._start + begin)
                self._offset = os.lseek(self._out, self._start + begin, os.SEEK_SET) - self._start
                return digest, size
            self._added.add(name)
            os.pwrite(self._out, plain_header(name, size), self._start + begin)
        self._write(padding(size))
        return digest, size

    def _write(self, data: bytes) -> None:
        with target.naming(self._dest):
            target.write(self._out, data)
        self._offset += len(data)


def _appends(descriptor: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)


def blob_name(digest: str) -> str:
    """Where a blob lies in a layout."""
    return "blobs/" + digest.replace(":", "/", 1)


def spool(pieces: Iterable[bytes], descriptor: int, dest: str, known: str) -> tuple[str, int]:
    """Write `pieces` to `descriptor`, which `dest` names in errors; return their digest, or `known`, and size."""
    hashed = hashlib.sha256()
    size = 0
    for piece in pieces:
        if not known:
            hashed.update(piece)
        size += len(piece)
        with target.naming(dest):
            target.write(descriptor, piece)
    return known or f"sha256:{hashed.hexdigest()}", size
