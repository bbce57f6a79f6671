"""The media types of the OCI image specification, and those of Docker."""

from __future__ import annotations

from typing import Final

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"

DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"

UNCOMPRESSED: Final = "uncompressed"
GZIP: Final = "gzip"
ZSTD: Final = "zstd"
COMPRESSIONS: Final = (UNCOMPRESSED, GZIP, ZSTD)

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})

_OCI_LAYERS: Final = {UNCOMPRESSED: OCI_LAYER, GZIP: OCI_LAYER_GZIP, ZSTD: OCI_LAYER_ZSTD}
_DOCKER_LAYERS: Final = {UNCOMPRESSED: DOCKER_LAYER, GZIP: DOCKER_LAYER_GZIP, ZSTD: DOCKER_LAYER_ZSTD}
# Layers that were once not allowed to be passed on: `nondistributable` for OCI, `foreign` for Docker. Both are
# deprecated and are passed on like any other layer.
_NONDISTRIBUTABLE: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def layer(compression: str, *, docker: bool = False) -> str:
    """Return the media type of a layer that is compressed so: `uncompressed`, `gzip` or `zstd`."""
    return (_DOCKER_LAYERS if docker else _OCI_LAYERS)[compression]


def compression_of(media_type: str) -> str | None:
    """How a layer of this media type is compressed; None where the media type is not a file-system layer's."""
    ordinary = distributable(media_type)
    for names in (_OCI_LAYERS, _DOCKER_LAYERS):
        for compression, name in names.items():
            if name == ordinary:
                return compression
    return None


def is_nondistributable(media_type: str) -> bool:
    """Whether this is a layer that a registry may lack, so that it is fetched from the descriptor's URLs."""
    return media_type.startswith((_NONDISTRIBUTABLE, DOCKER_FOREIGN))


def distributable(media_type: str) -> str:
    """Return the ordinary media type of a foreign layer; every other media type as it is."""
    if media_type.startswith(_NONDISTRIBUTABLE):
        return OCI_LAYER + media_type.removeprefix(_NONDISTRIBUTABLE)
    if media_type.startswith(DOCKER_FOREIGN):
        return DOCKER_LAYER + media_type.removeprefix(DOCKER_FOREIGN)
    return media_type
