"""Differences between two images: files by the merged views, configs by their properties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py import meter
from buildah_py.layers.entry import DIR, FILE, SECOND, SYMLINK, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.image.config import ImageConfig
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import Tree

ADDED: Final = "A"
CHANGED: Final = "C"
DELETED: Final = "D"


class Change(NamedTuple):
    """A path that differs. `what` names the properties: each with its value before and now, as people write them."""

    kind: str
    path: str
    what: dict[str, tuple[str, str]]


class Property(NamedTuple):
    """A property of the config that differs; None where it is not set."""

    name: str
    before: Any
    now: Any


_PROPERTIES: Final[tuple[tuple[str, Callable[[Entry], object]], ...]] = (
    ("kind", lambda entry: entry.kind),
    ("mode", lambda entry: f"{entry.mode:04o}" if entry.kind != SYMLINK else ""),
    ("owner", lambda entry: f"{entry.uid}:{entry.gid}"),
    ("size", lambda entry: entry.size if entry.kind == FILE else 0),
    ("content", lambda entry: entry.digest),
    ("target", lambda entry: entry.link if entry.kind == SYMLINK else ""),
    ("device", lambda entry: f"{entry.device[0]}:{entry.device[1]}"),
    ("xattrs", lambda entry: ",".join(f"{name}={value.hex()}" for name, value in entry.xattrs)),
)


def compare_files(before: Tree, now: Tree, *, times: bool = False) -> Iterator[Change]:
    """Give the paths that differ, in order; with `times`, files that differ in nothing but their mtime too."""
    with meter.start("comparing files", 0, meter.ITEMS) as moved:
        yield from _compare_files(before, now, moved, times=times)


def _compare_files(before: Tree, now: Tree, moved: meter.Meter, *, times: bool) -> Iterator[Change]:
    todo = [""]
    while todo:
        path = todo.pop()
        moved.add(1)
        old, new = before.entry(path), now.entry(path)
        if old is None or new is None:
            if old is not new:
                yield Change(ADDED if old is None else DELETED, path, {})
        elif what := _differences(old, new, times=times):
            yield Change(CHANGED, path, what)
        names: set[str] = set()
        for tree, entry in ((before, old), (now, new)):
            if entry is not None and entry.kind == DIR:
                names.update(tree.names(path))
        prefix = f"{path}/" if path else ""
        todo += (prefix + name for name in sorted(names, key=sort_key, reverse=True))


def compare_configs(before: ImageConfig, now: ImageConfig, *, times: bool = False) -> list[Property]:
    """List the properties that differ, variables and labels one by one; with `times` also the times of creation.

    Layers and who made them are not properties: files tell of the ones, histories of the others.
    """
    old, new = (dict(_flat(config, times=times)) for config in (before, now))
    return [
        Property(name, old.get(name), new.get(name))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _differences(old: Entry, new: Entry, *, times: bool) -> dict[str, tuple[str, str]]:
    found = {}
    for name, read in _PROPERTIES:
        was, is_now = read(old), read(new)
        if was != is_now:
            found[name] = (str(was), str(is_now))
    if times and old.kind == FILE == new.kind and old.mtime // SECOND != new.mtime // SECOND:
        from buildah_py.image.timestamp import to_text

        found["mtime"] = (to_text(old.mtime), to_text(new.mtime))
    return found


def _flat(config: ImageConfig, *, times: bool) -> Iterator[tuple[str, Any]]:
    raw = config.to_dict()
    for name, value in raw.items():
        if name in ("config", "rootfs", "history") or (name == "created" and not times):
            continue
        yield name, value
    container = raw["config"]
    for name, value in container.items():
        if name not in ("Env", "Labels"):
            yield name, value
    for name, value in config.environment().items():
        yield f"Env {name}", value
    for name, value in config.labels.items():
        yield f"Label {name}", value
    if times:
        yield "History", [item._asdict() for item in config.history]
