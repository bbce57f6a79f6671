"""An image's metadata, put together of its config and its layers' descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.frozen import dataclass
from buildah_py.image import descriptor, media_types
from buildah_py.image.index import Index
from buildah_py.image.manifest import Manifest
from buildah_py.outputs.annotations import Annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.image.config import ImageConfig
    from buildah_py.image.descriptor import Descriptor


@dataclass(frozen=True, slots=True)
class Assembled:
    """Parts of an image that are written beside its layers.

    `own` is the manifest's descriptor with its platform. Where annotations want one, `index` holds nothing but that
    manifest. `top` describes what the image is called by: the index if there is one, else the manifest.
    """

    config: bytes
    manifest: Manifest
    manifest_bytes: bytes
    own: Descriptor
    index: Index | None
    top: Descriptor


def assemble(
    config: ImageConfig,
    layers: Sequence[Descriptor],
    *,
    docker_types: bool = False,
    annotations: Annotations | None = None,
    index: bool = False,
    raw: bytes = b"",
) -> Assembled:
    """Put an image's metadata together. `index` has an index made also where no annotation of one is given.

    `raw` are the config's bytes where others made them.
    """
    notes = annotations or Annotations()
    data = raw or config.to_bytes()
    kinds = (
        (media_types.DOCKER_CONFIG, media_types.DOCKER_MANIFEST, media_types.DOCKER_INDEX)
        if docker_types
        else (media_types.OCI_CONFIG, media_types.OCI_MANIFEST, media_types.OCI_INDEX)
    )
    manifest = Manifest(descriptor.of(kinds[0], data), tuple(layers), notes.manifest, kinds[1])
    own = manifest.descriptor()._replace(platform=config.platform)
    if not (index or notes.index or notes.index_descriptor):
        own = own._replace(annotations=notes.manifest_descriptor)
        return Assembled(data, manifest, manifest.to_bytes(), own, None, own)
    made = Index((own._replace(annotations=notes.manifest_descriptor),), notes.index, kinds[2])
    top = descriptor.of(kinds[2], made.to_bytes())._replace(annotations=notes.index_descriptor)
    return Assembled(data, manifest, manifest.to_bytes(), own, made, top)
