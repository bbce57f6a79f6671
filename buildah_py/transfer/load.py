"""`pybuild load`: images out of archives and OCI layouts, with all their layers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import ArchiveError, ImageError, NotFound, SourceError, UsageError
from buildah_py.image import canonical, media_types
from buildah_py.image import config as image_config
from buildah_py.image import digest as digests
from buildah_py.image import index as indexes
from buildah_py.image import platform as platforms
from buildah_py.image import reference as references
from buildah_py.image.canonical import loads
from buildah_py.image.index import CONTAINERD_NAME, DOCKER_REFERENCE_TYPE, REF_NAME
from buildah_py.layers.compression import detect
from buildah_py.store.names import full_name
from buildah_py.transfer.archives import ImageArchive
from buildah_py.transfer.ingest import ingest
from buildah_py.transfer.layouts import LayoutPlace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.index import Index
    from buildah_py.image.platform import Platform
    from buildah_py.store import Store


class Loaded(NamedTuple):
    """An image of the store now: its id, the full names that it got, and those of them that another image had."""

    id: str
    names: tuple[str, ...]
    taken: Mapping[str, str] = {}


def load(store: Store, source: str, *, name: str = "", platform: str = "") -> list[Loaded]:
    """Load all images of an archive (`-`: standard input), a directory with an OCI layout, or `PATH:TAG` of one.

    `name` is what the image is called instead of what the archive says; there has to be one image then. Raises
    SourceError, NotFound, ArchiveError, ImageError, UsageError.
    """
    wanted = platforms.parse(platform) if platform else platforms.host()
    path, _, tag = source.rpartition(":")
    if os.path.isdir(source):
        found = list(_load_layout(store, source, "", wanted))
    elif path and os.path.isdir(path):
        found = list(_load_layout(store, path, tag, wanted))
    else:
        found = list(_load_archive(store, _open(store, source), wanted))
    if not found:
        raise NotFound(f"{source} holds no image")
    if name:
        if len({one.id for one in found}) > 1:
            raise UsageError(f"{source} holds {len(found)} images, and they cannot all be called {name}")
        found = [Loaded(found[0].id, (full_name(name),))]
    for place, one in enumerate(found):
        image = store.images.raw(one.id)
        assert image is not None
        others = {full: other.id for full in one.names if (other := store.images.by_name(full)) is not None}
        found[place] = one._replace(taken={full: other for full, other in others.items() if other != one.id})
        with store.images.kept_if_whole(one.id):
            store.need(store.images.layers_of(one.id))
        store.images.put(one.id, image.config, (), one.names)
    store.make_durable()
    return found


def _open(store: Store, source: str) -> ImageArchive:
    directory = store.stage()
    if source == "-":
        if sys.stdin.isatty():
            raise UsageError(
                "an archive is not read from a terminal", hint="name a file with -i, or redirect the input"
            )
        return ImageArchive(sys.stdin.buffer, directory, "the standard input")
    try:
        with open(source, "rb", buffering=0) as file:
            return ImageArchive(file, directory, source, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise SourceError(f"{source}: there is no such file or directory") from error


def _load_layout(store: Store, path: str, tag: str, wanted: Platform) -> Iterator[Loaded]:
    place = LayoutPlace(path)
    index = place.index()
    if tag:
        index = index._replace(manifests=(place.choose(tag, ""),))
    for root, names in _images(index):
        data = place.manifest(root)
        admitted = ingest(store, place, root, data, wanted, f"the image {root.digest} in {path}")
        yield Loaded(admitted.id, names)


def _load_archive(store: Store, archive: ImageArchive, wanted: Platform) -> Iterator[Loaded]:
    """Docker's manifest.json tells most where it is there; else the archive is an OCI layout."""
    if "manifest.json" in archive:
        yield from _load_docker(store, archive)
        return
    place = _ArchivePlace(store, archive)
    index = indexes.from_bytes(archive.read("index.json"), what=f"index.json in {archive.name}")
    for root, names in _images(index):
        what = f"the image {root.digest} in {archive.name}"
        admitted = ingest(store, place, root, place.manifest(root), wanted, what)
        place.take_layers(admitted.config)
        yield Loaded(admitted.id, names)


