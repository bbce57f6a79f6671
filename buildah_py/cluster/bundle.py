"""Files of contexts on their way to a worker: what the sources of a COPY select, what a RUN mounts of a context.

A bundle is one blob: the list of what is selected, then the bytes of its files, each once. Keys decide what it is
worth: the worker makes the step's key of it, and does nothing where that is not the one that it was asked for.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.copy.select import select
from buildah_py.copy.selection import Selection
from buildah_py.engine.ops.copy import CopyOp, Selected
from buildah_py.errors import NotFound, SourceChanged, SourceError
from buildah_py.image.descriptor import Descriptor
from buildah_py.layers.entry import DIR, FILE, sort_key
from buildah_py.layers.tree import SourceTree, link_of, resolve
from buildah_py.linux import resolution
from buildah_py.plan.steps import CaptureStep, CopyStep, RunStep

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import BinaryIO

    from buildah_py.copy.selection import SelectedSource
    from buildah_py.engine.ops import Op, Task
    from buildah_py.layers.entry import Entry

MEDIA_TYPE: Final = "application/vnd.pybuild.bundle.v1+zstd"
_PIECE: Final = 1 << 20
_LEVEL: Final = 3


class _Selected(NamedTuple):
    """A `Selected` without its tree."""

    where: str
    sources: tuple[SelectedSource, ...]
    timed: bool
    unpacks: bool
    identity: str
    local: bool


class _Head(NamedTuple):
    """List of a bundle: selections of a COPY, trees of contexts by their names, and files by digest, with sizes."""

    selected: tuple[_Selected, ...]
    trees: Mapping[str, Sequence[Entry]]
    files: Sequence[tuple[str, int]]


class Bundle(NamedTuple):
    """Files of the contexts that a worker has: `selected` is what a COPY selects, None for other steps."""

    selected: Sequence[Selected] | None = None
    trees: Mapping[str, ShippedTree] = {}

    def open(self, name: str) -> ShippedTree:
        """Give a context by its name. Raises NotFound."""
        if name not in self.trees:
            raise NotFound(f"the context `{name}` did not come with the step")
        return self.trees[name]

    def refresh(self) -> None:
        """Look again at what never changes."""


class ShippedTree(SourceTree):
    """A tree of the `entries` that were sent; their files lie in `directory` by digest."""

    def __init__(self, entries: Iterable[Entry], directory: str) -> None:
        self._entries = {entry.path: entry for entry in entries}
        self._directory = directory
        named = sorted((path for path in self._entries if path), key=sort_key)
        self._names: dict[str, list[str]] = {}
        for path in named:
            parent, _, name = path.rpartition("/")
            self._names.setdefault(parent, []).append(name)

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`."""
        return self._entries.get(path)

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`. Raises NotFound if it is not one."""
        entry = self._entries.get(path)
        if entry is None or entry.kind != DIR:
            raise NotFound(f"/{path} is not a directory of the context")
        return self._names.get(path, ())

    def digest(self, path: str) -> str:
        """Return the digest of the regular file `path`. Raises NotFound."""
        return self._file(path).digest

    def open(self, path: str) -> int:
        """Return a descriptor for reading the regular file `path`."""
        name = self._file(path).digest
        return os.open(os.path.join(self._directory, name.partition(":")[2]), os.O_RDONLY | os.O_CLOEXEC)

    def _file(self, path: str) -> Entry:
        entry = self._entries.get(path)
        if entry is None or entry.kind != FILE:
            raise NotFound(f"/{path} is not a file of the context")
        return entry


def write_bundle(task: Task, op: Op, path: str) -> Descriptor | None:
    """Write what a step reads of contexts to the new file `path`; None where it reads nothing of any.

    Raises SourceChanged where a file is no longer what it was when it was looked at.
    """
    selected: list[_Selected] = []
    trees: dict[str, dict[str, Entry]] = {}
    readable: dict[str, tuple[SourceTree, str, int]] = {}
    if isinstance(op, CopyOp):
        if task.trees[0] is not None:
            return None
        for one in op.selected():
            tree, where, sources, timed = one.selection
            selected.append(_Selected(where, sources, timed, one.unpacks, one.identity, one.local))
            _note(readable, tree, (entry for source in sources for entry in source.entries))
    else:
        step = task.node.step.run if isinstance(task.node.step, CaptureStep) else task.node.step
        for mount in step.mounts if isinstance(step, RunStep) else ():
            if mount.input is None or task.trees[mount.input] is not None:
                continue
            tree = task.open(mount.input)
            entries = _mounted(tree, mount.source, task.called(mount.input))
            trees.setdefault(task.node.inputs[mount.input].context, {}).update(entries)
            _note(readable, tree, entries.values())
    if not selected and not trees:
        return None
    files = [(digest, size) for digest, (_, _, size) in sorted(readable.items())]
    head = _Head(tuple(selected), {name: list(entries.values()) for name, entries in trees.items()}, files)
    return _write(path, pickle.dumps(head), [(digest, *readable[digest]) for digest, _ in files])


def read_bundle(path: str, directory: str, step: object) -> Bundle:
    """Unpack a bundle, whose digest has been checked, into the new directory `directory`. Raises SourceError."""
    import zstandard

    os.mkdir(directory, 0o700)
    with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        length = int.from_bytes(_exactly(stream, 8), "big")
        head: _Head = pickle.loads(_exactly(stream, length))  # noqa: S301 - see orders.py: its digest is the order's
        for digest, size in head.files:
            _unpack(stream, os.path.join(directory, digest.partition(":")[2]), digest, size)
    trees = {name: ShippedTree(entries, directory) for name, entries in head.trees.items()}
    if not isinstance(step, CopyStep):
        return Bundle(None, trees)
    found = []
    for one in head.selected:
        tree = ShippedTree((entry for source in one.sources for entry in source.entries), directory)
        selection = Selection(tree, one.where, one.sources, one.timed)
        found.append(Selected(selection, one.unpacks, one.identity, one.local))
    return Bundle(found, trees)


def _note(readable: dict[str, tuple[SourceTree, str, int]], tree: SourceTree, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.kind == FILE:
            readable.setdefault(entry.digest, (tree, entry.path, entry.size))


def _mounted(tree: SourceTree, source: str, where: str) -> dict[str, Entry]:
    """Give what a mount shows, with the links and the directories on the way there."""
    found: dict[str, Entry] = {}

    def look(path: str) -> str | None:
        entry = tree.entry(path)
        if entry is not None:
            found[path] = entry
        return link_of(entry)

    look("")
    resolution.resolve(source or "/", look)
    path = resolve(tree, source or "/")
    if tree.entry(path) is not None:
        for one in select(tree, [path or "/"], where=where, parents=bool(path)).sources:
            found |= {entry.path: entry for entry in one.entries}
        for one in select(tree, [source or "/"], where=where).sources:
            found |= {entry.path: entry for entry in one.entries}
    return found


def _write(path: str, head: bytes, files: Iterable[tuple[str, SourceTree, str, int]]) -> Descriptor:
    import zstandard

    with open(path, "xb") as out, zstandard.ZstdCompressor(level=_LEVEL).stream_writer(out, closefd=False) as packed:
        packed.write(len(head).to_bytes(8, "big"))
        packed.write(head)
        for _, group in groupby(files, key=lambda one: id(one[1])):
            for digest, tree, name, size in group:
                _pack(packed, tree, name, digest, size)
    hashed = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(_PIECE):
            hashed.update(data)
    return Descriptor(MEDIA_TYPE, f"sha256:{hashed.hexdigest()}", os.path.getsize(path))


def _pack(packed: Any, tree: SourceTree, name: str, digest: str, size: int) -> None:
    hashed, left = hashlib.sha256(), size
    with open(tree.open(name), "rb") as file:
        while data := file.read(_PIECE):
            hashed.update(data)
            left -= len(data)
            if left < 0:
                break
            packed.write(data)
    if left or f"sha256:{hashed.hexdigest()}" != digest:
        raise SourceChanged(f"/{name} changed while it was read")


def _unpack(stream: BinaryIO, path: str, digest: str, size: int) -> None:
    hashed, left = hashlib.sha256(), size
    with open(path, "xb") as out:
        while left:
            data = stream.read(min(left, _PIECE))
            if not data:
                raise SourceError("what came of the context is cut short")
            hashed.update(data)
            left -= len(data)
            out.write(data)
    if f"sha256:{hashed.hexdigest()}" != digest:
        raise SourceError(f"the file {digest} of the context is not what it was")


def _exactly(stream: BinaryIO, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = stream.read(length - len(data))
        if not more:
            raise SourceError("what came of the context is cut short")
        data += more
    return data
