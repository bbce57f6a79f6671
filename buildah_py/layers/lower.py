"""Layers below an upper directory, descended as overlayfs merges them."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.layers import xattrs
from buildah_py.linux.paths import Beneath

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_LIST_FROM: Final = 8  # as many look-ups in one directory cost about what listing it does


class LowerPath(NamedTuple):
    """State of a path below the upper directory.

    `stat` is None where nothing shows; `layer` is the index of the layer that shows. A directory has in `merged` the
    layers, top-most first, whose directories make it up, and in `marked` those among them in which zero-sized files can
    be whiteouts.
    """

    stat: os.stat_result | None = None
    layer: int = -1
    merged: tuple[int, ...] = ()
    marked: frozenset[int] = frozenset()


NOTHING: Final = LowerPath()


class Lowers:
    """The lower layers of an overlay, top-most first.

    Costs an lstat for each name and layer that is asked for.
    """

    def __init__(self, roots: Sequence[str], *, userxattr: bool = False) -> None:
        prefix = xattrs.overlay_prefix(userxattr=userxattr)
        self._opaque = prefix + "opaque"
        self._whiteout = prefix + "whiteout"
        self._roots: list[Beneath] = []
        try:
            for root in roots:
                self._roots.append(Beneath(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)))
        except OSError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the layers."""
        while self._roots:
            self._roots.pop().close()

    def root(self) -> LowerPath:
        """Return what `/` is."""
        if not self._roots:
            return NOTHING
        marked = frozenset(
            layer for layer, root in enumerate(self._roots) if xattrs.overlay_value(root.top, self._opaque) == b"x"
        )
        return LowerPath(os.stat(self._roots[0].top), 0, tuple(range(len(self._roots))), marked)

    def directory(self, below: LowerPath, path: str, lookups: int) -> LowerDirectory:
        """Prepare `lookups` look-ups in the directory `path`, which `below` describes."""
        return LowerDirectory(self, below, path, listed=lookups >= _LIST_FROM)

    def open(self, below: LowerPath, path: str) -> int:
        """Open the regular file or directory that shows at `path`."""
        assert below.stat is not None
        flags = _DIRECTORY if stat.S_ISDIR(below.stat.st_mode) else _FILE
        return self._roots[below.layer].open(path, flags)

    def readlink(self, below: LowerPath, path: str) -> str:
        """Return the target of the symbolic link that shows at `path`."""
        return self._roots[below.layer].readlink(path)

    def layer(self, below: LowerPath) -> Beneath:
        """Return the layer that shows at a path."""
        return self._roots[below.layer]

    def lstat(self, layer: int, path: str) -> os.stat_result | None:
        """Return what one layer has at `path`."""
        try:
            return self._roots[layer].lstat(path)
        except FileNotFoundError:
            return None

    def list(self, layer: int, path: str) -> list[str]:
        """Return the names that one layer has in a directory."""
        descriptor = self._roots[layer].open(path, _DIRECTORY)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)

    def opaque(self, layer: int, path: str) -> bytes:
        """Return how a directory of one layer is marked: `y` opaque, `x` zero-sized files in it can be whiteouts."""
        return self._overlay_value(layer, path, _DIRECTORY, self._opaque)

    def is_marked_whiteout(self, layer: int, path: str) -> bool:
        """Say whether a zero-sized file of one layer is a whiteout: the attribute's value does not matter."""
        descriptor = self._roots[layer].open(path, _FILE)
        try:
            return self._whiteout in os.listxattr(descriptor)
        finally:
            os.close(descriptor)

    def _overlay_value(self, layer: int, path: str, flags: int, name: str) -> bytes:
        descriptor = self._roots[layer].open(path, flags)
        try:
            return xattrs.overlay_value(descriptor, name)
        finally:
            os.close(descriptor)


class LowerDirectory:
    """Look-ups in one directory of the lower layers."""

    __slots__ = ("_below", "_lowers", "_names", "_path")

    def __init__(self, lowers: Lowers, below: LowerPath, path: str, *, listed: bool) -> None:
        self._lowers = lowers
        self._below = below
        self._path = path
        self._names: dict[int, frozenset[str]] | None = None
        if listed:
            self._names = {layer: frozenset(lowers.list(layer, path)) for layer in below.merged}

    def find(self, name: str) -> LowerPath:
        """Return what shows at `name`."""
        below, lowers, names = self._below, self._lowers, self._names
        path = f"{self._path}/{name}" if self._path else name
        found: os.stat_result | None = None
        first = -1
        merged: list[int] = []
        marked: list[int] = []
        for layer in below.merged:
            if names is not None and name not in names[layer]:
                continue
            status = lowers.lstat(layer, path)
            if status is None:
                continue
            mode = status.st_mode
            if stat.S_ISCHR(mode) and status.st_rdev == 0:
                break
            if (
                layer in below.marked
                and status.st_size == 0
                and stat.S_ISREG(mode)
                and lowers.is_marked_whiteout(layer, path)
            ):
                break
            if not stat.S_ISDIR(mode):
                if found is None:
                    return LowerPath(status, layer)
                break
            if found is None:
                found, first = status, layer
            merged.append(layer)
            value = lowers.opaque(layer, path)
            if value == b"y":
                break
            if value == b"x":
                marked.append(layer)
        if found is None:
            return NOTHING
        return LowerPath(found, first, tuple(merged), frozenset(marked))

    def names(self) -> set[str]:
        """Return every name that a layer has here, whether something hides it or not."""
        names: set[str] = set()
        for layer in self._below.merged:
            names.update(self._lowers.list(layer, self._path) if self._names is None else self._names[layer])
        return names
