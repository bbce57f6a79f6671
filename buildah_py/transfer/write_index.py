"""Writing images for several platforms, or one with attestations, where `--output` asks for them: as one index."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import debug
from buildah_py.errors import NotFound, OutputError, UsageError
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.progress import events
from buildah_py.store.names import find_image, full_name
from buildah_py.transfer.write import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.layers.tree import Tree
    from buildah_py.outputs.assembled import Assembled
    from buildah_py.outputs.attestation import Predicate
    from buildah_py.outputs.clamp import Clamp
    from buildah_py.outputs.oci import Gathered
    from buildah_py.outputs.spec import Output
    from buildah_py.registry import Registry, RegistryOptions
    from buildah_py.store import Store, StoredImage
    from buildah_py.transfer.index_export import IndexExport


class PlatformImage(NamedTuple):
    """One of the images: the platform that it was asked for, and what Exporter takes."""

    platform: str
    config: ImageConfig
    raw: bytes = b""
    clamp: Clamp | None = None
    predicates: tuple[Predicate, ...] = ()


def stored_images(store: Store, name: str) -> list[PlatformImage]:
    """Return the images that a build has put under a name together; none where the name means one image.

    Raises NotFound where one of them is not whole.
    """
    from buildah_py.transfer.lists import listed

    try:
        full = full_name(name)
    except UsageError:
        return []
    if not store.manifest_lists.is_built(full):
        return []
    found = []
    for one in listed(store, full):
        image = store.images.by_id(one.id)
        if image is None:
            continue
        config = image_config.from_bytes(image.config, f"the config of {name} for {one.platform}")
        if not store.layers.use(config.diff_ids):
            raise NotFound(
                f"layers of the image `{name}` for {one.platform} are missing", hint="build it again, or push another"
            )
        found.append(PlatformImage(str(config.platform), config, image.config, predicates=one.predicates))
    return found


def image_for(store: Store, name: str, platform: str) -> StoredImage:
    """Return the image of a name for a platform, or without one what the name means. Raises NotFound, UsageError."""
    if not platform:
        return find_image(store, name)
    from buildah_py.transfer.pull import find_local

    wanted = platforms.asked_for(platform)
    found, suits = find_local(store, name, wanted)
    if found is None:
        return find_image(store, name)
    if not suits:
        there = [one.platform for one in stored_images(store, name)]
        own = there or [str(image_config.from_bytes(found.config, f"the config of {name}").platform)]
        raise NotFound(f"the image `{name}` is not there for {wanted}", hint=f"the store has it for {', '.join(own)}")
    return found


def only_one(name: str, images: Sequence[PlatformImage], taken: str, hint: str) -> str:
    """Say which image of several is taken where only one can be."""
    there = ", ".join(one.platform for one in images)
    return f"{name} is there for {there}: this takes one image, which is that for {taken}; {hint}"


class IndexExporter:
    """Writes images as one; a context manager, like Exporter.

    Outputs of files have a directory for each platform, and say what is attested in files of their own.
    """

    def __init__(
        self,
        store: Store,
        images: Sequence[PlatformImage],
        names: Sequence[str],
        *,
        registry: RegistryOptions,
        emit: Callable[[events.Event], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._images = images
        self._names = names
        self._emit = emit
        self._exporters = [
            Exporter(store, one.config, names, registry=lambda: registry, raw=one.raw, clamp=one.clamp, emit=emit)
            for one in images
        ]
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for one in self._exporters:
            self._open.enter_context(one)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def write(self, output: Output) -> Descriptor | None:
        """Write one output; what that calls the index by, None where it has no name for one.

        Raises OutputError naming its destination, RegistryError; nothing half-written is left there.
        """
        debug.log("output: %d images, type %s, destination %s", len(self._images), output.type, output.dest)
        if output.type == "cacheonly" or (output.type == "image" and not output.push):
            return None
        if output.type in ("tar", "local"):
            self._write_tree(output)
            return None
        if len(self._images) == 1 and not self._images[0].predicates:
            return self._exporters[0].write(output)
        if output.type == "docker":
            return self._write_one(output)
        if output.type == "image":
            from buildah_py.image import reference
            from buildah_py.transfer.push_index import push_index

            names = [reference.parse(name).with_default_tag() for name in output.names or self._names]
            registry = self.registry(output.insecure)
            return push_index(self._index(output), names, registry, by_digest=output.push_by_digest, emit=self._emit)
        return self._write_layout(output)

    @property
    def loaded(self) -> str:
        """The id that an engine has for one of the images, "" where none was loaded into one."""
        return next((one.loaded for one in self._exporters if one.loaded), "")

    def registry(self, insecure: bool | None) -> Registry:
        """Return the registries that outputs push to; `insecure` as an output says it."""
        return self._exporters[0].registry(insecure)

    def _write_one(self, output: Output) -> Descriptor | None:
        """Write the only image without what is attested of it."""
        if len(self._images) > 1:  # was refused before the build
            raise OutputError("type=docker holds an image for one platform", hint="use type=oci")
        self._emit(events.Warning("type=docker has no room for attestations: they are left out there"))
        return self._exporters[0].write(output)

    def _index(self, output: Output) -> IndexExport:
        from buildah_py.outputs.annotations import choose
        from buildah_py.transfer.index_export import IndexedImage, IndexExport

        images = [
            IndexedImage(exporter.outgoing(output, in_index=True), one.predicates)
            for one, exporter in zip(self._images, self._exporters, strict=True)
        ]
        return IndexExport(
            images,
            output.names or self._names,
            annotations=choose(output.annotations, self._images[0].config.platform),
            docker_types=output.oci_media_types is False,
            artifact=output.oci_artifact,
        )

    def _write_layout(self, output: Output) -> Descriptor:
        from buildah_py.outputs.oci import Gathered, LayoutImage, write_oci_images
        from buildah_py.transfer.layer_blobs import form_of

        assert output.dest
        index, form = self._index(output), form_of(output)

        def gather(images: Sequence[Assembled]) -> Gathered:
            made = index.make([one.own for one in images])
            return Gathered(made.top, made.blobs)

        return write_oci_images(
            output.dest,
            [LayoutImage(one.image.config, one.image.sources(), one.image.assembled) for one in index.images],
            gather,
            names=output.names or self._names,
            tar=output.tar,
            compression=form.compression,
            level=form.level,
            force=form.force,
            keep=index.images[0].image.blobs.keep,
            oci_media_types=not form.docker_types,
            threads=os.cpu_count() or 1,
            scratch=self._store.stage(),
        ).top

    def _write_tree(self, output: Output) -> None:
        from buildah_py.outputs.split import PlatformTree, platform_tree

        assert output.dest
        trees = [
            PlatformTree(one.platform, exporter.tree(), one.predicates)
            for one, exporter in zip(self._images, self._exporters, strict=True)
        ]
        clamp = self._images[0].clamp
        tree: Tree = platform_tree(
            trees,
            split=len(trees) > 1 if output.platform_split is None else output.platform_split,
            prefix=output.attestation_prefix,
            mtime=None if clamp is None else clamp.epoch,
        )
        if output.type == "tar":
            from buildah_py.outputs.tar import write_tar

            write_tar(output.dest, tree)
        else:
            from buildah_py.outputs.local import write_local

            write_local(
                output.dest,
                tree,
                delete=output.mode == "delete",
                warn=lambda text: self._emit(events.Warning(text)),
            )
