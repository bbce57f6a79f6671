"""An OCI layout as a directory: a new one appears whole, one that is there gains an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import OutputError
from buildah_py.image import index as indexes
from buildah_py.outputs import target
from buildah_py.outputs.archive import blob_name, spool

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType
    from typing import Self

    from buildah_py.image.index import Index

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MARKER = "oci-layout"


class DirectoryLayout:
    """A context manager: what was written stays when `finish` was reached, and is removed when it was not.

    Raises OutputError where `dest` is neither new, nor empty, nor an OCI layout.
    """

    def __init__(self, dest: str) -> None:
        self._dest = dest
        self._place = os.path.realpath(dest)
        self._made: list[str] = []
        self._finished = False
        with target.naming(dest):
            self._new = not os.path.lexists(self._place)
            if not self._new and not os.path.isdir(self._place):
                raise OutputError(f"{dest} is not a directory", hint="name a directory, or leave out tar=false")
            there = [] if self._new else os.listdir(self._place)
            if there and _MARKER not in there:
                raise OutputError(
                    f"{dest} is a directory with something else in it", hint="name a new one, or an OCI layout"
                )
            self._root = target.beside(self._place) if self._new else self._place

    def __enter__(self) -> Self:
        try:
            self._make_directories()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._remove()

    def _make_directories(self) -> None:
        with target.naming(self._dest):
            for name in ("", "blobs", "blobs/sha256"):
                path = os.path.join(self._root, name)
                if not os.path.isdir(path):
                    os.mkdir(path)
                    self._made.append(path)

    def existing(self) -> Index | None:
        """Return the index of the layout that is there."""
        path = os.path.join(self._root, "index.json")
        with target.naming(self._dest):
            if not os.path.exists(path):
                return None
            with open(path, "rb") as file:
                return indexes.from_bytes(file.read(), what=path)

    def add(self, name: str, data: bytes) -> None:
        """Write a small file; one that is there is replaced, unless it is a blob."""
        if self._has(name):
            return
        path, descriptor = self._create()
        with target.naming(self._dest):
            try:
                target.write(descriptor, data)
            finally:
                os.close(descriptor)
            self._place_at(path, name)

    def add_file(self, name: str, path: str, size: int) -> None:
        """Copy the file at `path`."""
        if self._has(name):
            return
        part, descriptor = self._create()
        try:
            target.copy(path, descriptor, size, self._dest)
        finally:
            os.close(descriptor)
        with target.naming(self._dest):
            self._place_at(part, name)

    def add_blob(self, pieces: Iterable[bytes], known: str = "", _size: int = 0) -> tuple[str, int]:
        """Write `blobs/sha256/<hex>` with the bytes of `pieces`; return its digest (computed unless `known`), size."""
        part, descriptor = self._create()
        try:
            digest, size = spool(pieces, descriptor, self._dest, known)
        finally:
            os.close(descriptor)
        name = blob_name(digest)
        with target.naming(self._dest):
            if self._has(name):
                os.unlink(part)
                self._made.remove(part)
            else:
                self._place_at(part, name)
        return digest, size

    def finish(self) -> None:
        """Put a new layout into its place."""
        if self._new:
            with target.naming(self._dest):
                os.rename(self._root, self._place)
        self._finished = True

    def _remove(self) -> None:
        with target.naming(self._dest):
            for path in reversed(self._made):
                if os.path.isdir(path):
                    os.rmdir(path)
                elif os.path.lexists(path):
                    os.unlink(path)

    def _has(self, name: str) -> bool:
        return name.startswith("blobs/") and os.path.exists(os.path.join(self._root, name))

    def _create(self) -> tuple[str, int]:
        path = target.beside(os.path.join(self._root, "blob"))
        self._made.append(path)  # first: an interrupt may come in between
        with target.naming(self._dest):
            descriptor = os.open(path, _CREATE, 0o666)
        return path, descriptor

    def _place_at(self, part: str, name: str) -> None:
        path = os.path.join(self._root, name)
        replaced = os.path.exists(path)
        os.rename(part, path)
        self._made.remove(part)
        if not replaced:
            self._made.append(path)
