"""Archives of images, as docker, podman, skopeo and pybuild save them: their files by name, with digests."""

from __future__ import annotations

import hashlib
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import ArchiveError
from buildah_py.image import canonical
from buildah_py.layers.compression import decompress
from buildah_py.layers.entry import FILE, HARDLINK, SYMLINK
from buildah_py.layers.reader import TarReader

if TYPE_CHECKING:
    from buildah_py.image.blob import Readable

_PIECE = 1 << 20
_MAX_LINKS = 40


class Extracted(NamedTuple):
    """A file of an archive: where it lies now, its digest and size."""

    path: str
    digest: str
    size: int


class ImageArchive:
    """The files of an archive, unpacked into the empty directory `directory`, where they are called by numbers.

    `size` is that of `stream`, where it is known. Raises ArchiveError where it is not a tar, compressed or not.
    """

    def __init__(self, stream: Readable, directory: str, name: str, size: int = 0) -> None:
        self.name = name
        self._files: dict[str, Extracted] = {}
        self._links: dict[str, str] = {}
        with meter.start(f"reading {name}", size, waits=True) as moved:
            self._unpack(moved.reading(stream), directory)

    def _unpack(self, stream: Readable, directory: str) -> None:
        reader = TarReader(decompress(stream).read)
        try:
            for number, member in enumerate(reader):
                path = posixpath.normpath("/" + member.name.decode("utf-8", "surrogateescape")).lstrip("/")
                if member.kind == FILE and member.sparse is None:
                    self._files[path] = _extract(reader, os.path.join(directory, str(number)))
                elif member.kind in (SYMLINK, HARDLINK):
                    link = member.link.decode("utf-8", "surrogateescape")
                    base = posixpath.dirname(path) if member.kind == SYMLINK else ""
                    self._links[path] = posixpath.normpath(f"/{base}/{link}").lstrip("/")
        except ArchiveError as error:
            error.message = f"{self.name}: {error.message}"
            raise

    def __contains__(self, path: str) -> bool:
        return self._resolve(path) is not None

    def get(self, path: str) -> Extracted:
        """Return a file by its name, following links. Raises ArchiveError."""
        found = self._resolve(path)
        if found is None:
            raise ArchiveError(f"{self.name} is not an archive of an image: it has no {path}")
        return found

    def read(self, path: str) -> bytes:
        """Return the bytes of a small file. Raises ArchiveError."""
        file = self.get(path)
        if file.size > canonical.MAX_BYTES:
            raise ArchiveError(f"{self.name}: {path} has {file.size} bytes, which is more than is allowed")
        with open(file.path, "rb") as opened:
            return opened.read()

    def _resolve(self, path: str) -> Extracted | None:
        path = posixpath.normpath("/" + path).lstrip("/")
        for _ in range(_MAX_LINKS):
            if path in self._files:
                return self._files[path]
            if path not in self._links:
                return None
            path = self._links[path]
        return None


def _extract(reader: TarReader, path: str) -> Extracted:
    hashed = hashlib.sha256()
    size = 0
    with open(path, "xb", buffering=0) as file:
        while data := reader.read(_PIECE):
            hashed.update(data)
            size += len(data)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
    return Extracted(path, f"sha256:{hashed.hexdigest()}", size)
