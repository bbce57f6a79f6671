"""Space in an image: which directories of which layers take it, and how much of that is in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.entry import DIR, FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildah_py.layers.inventory import Inventory
    from buildah_py.query.image import Opened
    from buildah_py.store import Store

_DEPTH = 2
_MOST = 14


class Area(NamedTuple):
    """A directory's files in one layer, in bytes; `wasted` are those that later layers hide. `path` "": all others."""

    path: str
    bytes: int
    wasted: int


def areas(store: Store, image: Opened) -> list[list[Area]]:
    """Return the areas of each layer, lowest layer first, the largest area first. Absent layers are fetched."""
    ids = image.config.diff_ids
    store.need(ids)
    return areas_of([store.layers.inventories.get(diff_id) for diff_id in ids])


def areas_of(inventories: Iterable[Inventory]) -> list[list[Area]]:
    """Return the areas of layers, given lowest first."""
    found: list[list[Area]] = []
    above: set[str] = set()  # paths that a higher layer says something of
    walls: set[str] = set()  # below which nothing of lower layers shows
    for inventory in reversed(list(inventories)):
        sums: dict[str, list[int]] = {}
        for entry in inventory:
            if entry.kind == FILE and entry.size:
                total = sums.setdefault(_area(entry.path), [0, 0])
                total[0] += entry.size
                if entry.path in above or _is_walled(entry.path, walls):
                    total[1] += entry.size
        found.append(_largest(sums))
        for entry in inventory:
            if entry.kind != DIR:
                above.add(entry.path)
                walls.add(entry.path)
            elif entry.opaque:
                walls.add(entry.path)
    return found[::-1]


def is_here(store: Store, image: Opened) -> bool:
    """Whether the files of all layers are in the store, so that nothing has to be fetched to look at them."""
    return not store.layers.missing(image.config.diff_ids)


def _area(path: str) -> str:
    return "/".join(path.split("/")[:-1][:_DEPTH]) or "/"


def _is_walled(path: str, walls: set[str]) -> bool:
    """Whether a directory above a path is one of those; "" is the root, which may be opaque itself."""
    if "" in walls:
        return True
    at = path.rfind("/")
    while at > 0:
        if path[:at] in walls:
            return True
        at = path.rfind("/", 0, at)
    return False


def _largest(sums: dict[str, list[int]]) -> list[Area]:
    found = sorted((Area(path, *numbers) for path, numbers in sums.items()), key=lambda area: (-area.bytes, area.path))
    rest = found[_MOST:]
    if rest:
        found = [*found[:_MOST], Area("", sum(one.bytes for one in rest), sum(one.wasted for one in rest))]
    return found
