"""Looking into images: their history, their layers, their files. Inventories answer; no tree is walked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound, UsageError
from buildah_py.image import config as image_config
from buildah_py.layers.entry import DIR, FILE, WHITEOUT
from buildah_py.layers.tree import resolve
from buildah_py.store.names import find_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.image.config import ImageConfig
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.view import MergedView
    from buildah_py.store import Store


class Opened(NamedTuple):
    """An image of the store whose layers nobody collects while this process lives."""

    id: str
    config: ImageConfig
    view: MergedView


class HistoryLine(NamedTuple):
    """An entry of an image's history; `diff_id` and `size` (bytes of the layer's tar) where it made a layer."""

    created: str
    created_by: str
    comment: str
    diff_id: str
    size: int


class LayerReport(NamedTuple):
    """Facts about a layer: paths that it adds, changes, removes; sizes in bytes.

    `size` is that of its tar, `disk` what it takes here. `wasted` are bytes of files below that it hides: an image
    carries them for nothing.
    """

    diff_id: str
    created_by: str
    size: int
    disk: int
    added: int
    changed: int
    removed: int
    wasted: int


class Hidden(NamedTuple):
    """A path whose bytes some layer holds in vain, because later ones overwrote or deleted it."""

    path: str
    bytes: int
    times: int


class LargeFile(NamedTuple):
    """A file of an image with the place of its layer, counted from 0 at the bottom."""

    path: str
    size: int
    layer: int


class LayersReport(NamedTuple):
    """An image's layers, lowest first, its largest files, and what is wasted, the worst first."""

    layers: list[LayerReport]
    largest: list[LargeFile]
    hidden: list[Hidden]


def open_image(store: Store, name: str) -> Opened:
    """Find an image and hold its layers. Raises NotFound."""
    image = find_image(store, name)
    config = image_config.from_bytes(image.config, f"the config of {name}")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image `{name}` are missing", hint="`pybuild fsck` tells more; build it again")
    return Opened(image.id, config, store.view(config.diff_ids))


def split_place(text: str) -> tuple[str, str]:
    """Split `NAME:/path` into both. Raises UsageError."""
    name, colon, path = text.partition(":/")
    if not colon or not name:
        raise UsageError(f"`{text}` names no file of an image", hint="write it as NAME:/path or NAME:TAG:/path")
    return name, f"/{path}"


def find_path(view: MergedView, path: str, *, follow_last: bool = True) -> tuple[str, Entry]:
    """Find what `path` is inside of an image, links followed; its clean path, and what lies there. Raises NotFound."""
    clean = resolve(view, path, follow_last=follow_last)
    entry = view.entry(clean)
    if entry is None:
        raise NotFound(f"there is no {path} in the image")
    return clean, entry


def history(store: Store, config: ImageConfig) -> list[HistoryLine]:
    """Return the history, oldest first."""
    left = list(config.diff_ids)
    lines = []
    for item in config.with_complete_history().history:
        diff_id = "" if item.empty_layer else left.pop(0)
        layer = store.layers.get(diff_id) if diff_id else None
        lines.append(HistoryLine(item.created, item.created_by, item.comment, diff_id, layer.size if layer else 0))
    return lines


def report_layers(store: Store, image: Opened, *, most: int = 10) -> LayersReport:
    """Return a report of what each layer does; `most` of the largest files and of what is wasted."""
    ids = image.config.diff_ids
    store.need(ids)
    disk = store.layers.measure(ids)
    hidden: dict[str, tuple[int, int]] = {}
    reports = []
    made = [line for line in history(store, image.config) if line.diff_id]
    for place, line in enumerate(made):
        below = store.view(ids[:place])
        inventory = store.layers.inventories.get(line.diff_id)
        added = changed = removed = wasted = 0
        for entry in inventory:
            old = below.entry(entry.path)
            if entry.kind != WHITEOUT and not entry.implied:
                added += old is None
                changed += old is not None and differs(old, entry)
            for gone in _hidden_by(inventory, entry, old, below):
                size = gone.size if gone.kind == FILE and not gone.link else 0
                removed += gone.path != entry.path or entry.kind == WHITEOUT
                wasted += size
                if size:
                    total, times = hidden.get(gone.path, (0, 0))
                    hidden[gone.path] = total + size, times + 1
        reports.append(
            LayerReport(line.diff_id, line.created_by, line.size, disk[line.diff_id], added, changed, removed, wasted)
        )
    files = [
        LargeFile(entry.path, entry.size, place)
        for place, diff_id in enumerate(ids)
        for entry in store.layers.inventories.get(diff_id)
        if entry.kind == FILE
    ]
    files.sort(key=lambda file: (-file.size, file.path, file.layer))
    waste = sorted((Hidden(path, *numbers) for path, numbers in hidden.items()), key=lambda one: (-one.bytes, one.path))
    return LayersReport(reports, files[:most], waste[:most])


def differs(old: Entry, new: Entry) -> bool:
    """Whether two entries of one path differ in more than times."""
    return _essence(old) != _essence(new)


def below_path(view: MergedView, path: str) -> Iterator[Entry]:
    """Give `path` and everything in it, parents first."""
    todo = [path]
    while todo:
        at = todo.pop()
        entry = view.entry(at)
        if entry is None:
            continue
        yield entry
        if entry.kind == DIR:
            prefix = f"{at}/" if at else ""
            todo += (prefix + name for name in reversed(view.names(at)))


def _hidden_by(inventory: Inventory, entry: Entry, old: Entry | None, below: MergedView) -> Iterator[Entry]:
    """Give what an entry of a layer hides of the layers below."""
    if old is None:
        return
    if entry.kind != DIR:
        yield from below_path(below, entry.path)
    elif old.kind != DIR:
        yield old
    elif entry.opaque:
        for inner in below_path(below, entry.path):
            if inventory.get(inner.path) is None:
                yield inner


def _essence(entry: Entry) -> tuple[object, ...]:
    """Return the parts of an entry that matter: of a file its bytes, however many names it has."""
    return (
        "file" if entry.kind == "hardlink" else entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.digest,
        entry.link if entry.kind == "symlink" else "",
        entry.device,
        entry.xattrs,
    )