def _images(index: Index) -> Iterator[tuple[Descriptor, tuple[str, ...]]]:
    """Give each image of a layout once, with all names that the index has for it."""
    found: dict[str, tuple[Descriptor, list[str]]] = {}
    for one in index.manifests:
        if DOCKER_REFERENCE_TYPE in one.annotations:
            continue
        names = found.setdefault(one.digest, (one, []))[1]
        name = one.annotations.get(CONTAINERD_NAME) or one.annotations.get(REF_NAME, "")
        # A tag alone, which is all that some tools write down, is not a name.
        if CONTAINERD_NAME in one.annotations or "/" in name or ":" in name:
            full = full_name(name)
            if full not in names:
                names.append(full)
    for root, names in found.values():
        yield root, tuple(names)


class _ArchivePlace:
    """An OCI layout in an archive, as a place that images come from: layers become blobs of the store."""

    kind = ""
    location = ""

    def __init__(self, store: Store, archive: ImageArchive) -> None:
        self._store = store
        self._archive = archive
        self._layers: list[Descriptor] = []

    def manifest(self, descriptor: Descriptor) -> bytes:
        data = self.small(descriptor)
        if "layers" in canonical.from_bytes(data, f"the manifest {descriptor.digest} in {self._archive.name}"):
            from buildah_py.image import manifest as manifests

            self._layers = list(manifests.from_bytes(data, media_type=descriptor.media_type).layers)
        return data

    def small(self, descriptor: Descriptor) -> bytes:
        path = self._path(descriptor.digest)
        data = self._archive.read(path)
        if digests.hash_of(descriptor.digest, data) != descriptor.digest or len(data) != descriptor.size:
            raise ArchiveError(f"{self._archive.name} is damaged: {path} is not what it says")
        return data

    def take_layers(self, config: ImageConfig) -> None:
        """Have the store keep the layers of the last manifest."""
        for diff_id, layer in dict(zip(config.diff_ids, self._layers, strict=True)).items():
            if not self._store.layers.missing([diff_id]) or self._store.blobs.get(layer.digest):
                continue
            path = self._path(layer.digest)
            file = self._archive.get(path)
            if file.digest != layer.digest and layer.digest.startswith("sha256:"):
                raise ArchiveError(f"{self._archive.name} is damaged: {path} has the digest {file.digest}")
            _keep(self._store, file.path, layer.digest, diff_id, layer.media_type, file.size)

    @staticmethod
    def _path(digest: str) -> str:
        return "/".join(("blobs", *digests.split(digest)))


def _load_docker(store: Store, archive: ImageArchive) -> Iterator[Loaded]:
    """Load what Docker's manifest.json lists (image-spec v1.2 of Docker)."""
    what = f"manifest.json in {archive.name}"
    try:
        images = loads(archive.read("manifest.json"))
        listed = [(str(one["Config"]), list(one.get("RepoTags") or ()), list(one["Layers"])) for one in images]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{what} cannot be read: {error}") from error
    for config_name, tags, layers in listed:
        data = archive.read(config_name)
        config = image_config.from_bytes(data, f"{config_name} in {archive.name}")
        if len(config.diff_ids) != len(layers):
            raise ImageError(f"{what} has {len(layers)} layers, and the config {len(config.diff_ids)}")
        image = digests.sha256_of(data)
        promised = {
            diff_id: (archive.get(str(name)).size, ()) for diff_id, name in zip(config.diff_ids, layers, strict=True)
        }
        store.promise_image(image, data, promised, config.diff_ids)
        for diff_id, name in dict(zip(config.diff_ids, layers, strict=True)).items():
            file = archive.get(str(name))
            if store.layers.missing([diff_id]) and not store.blobs.get(file.digest):
                _keep(store, file.path, file.digest, diff_id, _media_type(file.path), file.size)
        yield Loaded(image, tuple(references.parse(str(tag)).with_default_tag().full for tag in tags))


def _keep(store: Store, path: str, digest: str, diff_id: str, media_type: str, size: int) -> None:
    """Move a file of the archive into the store; another image of the archive may want it too."""
    moved = f"{path}.blob"
    os.link(path, moved)
    store.blobs.add(moved, digest, diff_id=diff_id, media_type=media_type, size=size)


def _media_type(path: str) -> str:
    with open(path, "rb") as file:
        compression = detect(file.read(6))
    known = {"": media_types.UNCOMPRESSED, "gzip": media_types.GZIP, "zstd": media_types.ZSTD}
    if compression not in known:
        raise ArchiveError(f"a layer is compressed with {compression}, which no image has")
    return media_types.layer(known[compression])
