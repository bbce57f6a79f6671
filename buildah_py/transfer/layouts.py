"""OCI layouts, directories with blobs and an index (image-layout.md), as places that images come from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.errors import ArchiveError, ImageError, NotFound
from buildah_py.image import canonical, digest, media_types
from buildah_py.image import index as indexes
from buildah_py.image.index import CONTAINERD_NAME, DOCKER_REFERENCE_TYPE, REF_NAME

if TYPE_CHECKING:
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.index import Index


class LayoutPlace:
    """The layout in the directory `path`."""

    kind = "layout"

    def __init__(self, path: str) -> None:
        self.location = os.path.realpath(path)
        if not os.path.isdir(path):
            raise NotFound(f"there is no directory {path}", hint="an OCI layout is a directory with an index.json")
        if not os.path.isfile(os.path.join(path, "index.json")):
            raise NotFound(f"{path} is not an OCI layout: it has no index.json")

    def index(self) -> Index:
        """Read the layout's index."""
        path = os.path.join(self.location, "index.json")
        with open(path, "rb") as file:
            return indexes.from_bytes(file.read(canonical.MAX_BYTES + 1), what=path)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Give a manifest or an index."""
        return self.small(descriptor)

    def small(self, descriptor: Descriptor) -> bytes:
        """Give a blob that is not a layer, verified. Raises ArchiveError."""
        path = os.path.join(self.location, "blobs", *digest.split(descriptor.digest))
        try:
            with open(path, "rb") as file:
                data = file.read(canonical.MAX_BYTES + 1)
        except OSError as error:
            raise ArchiveError(f"the layout {self.location} lacks {descriptor.digest}: {error.strerror}") from error
        if len(data) != descriptor.size or digest.hash_of(descriptor.digest, data) != descriptor.digest:
            raise ArchiveError(f"the layout {self.location} is damaged: {descriptor.digest} is not what it says")
        return data

    def choose(self, tag: str, wanted: str) -> Descriptor:
        """Find what a tag or a digest names, or the only image where both are "". Raises NotFound, ImageError."""
        images = [one for one in self.index().manifests if DOCKER_REFERENCE_TYPE not in one.annotations]
        for one in images:
            if one.media_type not in media_types.INDEXES | media_types.MANIFESTS:
                raise ImageError(f"the layout {self.location} holds {one.media_type}, which pybuild does not know")
        if wanted:
            found = [one for one in images if one.digest == wanted]
        elif tag:
            found = [one for one in images if tag in (one.annotations.get(REF_NAME), _tag(one))]
        else:
            found = images
            if len({one.digest for one in images}) > 1:
                found = [one for one in images if "latest" in (one.annotations.get(REF_NAME), _tag(one))]
        if found:
            return found[0]
        names = sorted({one.annotations.get(REF_NAME) or one.digest for one in images})
        raise NotFound(
            f"the layout {self.location} has no image `{wanted or tag or 'latest'}`",
            hint=f"it has {', '.join(names)}" if names else "it is empty",
        )


def split_layout(text: str) -> tuple[str, str, str]:
    """Split `PATH[:TAG][@DIGEST]` into path, tag and digest; behind a digest, the tag is for people."""
    path, at, wanted = text.rpartition("@")
    if at and digest.is_digest(wanted):
        path, tag, _ = split_layout(path)
        return path, tag, wanted
    path, colon, tag = text.rpartition(":")
    if colon and "/" not in tag and not os.path.isdir(text):
        return path, tag, ""
    return text, "", ""


def _tag(descriptor: Descriptor) -> str:
    """Return the tag of a whole name that containerd's tools write down."""
    name = descriptor.annotations.get(CONTAINERD_NAME, "")
    return name.rpartition(":")[2] if ":" in name.rpartition("/")[2] else ""
