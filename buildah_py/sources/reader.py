"""Read files of a directory context one after the other."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Protocol

from buildah_py.layers import xattrs as attributes
from buildah_py.layers.tree import FirstReading
from buildah_py.linux.paths import open_beneath
from buildah_py.sources.hashing import Hashed
from buildah_py.sources.stat_cache import now

if TYPE_CHECKING:
    from buildah_py.errors import SourceChanged, SourceError

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Learner(Protocol):
    """The context whose files are read, as far as readers ask it."""

    def learn(self, path: str, hashed: Hashed, hashed_at: int) -> None:
        """Note what reading a file told, which began after `hashed_at`; raises SourceChanged."""

    def changed(self, path: str) -> SourceChanged:
        """Say that a file is no longer what it was."""

    def unreadable(self, path: str, error: OSError) -> SourceError:
        """Say why a path cannot be read."""


class ContextReader:
    """Opens files of a context one after the other, keeping the directory of the last one open."""

    def __init__(self, context: Learner, root: int) -> None:
        self._context = context
        self._root = root
        self._began = now()
        self._folder: str | None = None
        self._directory = -1

    def open(self, path: str) -> int:
        """Return a descriptor for reading the regular file `path`; the caller closes it."""
        return self._open(path)[0]

    def read(self, path: str, size: int) -> bytes:
        """Return the bytes of the regular file `path`, which should be `size` of them; one more where it is longer."""
        descriptor, _ = self._open(path)
        try:
            return os.read(descriptor, size + 1)
        except OSError as error:
            raise self._context.unreadable(path, error) from error
        finally:
            os.close(descriptor)

    def begin(self, path: str) -> FirstReading:
        """Open a file whose digest is not known yet; the caller closes its descriptor."""
        descriptor, status = self._open(path)
        try:
            return FirstReading(path, descriptor, status, attributes.read(descriptor))
        except BaseException:
            os.close(descriptor)
            raise

    def end(self, reading: FirstReading, digest: str) -> None:
        """Tell the context what came of it; raises SourceChanged where the file changed meanwhile."""
        before, after = reading.status, os.fstat(reading.descriptor)
        if (
            before.st_ctime_ns != after.st_ctime_ns
            or before.st_mtime_ns != after.st_mtime_ns
            or before.st_size != after.st_size
        ):
            raise self._context.changed(reading.path)
        self._context.learn(reading.path, Hashed(digest, after, reading.xattrs), self._began)

    def changed(self, path: str) -> SourceChanged:
        """Say that a file is no longer what it was."""
        return self._context.changed(path)

    def close(self) -> None:
        """Close the directory."""
        if self._directory >= 0:
            os.close(self._directory)
        self._directory, self._folder = -1, None

    def _open(self, path: str) -> tuple[int, os.stat_result]:
        folder, _, name = path.rpartition("/")
        try:
            if folder != self._folder:
                self.close()
                self._directory = open_beneath(self._root, folder, _DIRECTORY)
                self._folder = folder
            descriptor = os.open(name, _FILE, dir_fd=self._directory)
        except OSError as error:
            raise self._context.unreadable(path, error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise self._context.changed(path)
        return descriptor, status
