"""Write a merged file tree as one tar: what `docker export` would give, without what the tree's layers removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from buildah_py import meter
from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import FILE, HARDLINK, SECOND
from buildah_py.layers.files import read_pieces
from buildah_py.layers.header import END, header, padding
from buildah_py.outputs import target
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

_PIECE: Final = 1 << 20


def write_tar(dest: str, tree: Tree, *, clamp_mtime: int | None = None, stdout: int = 1) -> None:
    """Write `tree` to the file `dest`, which is whole or not there; `-` is the descriptor `stdout`.

    The same tree gives the same bytes. Later mtimes than `clamp_mtime` (seconds since 1970) become that. Raises
    OutputError that names `dest`, ArchiveError where a file is not as long as the tree says.
    """
    with target.opened(dest, stdout=stdout) as out, meter.start(f"writing {dest}") as moved:
        held = _Held(out, dest, moved)
        for entry, before in walk(tree):
            if not before:
                continue
            seconds = entry.mtime // SECOND
            if clamp_mtime is not None:
                seconds = min(seconds, clamp_mtime)
            if entry.kind == HARDLINK:
                held.add(header(entry._replace(xattrs=()), seconds))
                continue
            held.add(header(entry, seconds))
            if entry.kind == FILE and entry.size:
                _add_file(held, tree, entry)
        held.add(END)
        held.flush()


class _Held:
    """Gathers small pieces into large writes."""

    def __init__(self, out: int, dest: str, moved: meter.Meter) -> None:
        self._out = out
        self._dest = dest
        self._moved = moved
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def add(self, data: bytes | memoryview) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self.flush()

    def flush(self) -> None:
        with target.naming(self._dest):
            target.write(self._out, b"".join(self._parts))
        self._moved.add(self._size)
        self._parts = []
        self._size = 0


def _add_file(held: _Held, tree: Tree, entry: Entry) -> None:
    descriptor = tree.open(entry.path)
    try:
        if os.fstat(descriptor).st_size != entry.size:
            raise _damaged(entry)
        for piece in read_pieces(descriptor, entry.size):
            held.add(piece)
    except EOFError:
        raise _damaged(entry) from None
    finally:
        os.close(descriptor)
    held.add(padding(entry.size))


def _damaged(entry: Entry) -> ArchiveError:
    return ArchiveError(
        f"/{entry.path} is not what it was when its layer was made: it had {entry.size} bytes",
        hint="build again with --no-cache",
    )
