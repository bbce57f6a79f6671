"""The directories that an overlay of layers is mounted from."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.layers.entry import DIR
from buildah_py.layers.writer import LayerWriter
from buildah_py.linux.identity import has_single_id, uses_userxattr

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.view import MergedView
    from buildah_py.store.trees import Trees


_MOST_KNOWN: Final = 256


class Shown(NamedTuple):
    """A layer in an overlay, by its place among the layers: its directories, the top-most first.

    Of `gone` the lower ones show nothing. What describes directories for a layer has the place -1.
    """

    place: int
    directories: tuple[str, ...]
    gone: tuple[str, ...] = ()


def lowers(shown: Iterable[Shown]) -> tuple[str, ...]:
    """Return the directories of an overlay, top-most first.

    Of two that are the same the lower one is left out: whatever it holds, the upper one shows or hides. The kernel
    refuses to mount a directory twice.
    """
    return tuple(dict.fromkeys(path for one in shown for path in one.directories))


class Stacks:
    """The stacks of chains of layers; as each step lies on the one before, most are a known one with a layer more."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._known: dict[tuple[str, ...], tuple[Shown, ...]] = {}

    def forget(self) -> None:
        """Look at all layers anew: some were lost, or came back in another form."""
        self._known.clear()

    def of(self, diff_ids: Sequence[str]) -> tuple[Shown, ...]:
        """Return what an overlay of layers (given lowest first) consists of, the top-most first.

        Left out are layers without entries, and those below one whose root hides them, as overlayfs looks at no mark
        of a root. Above a layer with directories that the layers below describe may lie a directory with nothing but
        these.
        """
        chain = tuple(diff_ids)
        found = self._known.get(chain)
        if found is None:
            below = self._known.get(chain[:-1])
            found = self._made(chain, 0) if below is None else self._made(chain, len(chain) - 1, below)
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[chain] = found
        return found

    def _made(self, chain: tuple[str, ...], first: int, below: tuple[Shown, ...] = ()) -> tuple[Shown, ...]:
        """Make the stack of a chain, of which what its layers before the index `first` show is `below`."""
        trees = self._trees
        found: list[Shown] = []
        rows = trees.layers.several(chain[first:])
        for place in range(len(chain) - 1, first - 1, -1):
            diff_id = chain[place]
            layer = rows.get(diff_id)
            if layer is not None and layer.adopted is not None and layer.adopted != chain_name(chain[:place]):
                found.append(Shown(-1, (_parents(trees, chain[: place + 1]),)))
            if layer is None or layer.entries:
                found.append(Shown(place, *trees.over(diff_id, chain[:place])))
            if layer is not None and layer.opaque:
                return tuple(found)
        return (*found, *below)


def chain_name(diff_ids: Sequence[str]) -> str:
    """Return a name for layers on top of each other."""
    return hashlib.sha256("\n".join(diff_ids).encode()).hexdigest()


def describes_all(inventory: Inventory) -> bool:
    """Whether a layer says of all its directories but the root what they are like."""
    return not any(entry.implied and entry.path for entry in inventory)


def _parents(trees: Trees, diff_ids: Sequence[str]) -> str:
    """Make the directories that the top-most of these layers has without describing them, as the others do.

    overlayfs takes what a directory is like from the top-most layer that has it. The tree of the layer itself may be
    mounted on top of other layers in this moment, where its directories are to look otherwise.
    """
    view = trees.view(diff_ids)
    inventory = trees.layers.inventories.get(diff_ids[-1])
    path = os.path.join(trees.stage(), "parents")
    os.mkdir(path)
    with LayerWriter(path, userxattr=uses_userxattr(), digest=False, owners=not has_single_id()) as writer:
        _add(writer, view, "")
        for entry in inventory:
            if entry.implied and entry.path:
                parts = entry.path.split("/")
                for end in range(1, len(parts) + 1):
                    _add(writer, view, "/".join(parts[:end]))
        writer.finish()
    return path


def _add(writer: LayerWriter, view: MergedView, path: str) -> None:
    entry = view.entry(path)
    if entry is not None and entry.kind == DIR and writer.get(path) is None:
        writer.add_dir(path, entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
