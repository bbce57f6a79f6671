"""Files of images for several platforms in one tree, as buildx writes them: a directory for each, or all in one.

What is attested of an image is a file beside its own.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import OutputError
from buildah_py.image.digest import sha256_of
from buildah_py.layers.entry import DIR, FILE, SECOND, Entry, sort_key
from buildah_py.outputs.attestation import Subject, file_bytes
from buildah_py.outputs.walk import walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.layers.tree import Tree
    from buildah_py.outputs.attestation import Predicate

_ROOT: Final = Entry("", DIR, 0o755)


class PlatformTree(NamedTuple):
    """The files of one image, and what is attested of it."""

    platform: str
    tree: Tree
    predicates: tuple[Predicate, ...] = ()

    @property
    def directory(self) -> str:
        """The name of its directory: `linux_arm_v7`."""
        return self.platform.replace("/", "_")


def platform_tree(images: Sequence[PlatformTree], *, split: bool, prefix: str = "", mtime: int | None = None) -> Tree:
    """Join the files of images; `split` gives each a directory of its own.

    Attestations are called as buildx calls them: `provenance.json`, or `provenance.linux_amd64.json` where several
    images share one directory; `prefix` stands in front. Their time is `mtime` (seconds since 1970), or now. Raises
    OutputError where a path of one directory would be different files.
    """
    now = time.time_ns() if mtime is None else mtime * SECOND
    parts = []
    for one in images:
        tree = one.tree
        files = {}
        for predicate in one.predicates:
            if not predicate.inline:
                name = f"{prefix}{predicate.file}"
                if len(images) > 1 and not split:
                    stem, dot, ending = name.rpartition(".")
                    name = f"{stem}.{one.directory}{dot}{ending}"
                files[name] = file_bytes(predicate, _subjects(one.tree))
        if files:
            tree = _Beside(tree, files, now)
        parts.append((one.directory, tree))
    if split:
        return _Directories(dict(parts), now)
    return parts[0][1] if len(parts) == 1 else _United(parts)


def _subjects(tree: Tree) -> list[Subject]:
    """Return all regular files with their digests: without a manifest, they are what a statement is about."""
    return [Subject(entry.path, tree.digest(entry.path)) for entry, before in walk(tree) if before and _is_file(entry)]


def _is_file(entry: Entry) -> bool:
    return entry.kind == FILE


def _memory_file(data: bytes) -> int:
    descriptor = os.memfd_create("attestation", os.MFD_CLOEXEC)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class _Beside:
    """A tree with small files added to its root."""

    def __init__(self, tree: Tree, files: dict[str, bytes], mtime: int) -> None:
        for name in files:
            if tree.entry(name) is not None:
                raise OutputError(
                    f"the image has a file /{name}, and so are its attestations called",
                    hint="add attestation-prefix=NAME to the output",
                )
        self._tree = tree
        self._files = files
        self._mtime = mtime

    def entry(self, path: str) -> Entry | None:
        data = self._files.get(path)
        if data is None:
            return self._tree.entry(path)
        return Entry(path, FILE, 0o644, size=len(data), digest=sha256_of(data), mtime=self._mtime)

    def names(self, path: str) -> Sequence[str]:
        names = self._tree.names(path)
        return names if path else sorted((*names, *self._files), key=sort_key)

    def digest(self, path: str) -> str:
        data = self._files.get(path)
        return self._tree.digest(path) if data is None else sha256_of(data)

    def open(self, path: str) -> int:
        data = self._files.get(path)
        return self._tree.open(path) if data is None else _memory_file(data)


class _Directories:
    """Trees as directories of one."""

    def __init__(self, trees: dict[str, Tree], mtime: int) -> None:
        self._trees = trees
        self._mtime = mtime

    def _inner(self, path: str) -> tuple[Tree | None, str, str]:
        name, _, rest = path.partition("/")
        return self._trees.get(name), name, rest

    def entry(self, path: str) -> Entry | None:
        if not path:
            return _ROOT
        tree, name, rest = self._inner(path)
        if tree is None:
            return None
        if not rest:
            root = tree.entry("") or _ROOT
            return root._replace(path=name, opaque=False, implied=False, mtime=root.mtime or self._mtime)
        found = tree.entry(rest)
        if found is None:
            return None
        link = f"{name}/{found.link}" if found.kind == FILE and found.link else found.link
        return found._replace(path=path, link=link)

    def names(self, path: str) -> Sequence[str]:
        tree, _, rest = self._inner(path)
        if not path:
            return sorted(self._trees, key=sort_key)
        return tree.names(rest) if tree is not None else ()

    def digest(self, path: str) -> str:
        tree, _, rest = self._inner(path)
        assert tree is not None
        return tree.digest(rest)

    def open(self, path: str) -> int:
        tree, _, rest = self._inner(path)
        assert tree is not None
        return tree.open(rest)


class _United:
    """Trees in one directory. What several of them have has to be the same in all."""

    def __init__(self, trees: Sequence[tuple[str, Tree]]) -> None:
        self._trees = [tree for _, tree in trees]
        owners: dict[str, tuple[str, Entry]] = {}
        for name, tree in trees:
            for entry, before in walk(tree):
                if not before:
                    continue
                other, found = owners.setdefault(entry.path, (name, entry))
                if _essence(found) != _essence(entry):
                    raise OutputError(
                        f"/{entry.path} is not the same for {other} and for {name}",
                        hint="leave platform-split=false out: each platform then has a directory",
                    )

    def _of(self, path: str) -> Tree:
        return next((tree for tree in self._trees if tree.entry(path) is not None), self._trees[0])

    def entry(self, path: str) -> Entry | None:
        return self._of(path).entry(path)

    def names(self, path: str) -> Sequence[str]:
        having = (tree for tree in self._trees if not path or tree.entry(path) is not None)
        return sorted({name for tree in having for name in tree.names(path)}, key=sort_key)

    def digest(self, path: str) -> str:
        return self._of(path).digest(path)

    def open(self, path: str) -> int:
        return self._of(path).open(path)


def _essence(entry: Entry) -> tuple[object, ...]:
    if entry.kind == DIR:
        return (DIR,)
    return entry.kind, entry.mode & 0o7777, entry.size, entry.digest, entry.link, entry.device
