"""An image as the oracle sees it, and in what two of them differ."""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

from buildah_py.layers.entry import CHAR, DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.store import Store

ON_PURPOSE = 1_420_000_000
"""Times before that (seconds since 1970) were set by a command; later ones are arbitrary."""
LATER = ON_PURPOSE


class Image(NamedTuple):
    """What a build made: layers above that of `busybox`, the lowest first, and the config without what is arbitrary."""

    layers: tuple[tuple[Entry, ...], ...]
    config: dict[str, Any]


class Failure(NamedTuple):
    """How a build failed. It is `fault`y unless a command or the build file is to blame."""

    error: str
    fault: bool


Outcome = Image | Failure


def read_image(store: Store, image: str, base: int, *, epoch: int | None) -> Image:
    """Read an image of the store; its lowest `base` layers are left out."""
    stored = store.images.raw(image)
    assert stored is not None
    config = json.loads(stored.config)
    diff_ids = config["rootfs"]["diff_ids"]
    inventories = map(store.layers.inventories.get, diff_ids[base:])
    layers = (tuple(entry._replace(mtime=entry.mtime // SECOND) for entry in layer) for layer in inventories)
    return without_arbitrary(Image(tuple(layers), config), epoch=epoch)


def read_archive(path: str, base: int) -> Image:
    """Read an OCI archive, times as they are."""
    kinds = {b"0": FILE, b"1": HARDLINK, b"2": SYMLINK, b"3": CHAR, b"5": DIR, b"6": FIFO}
    with tarfile.open(path) as archive:

        def blob(descriptor: dict[str, Any]) -> Any:
            file = archive.extractfile(f"blobs/{descriptor['digest'].replace(':', '/')}")
            assert file is not None
            return file

        index = archive.extractfile("index.json")
        assert index is not None
        manifest = json.load(blob(json.load(index)["manifests"][0]))
        layers = []
        for descriptor in manifest["layers"][base:]:
            with tarfile.open(fileobj=blob(descriptor)) as layer:
                entries = []
                for member in layer:
                    name = member.name.removeprefix("./").strip("/")
                    directory, _, last = name.rpartition("/")
                    if last.startswith(".wh."):
                        entries.append(Entry(f"{directory}/{last[4:]}".lstrip("/"), WHITEOUT))
                        continue
                    file = layer.extractfile(member) if member.isreg() else None
                    digest = f"sha256:{hashlib.sha256(file.read()).hexdigest()}" if file else ""
                    xattrs = tuple(
                        (key.removeprefix("SCHILY.xattr."), value.encode("utf-8", "surrogateescape"))
                        for key, value in sorted(member.pax_headers.items())
                        if key.startswith("SCHILY.xattr.")
                    )
                    link = member.linkname if member.type in (b"1", b"2") else ""
                    device = (member.devmajor, member.devminor) if member.type == b"3" else (0, 0)
                    mode = 0o777 if member.issym() else member.mode & 0o7777
                    size = member.size if file else 0
                    times = int(member.mtime)
                    kind = kinds[member.type]
                    entries.append(
                        Entry(name, kind, mode, member.uid, member.gid, size, digest, link, device, xattrs, times)
                    )
                layers.append(tuple(entries))
        return Image(tuple(layers), json.load(blob(manifest["config"])))


def without_arbitrary(image: Image, *, epoch: int | None) -> Image:
    """Give an image with `LATER` for times that are arbitrary, and without those in a config that no epoch bounds."""
    layers = tuple(tuple(entry._replace(mtime=min(entry.mtime, LATER)) for entry in layer) for layer in image.layers)
    config = without_digests(image.config)
    if epoch is None:
        history = [{key: value for key, value in one.items() if key != "created"} for one in config.get("history", ())]
        config = {**{key: value for key, value in config.items() if key != "created"}, "history": history}
    return Image(layers, config)


def without_digests(config: dict[str, Any]) -> dict[str, Any]:
    """Give a config with how many layers there are instead of which."""
    return {**config, "rootfs": len(config["rootfs"]["diff_ids"])}


def differences(one: Outcome, other: Outcome, bottom: Sequence[Entry]) -> list[str]:
    """Say in what two outcomes differ, a line for each; `bottom` are the entries below the layers."""
    if isinstance(one, Failure) or isinstance(other, Failure):
        if isinstance(one, Failure) and isinstance(other, Failure):
            return []
        shown = [outcome.error if isinstance(outcome, Failure) else "fine" for outcome in (one, other)]
        return [f"build: {shown[0]} | {shown[1]}"]
    found = [
        f"config {key}: {one.config.get(key)} | {other.config.get(key)}"
        for key in sorted(one.config.keys() | other.config.keys())
        if one.config.get(key) != other.config.get(key)
    ]
    if one.layers == other.layers:
        return found
    if len(one.layers) != len(other.layers):
        return [*found, f"layers: {len(one.layers)} | {len(other.layers)}"]
    pairs = zip(_merged(bottom, one.layers), _merged(bottom, other.layers), strict=True)
    for number, (mine, theirs) in enumerate(pairs, 1):
        if mine != theirs:
            return found + [f"layer {number}: {line}" for line in compare(mine, theirs)]
    return found  # one of them has a file once more, as it was below


Files = dict[str, tuple[Entry, tuple[str, ...]]]


def merged(bottom: Sequence[Entry], image: Image) -> Files:
    """The whole file system: entries, and of files with several names all of these."""
    files: Files = {}
    for files in _merged(bottom, image.layers):  # noqa: B007 - the last one
        pass
    return files


def _merged(bottom: Sequence[Entry], layers: Sequence[Sequence[Entry]]) -> Iterator[Files]:
    """Give the file system after each layer."""
    found: dict[str, tuple[Entry, str]] = {entry.path: (entry, "") for entry in bottom}
    for number, layer in enumerate(layers):
        own = {entry.path: entry for entry in layer}
        for entry in layer:
            if entry.kind == WHITEOUT or entry.kind != DIR:
                for path in [path for path in found if path.startswith(f"{entry.path}/")]:
                    del found[path]
            if entry.kind == WHITEOUT:
                found.pop(entry.path, None)
            elif entry.kind == HARDLINK:
                found[entry.path] = own[entry.link]._replace(path=entry.path), f"{number} {entry.link}"
            else:
                found[entry.path] = entry, f"{number} {entry.path}"
        groups: dict[str, list[str]] = {}
        for path, (_, group) in found.items():
            if group:
                groups.setdefault(group, []).append(path)
        yield {
            path: (entry, tuple(sorted(groups[group])) if group and len(groups[group]) > 1 else ())
            for path, (entry, group) in found.items()
        }


def compare(one: Files, other: Files) -> Iterable[str]:
    """Say in what two file systems differ, a line for each path and field."""
    for path in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(path), other.get(path)
        if mine == theirs:
            continue
        if mine is None or theirs is None:
            yield f"/{path}: {_kind(mine)} | {_kind(theirs)}"
            continue
        for name, left, right in zip(Entry._fields, mine[0], theirs[0], strict=True):
            if left != right:
                yield f"/{path} {name}: {_show(name, left)} | {_show(name, right)}"
        if mine[1] != theirs[1]:
            yield f"/{path} names: {mine[1]} | {theirs[1]}"


def _kind(entry: tuple[Entry, tuple[str, ...]] | None) -> str:
    return entry[0].kind if entry else "absent"


def _show(name: str, value: object) -> object:
    if name == "mode" and isinstance(value, int):
        return oct(value)
    return "later" if name == "mtime" and value == LATER else value
