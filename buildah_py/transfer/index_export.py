"""Several images on their way out together: the index that joins them, with what is attested of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.image import descriptor as descriptors
from buildah_py.image import media_types
from buildah_py.image import reference as references
from buildah_py.image.index import Index
from buildah_py.image.purl import docker_purl
from buildah_py.outputs.annotations import Annotations
from buildah_py.outputs.attestation import Attached, attach

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.outputs.attestation import Predicate
    from buildah_py.transfer.export import ImageExport


class IndexedImage(NamedTuple):
    """An image with what is attested of it."""

    image: ImageExport
    predicates: tuple[Predicate, ...] = ()


class MadeIndex(NamedTuple):
    """An index as it is written: its descriptor and bytes, and the attestations that belong to it."""

    top: Descriptor
    data: bytes
    attached: tuple[Attached, ...]

    @property
    def blobs(self) -> tuple[bytes, ...]:
        """The bytes of all that is written beside the images."""
        inner = (data for one in self.attached for data in (one.manifest, *(blob for _, blob in one.blobs)))
        return (self.data, *inner)


class IndexExport:
    """Images that an index joins, for one output. `names` are what statements call them.

    `annotations` are those of the index and of its descriptor; `artifact` is that of `attach`.
    """

    def __init__(
        self,
        images: Sequence[IndexedImage],
        names: Sequence[str],
        *,
        annotations: Annotations | None = None,
        docker_types: bool = False,
        artifact: bool = False,
    ) -> None:
        self.images = _once(images)
        self._names = names
        self._annotations = annotations or Annotations()
        self._docker = docker_types
        self._artifact = artifact

    def make(self, images: Sequence[Descriptor]) -> MadeIndex:
        """Make the index of the images, whose manifests these descriptors describe, in their order."""
        attached = []
        for own, one in zip(images, self.images, strict=True):
            if one.predicates:
                names = [docker_purl(references.parse(name), own.platform) for name in self._names]
                attached.append(attach(own, one.predicates, names, artifact=self._artifact))
        kind = media_types.DOCKER_INDEX if self._docker else media_types.OCI_INDEX
        # As BuildKit has it, images come first: what reads an index only so far finds them.
        children = (*images, *(one.descriptor for one in attached))
        data = Index(children, self._annotations.index, kind).to_bytes()
        top = descriptors.of(kind, data)._replace(annotations=self._annotations.index_descriptor)
        return MadeIndex(top, data, tuple(attached))


def _once(images: Sequence[IndexedImage]) -> list[IndexedImage]:
    """Leave an image out that is there already."""
    found: dict[bytes, IndexedImage] = {}
    for one in images:
        found.setdefault(one.image.config_bytes, one)
    return list(found.values())
