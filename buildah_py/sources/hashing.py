"""Digests of many files below one directory descriptor, in threads where that pays."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter
from buildah_py.layers import xattrs as attributes
from buildah_py.layers.files import read_pieces
from buildah_py.linux.paths import open_beneath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SMALL: Final = 1 << 18
_BATCH: Final = 256
_LARGE: Final = 1 << 20


class Hashed(NamedTuple):
    """A file's digest, and its stat and extended attributes at the time of reading."""

    digest: str
    status: os.stat_result
    xattrs: tuple[tuple[str, bytes], ...]


def hash_files(
    root: int, files: Sequence[tuple[str, int]], name: str = "the build context"
) -> Iterator[tuple[str, Hashed | OSError | None]]:
    """Hash regular files, given as path and likely size; in any order.

    None stands for a file that changed meanwhile, an OSError for one that cannot be read. No path is followed through a
    symbolic link, nor out of the directory that `root` is open on. `name` is what progress calls it.
    """
    # Threads pay where the interpreter is let go: while large files are hashed, and while a disk is waited for.
    large = [[path] for path, size in files if size > _LARGE]
    small = [path for path, size in files if size <= _LARGE]
    batches = [small[start : start + _BATCH] for start in range(0, len(small), _BATCH)]
    workers = min(os.cpu_count() or 1, 8)
    with meter.start(f"reading {name}", sum(size for _, size in files)) as moved:
        if workers > 1 and len(large) > 1:
            yield from _in_threads(root, large + batches, workers, moved)
            return
        for number, batch in enumerate(large + batches):
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
            yield from _hash_batch(root, batch, moved)
            waited = resource.getrusage(resource.RUSAGE_THREAD).ru_inblock > before
            if waited and workers > 1 and len(large) + len(batches) - number > 2:
                yield from _in_threads(root, (large + batches)[number + 1 :], workers, moved)
                return


def _in_threads(
    root: int, batches: Sequence[Sequence[str]], workers: int, moved: meter.Meter
) -> Iterator[tuple[str, Hashed | OSError | None]]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(workers) as pool:
        for results in pool.map(lambda batch: _hash_batch(root, batch, moved), batches):
            yield from results


def _hash_batch(root: int, paths: Sequence[str], moved: meter.Meter) -> list[tuple[str, Hashed | OSError | None]]:
    results: list[tuple[str, Hashed | OSError | None]] = []
    opened = ""
    directory = -1
    try:
        for path in paths:
            parent, _, name = path.rpartition("/")
            try:
                if directory < 0 or parent != opened:
                    if directory >= 0:
                        os.close(directory)
                        directory = -1
                    directory = open_beneath(root, parent, _DIRECTORY)
                    opened = parent
                results.append((path, _hash(directory, name, moved)))
            except OSError as error:
                results.append((path, error))
    finally:
        if directory >= 0:
            os.close(directory)
    return results


def _hash(directory: int, name: str, moved: meter.Meter) -> Hashed | None:
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), name)
        size = status.st_size
        if size <= _SMALL:
            data = os.read(descriptor, size + 1)
            digest = hashlib.sha256(data)
            whole = len(data) == size
            moved.add(len(data))
        else:
            digest = hashlib.sha256()
            try:
                for piece in read_pieces(descriptor, size):
                    digest.update(piece)
                    moved.add(len(piece))
                whole = True
            except EOFError:
                whole = False
        pairs = attributes.read(descriptor)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    same = (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
    return Hashed("sha256:" + digest.hexdigest(), after, pairs) if whole and same else None
