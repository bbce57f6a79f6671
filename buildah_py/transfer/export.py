"""An image of the store on its way out: its config as it will be written, its layers in the form that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import NotFound
from buildah_py.frozen import replace
from buildah_py.image import config as image_config
from buildah_py.image import descriptor as descriptors
from buildah_py.image import manifest as manifests
from buildah_py.image import media_types
from buildah_py.outputs.assembled import Assembled, assemble
from buildah_py.store.names import find_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.outputs.annotations import Annotations
    from buildah_py.outputs.clamp import Clamp
    from buildah_py.outputs.layer_source import Blob, LayerSource
    from buildah_py.store import Store
    from buildah_py.transfer.layer_blobs import LayerBlobs


class ImageExport:
    """One image for one output. `raw` is the config as it was pulled, if it was; `clamp` changes times on the way.

    `oci` says which media types are asked for, None if either will do for an image that came from elsewhere.
    """

    def __init__(
        self,
        store: Store,
        config: ImageConfig,
        blobs: LayerBlobs,
        *,
        raw: bytes = b"",
        annotations: Annotations,
        clamp: Clamp | None = None,
        oci: bool | None = None,
    ) -> None:
        self._store = store
        self._annotations = annotations
        self._oci = oci
        self._changed: dict[str, LayerSource] = {}
        self.blobs = blobs
        self.config = config
        self.config_bytes = raw or config.to_bytes()
        if clamp is not None:
            self._clamp(clamp)
        self.diff_ids = self.config.diff_ids

    def sources(self) -> list[LayerSource]:
        """All layers, lowest first, for an output that needs their bytes."""
        return [self.source(diff_id) for diff_id in self.diff_ids]

    def source(self, diff_id: str) -> LayerSource:
        """One layer, for an output that needs its bytes."""
        return self._changed.get(diff_id) or self.blobs.source(diff_id)

    def descriptor(self, diff_id: str) -> Descriptor | None:
        """Return the descriptor of the blob that a layer will be sent as, where it is known already."""
        return None if diff_id in self._changed else self.blobs.descriptor(diff_id)

    def uncompressed_or_known(self, diff_id: str) -> Descriptor | None:
        """Return a layer's descriptor where only its digest counts: that of `descriptor`, or of an uncompressed tar."""
        from buildah_py.image.descriptor import Descriptor

        known = self.descriptor(diff_id)
        layer = self._store.layers.get(diff_id)
        if known is None and self.blobs.form.compression == media_types.UNCOMPRESSED:
            size = layer.size if layer is not None and not layer.absent else 0
            return Descriptor(media_types.OCI_LAYER, diff_id, size) if size else None
        return known

    def make(self, diff_ids: Sequence[str]) -> Iterator[Blob]:
        """Give layers in the form that is asked for, compressed if need be."""
        return self.blobs.make([self.source(diff_id) for diff_id in diff_ids])

    def blob(self, diff_id: str) -> Blob:
        """Return a layer that need not be compressed; it is fetched where it is not in the store."""
        blob = self.blobs.known(diff_id)
        if blob is None:
            source = self.source(diff_id)
            blob = source.blobs[0] if source.blobs else next(self.blobs.make([source]))
        return blob

    def assembled(self, layers: Sequence[Descriptor]) -> Assembled:
        """Return the image's metadata, byte by byte as a registry gave it where nothing of it changes."""
        docker = self.blobs.form.docker_types
        made = assemble(self.config, layers, docker_types=docker, annotations=self._annotations, raw=self.config_bytes)
        if self._annotations or self._changed:
            return made
        for known in self._store.images.repo_digests(made.manifest.config.digest):
            fits = self._oci is None or known.media_type == made.own.media_type
            if not known.data or not fits:
                continue
            original = manifests.from_bytes(known.data, media_type=known.media_type)
            if [one.digest for one in original.layers] == [one.digest for one in layers]:
                own = made.own._replace(media_type=known.media_type, digest=known.digest, size=len(known.data))
                return replace(made, manifest=original, manifest_bytes=known.data, own=own, top=own)
        return made

    def remember(self, name: str, assembled: Assembled) -> None:
        """Have the store know that a repository (`registry/path`) has the image now, and its layers."""
        from buildah_py.store import Origin
        from buildah_py.store.images import RepoDigest

        config, own, sent = assembled.manifest.config.digest, assembled.own, assembled.manifest_bytes
        origins = {
            diff_id: Origin("registry", name, layer.digest, layer.media_type, layer.size)
            for diff_id, layer in zip(self.diff_ids, assembled.manifest.layers, strict=True)
        }
        came = any(one.data == sent for one in self._store.images.repo_digests(config))
        self._store.note_pushed(config, origins, RepoDigest(name, own.digest, own.media_type, sent if came else b""))

    def remember_index(self, name: str, top: Descriptor) -> None:
        """Have the store know that a repository has the image in an index."""
        from buildah_py.store.images import RepoDigest

        config = descriptors.of("", self.config_bytes).digest
        self._store.note_pushed(config, {}, RepoDigest(name, top.digest, top.media_type))

    def _clamp(self, clamp: Clamp) -> None:
        from buildah_py.outputs.clamp import clamp_layers

        self.config, self._changed = clamp_layers(self._store, self.config, clamp)
        if self._changed:
            self.config_bytes = self.config.to_bytes()


def manifest_bytes(store: Store, name: str) -> bytes:
    """Return the manifest that an image came with from a registry, or that it would be written with.

    Raises NotFound where that is not known yet, for a manifest names compressed layers.
    """
    from buildah_py.outputs.annotations import Annotations
    from buildah_py.transfer.export import ImageExport
    from buildah_py.transfer.layer_blobs import Form, LayerBlobs

    image = find_image(store, name)
    for known in store.images.repo_digests(image.id):
        if known.data:
            return known.data
    config = image_config.from_bytes(image.config, f"the config of {name}")
    outgoing = ImageExport(store, config, LayerBlobs(store, Form()), raw=image.config, annotations=Annotations())
    layers = [outgoing.descriptor(diff_id) for diff_id in config.diff_ids]
    if None in layers:
        raise NotFound(
            f"the image `{name}` has no manifest yet: its layers have not been compressed",
            hint="push it, or write it somewhere with --output",
        )
    return outgoing.assembled([one for one in layers if one is not None]).manifest_bytes
