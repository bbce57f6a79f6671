"""Write an image as an OCI layout (image-layout.md): a tar or a directory, with Docker's manifest.json if asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from buildah_py.errors import OutputError, UsageError
from buildah_py.image import canonical, media_types, reference
from buildah_py.image.descriptor import Descriptor
from buildah_py.image.digest import sha256_of
from buildah_py.image.index import CONTAINERD_NAME, CREATED, REF_NAME, Index
from buildah_py.outputs import compress, target
from buildah_py.outputs.annotations import Annotations
from buildah_py.outputs.archive import TarLayout, blob_name
from buildah_py.outputs.assembled import assemble
from buildah_py.outputs.directory import DirectoryLayout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.manifest import Manifest
    from buildah_py.image.reference import Reference
    from buildah_py.outputs.assembled import Assembled
    from buildah_py.outputs.layer_source import Blob, LayerSource

    Keep = Callable[[LayerSource, Iterable[bytes]], Blob]
    """Writes the compressed bytes of a layer to a file."""

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Written(NamedTuple):
    """Descriptor of an image that was written (of its manifest, or of an index around that), and the manifest."""

    descriptor: Descriptor
    manifest: Manifest


class _Layout(Protocol):
    def add(self, name: str, data: bytes, /) -> None: ...

    def add_file(self, name: str, path: str, size: int, /) -> None: ...

    def add_blob(self, pieces: Iterable[bytes], known: str, size: int, /) -> tuple[str, int]: ...


def write_oci(
    dest: str,
    config: ImageConfig,
    layers: Sequence[LayerSource],
    *,
    names: Sequence[str] = (),
    tar: bool = True,
    compression: str = media_types.GZIP,
    level: int | None = None,
    force: bool = False,
    annotations: Annotations | None = None,
    assembled: Callable[[Sequence[Descriptor]], Assembled] | None = None,
    keep: Keep | None = None,
    omit: Mapping[str, Descriptor] | None = None,
    docker: bool = False,
    oci_media_types: bool = True,
    threads: int = 0,
    scratch: str | None = None,
    stdout: int = 1,
) -> Written:
    """Write the image to the tar file `dest` (`-`: to `stdout`), or with `tar=False` to the directory `dest`.

    `names` are references; each becomes a descriptor in the index, so that `skopeo`, `podman` and `docker` find it.
    With `docker` a manifest.json lets every `docker load` read it; without `oci_media_types` the media types are
    Docker's. A layer that has a blob of that `compression` is copied, and so is one as it came from elsewhere unless
    `force` is given; any other is packed and compressed, and `keep` is told the bytes and gives the blob that is
    copied. `assembled` makes the metadata of the layers' descriptors, otherwise it is that of `config` and
    `annotations`. Layers in `omit` are described and left out, for whoever has them. `scratch` is where blobs wait that
    go to a pipe. `dest` is whole or not there. Raises OutputError that names it.
    """
    if not oci_media_types and (compression == media_types.ZSTD or annotations):
        what = "layers compressed with zstd" if compression == media_types.ZSTD else "annotations"
        raise UsageError(f"Docker's media types know no {what}", hint="leave out oci-mediatypes=false")
    assembled = assembled or partial(
        assemble, config, docker_types=not oci_media_types, annotations=annotations or Annotations()
    )
    written = write_oci_images(
        dest,
        [LayoutImage(config, layers, assembled)],
        names=names,
        tar=tar,
        compression=compression,
        level=level,
        force=force,
        keep=keep,
        omit=omit,
        docker=docker,
        oci_media_types=oci_media_types,
        threads=threads,
        scratch=scratch,
        stdout=stdout,
    )
    (image,) = written.images
    return Written(written.top, image.manifest)


class LayoutImage(NamedTuple):
    """One of the images that are written together; see `write_oci`."""

    config: ImageConfig
    layers: Sequence[LayerSource]
    assembled: Callable[[Sequence[Descriptor]], Assembled]


class Gathered(NamedTuple):
    """Index that images are called by together, and the bytes of all that this leads to beside them: an index first."""

    top: Descriptor
    blobs: tuple[bytes, ...] = ()


class WrittenImages(NamedTuple):
    """Images that were written, and what they are called by together."""

    images: tuple[Assembled, ...]
    top: Descriptor


def _alone(images: Sequence[Assembled]) -> Gathered:
    """Call an image by its own manifest, or the index around that."""
    (image,) = images
    return Gathered(image.top, () if image.index is None else (image.index.to_bytes(),))


def write_oci_images(
    dest: str,
    images: Sequence[LayoutImage],
    gather: Callable[[Sequence[Assembled]], Gathered] = _alone,
    *,
    names: Sequence[str] = (),
    tar: bool = True,
    compression: str = media_types.GZIP,
    level: int | None = None,
    force: bool = False,
    keep: Keep | None = None,
    omit: Mapping[str, Descriptor] | None = None,
    docker: bool = False,
    oci_media_types: bool = True,
    threads: int = 0,
    scratch: str | None = None,
    stdout: int = 1,
) -> WrittenImages:
    """Write several images, such as those of one index, as `write_oci` does one; `gather` makes what joins them.

    Only of one can there be a `docker` manifest.json.
    """
    compress.check(compression, level)
    for image in images:
        if tuple(layer.diff_id for layer in image.layers) != image.config.diff_ids:
            raise OutputError("the layers to be written are not those of the image's config")
    writer = _Writer(images, gather, [reference.parse(name).with_default_tag() for name in names])
    writer.compression, writer.level, writer.threads, writer.force = compression, level, threads, force
    writer.docker, writer.docker_types = docker, not oci_media_types
    writer.keep = keep
    writer.omit = omit or {}
    if not tar:
        if dest == target.STDOUT:
            raise UsageError("a directory cannot be written to the standard output", hint="leave out tar=false")
        with DirectoryLayout(dest) as directory:
            written = writer.write(directory, directory.existing())
            directory.finish()
        return written
    with target.opened(dest, stdout=stdout) as out:
        archive = TarLayout(out, dest, scratch=scratch)
        written = writer.write(archive, None)
        archive.finish()
    return written


class _Writer:
    """Images on their way to a layout."""

    compression: str
    level: int | None
    threads: int
    force: bool
    docker: bool
    docker_types: bool
    keep: Keep | None
    omit: Mapping[str, Descriptor]

    def __init__(
        self,
        images: Sequence[LayoutImage],
        gather: Callable[[Sequence[Assembled]], Gathered],
        names: Sequence[Reference],
    ) -> None:
        self._images = images
        self._gather = gather
        self._names = list(dict.fromkeys(names))
        self._written: dict[str, Descriptor] = {}

    def write(self, layout: _Layout, before: Index | None) -> WrittenImages:
        written = []
        for image in self._images:
            made = image.assembled(self._write_layers(layout, image.layers))
            layout.add(blob_name(made.manifest.config.digest), made.config)
            layout.add(blob_name(made.own.digest), made.manifest_bytes)
            written.append(made)
        top, blobs = self._gather(written)
        for data in blobs:
            layout.add(blob_name(sha256_of(data)), data)
        layout.add("oci-layout", _LAYOUT)
        if self.docker:
            layout.add("manifest.json", self._docker_manifest(written[0].manifest))
        # The index last: in a directory it is what makes the image appear.
        layout.add("index.json", Index((*self._others(before, top.digest), *self._entries(top))).to_bytes())
        return WrittenImages(tuple(written), top)

    def _write_layers(self, layout: _Layout, layers: Sequence[LayerSource]) -> tuple[Descriptor, ...]:
        """Copy or compress each layer once, even where an image has it twice, or several have it."""
        written = self._written
        missing = []
        for layer in {one.diff_id: one for one in layers}.values():
            if layer.diff_id in written:
                continue
            if layer.diff_id in self.omit:
                written[layer.diff_id] = self.omit[layer.diff_id]
                continue
            blob = choose_blob(layer.blobs, self.compression, force=self.force, docker_types=self.docker_types)
            if blob is None:
                missing.append(layer)
            else:
                layout.add_file(blob_name(blob.digest), blob.path, blob.size)
                kind = media_types.layer(blob.compression, docker=self.docker_types)
                written[layer.diff_id] = Descriptor(kind, blob.digest, blob.size)
        if missing:
            kind = media_types.layer(self.compression, docker=self.docker_types)
            with compress.LayerStreams(missing, self.compression, self.level, threads=self.threads) as streams:
                for layer in missing:
                    if self.keep is not None and self.compression != media_types.UNCOMPRESSED:
                        blob = self.keep(layer, streams.pieces())
                        layout.add_file(blob_name(blob.digest), blob.path, blob.size)
                        written[layer.diff_id] = Descriptor(kind, blob.digest, blob.size)
                        continue
                    # Uncompressed, a layer's bytes are what its diff_id was computed from, and is checked against.
                    known = layer.diff_id if self.compression == media_types.UNCOMPRESSED else ""
                    digest, size = layout.add_blob(streams.pieces(), known, layer.size)
                    written[layer.diff_id] = Descriptor(kind, digest, size)
        return tuple(written[layer.diff_id] for layer in layers)

    def _entries(self, own: Descriptor) -> list[Descriptor]:
        """Return the manifest's descriptor once for each name.

        A tag stands at the first of its kind, for tools that know only tags.
        """
        newest = max(image.config.created for image in self._images)
        created = {CREATED: newest} if newest else {}
        created |= own.annotations
        if not self._names:
            return [own._replace(annotations=created)]
        tags: set[str | None] = set()
        entries = []
        for name in self._names:
            called = {CONTAINERD_NAME: name.full}
            if name.tag and name.tag not in tags:
                called[REF_NAME] = name.tag
            tags.add(name.tag)
            entries.append(own._replace(annotations=created | called))
        return entries

    def _others(self, before: Index | None, digest: str) -> list[Descriptor]:
        """Return the images of an existing layout that are neither this one nor called as it is."""
        if before is None:
            return []
        full = {name.full for name in self._names}
        tags = {name.tag for name in self._names if name.tag}
        kept = []
        for other in before.manifests:
            tag, name = other.annotations.get(REF_NAME), other.annotations.get(CONTAINERD_NAME)
            nameless = name is None and tag is None
            if name in full or (name is None and tag in tags) or (nameless and other.digest == digest):
                continue
            if tag in tags:  # a tag names one image; the other one keeps its whole name
                rest = {key: value for key, value in other.annotations.items() if key != REF_NAME}
                kept.append(other._replace(annotations=rest))
            else:
                kept.append(other)
        return kept

    def _docker_manifest(self, manifest: Manifest) -> bytes:
        """Docker's manifest.json, whose names of files are those of the layout."""
        return canonical.to_bytes([
            {
                "Config": blob_name(manifest.config.digest),
                "RepoTags": [name.familiar for name in self._names if name.tag and not name.digest],
                "Layers": [blob_name(layer.digest) for layer in manifest.layers],
            }
        ])  # fmt: skip


def choose_blob(blobs: Iterable[Blob], compression: str, *, force: bool, docker_types: bool) -> Blob | None:
    """Return the blob that is fit for an output.

    That is one of that compression, else the layer as it came from elsewhere unless `force`d not to.
    """
    found = [blob for blob in blobs if blob.compression == compression]
    if not found and not force:
        found = [
            blob for blob in blobs if blob.original and not (docker_types and blob.compression == media_types.ZSTD)
        ]
    return max(found, key=lambda blob: blob.original, default=None)
