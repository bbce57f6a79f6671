"""A manifest or an index as a registry gives it: bytes, which are what its digest is of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from buildah_py.image.descriptor import Descriptor


class RawManifest(NamedTuple):
    """`data` has the digest and the size that `descriptor` says; its media type is a manifest's or an index's."""

    descriptor: Descriptor
    data: bytes
