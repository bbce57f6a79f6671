"""A cache as an OCI artifact: an image manifest whose layers are the records, the layers and the cache mounts' packs.

The config, small JSON, names the records by digest and carries the signatures; its media type says the same as
`artifactType`, for registries that know only that. Nothing in the manifest is relied on but the two descriptors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import CacheError, ImageError
from buildah_py.image import canonical, descriptor, manifest
from buildah_py.image.manifest import Manifest
from buildah_py.sharing import records

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from buildah_py.image.descriptor import Descriptor

ARTIFACT: Final = "application/vnd.pybuild.cache.v1"
CONFIG: Final = "application/vnd.pybuild.cache.config.v1+json"
RECORDS: Final = "application/vnd.pybuild.cache.records.v1+zstd"
MOUNT: Final = "application/vnd.pybuild.cache.mount.v1+zstd"
PACK: Final = "application/vnd.pybuild.cache.pack.v1+zstd"
MAX_MANIFEST: Final = 4 << 20
MAX_RECORDS: Final = 1 << 26


class Signature(NamedTuple):
    """A public key and what its secret part made of the records' digest."""

    key: str
    signature: str


class Head(NamedTuple):
    """Contents of a config: the digest of the records, and who signed that."""

    records: str
    signatures: tuple[Signature, ...]


def write_config(records_digest: str, signatures: Iterable[Signature]) -> bytes:
    """Write the config."""
    signed = [{"key": one.key, "signature": one.signature} for one in signatures]
    return canonical.to_bytes({"format": 1, "records": records_digest, "signatures": signed})


def read_config(data: bytes, what: str) -> Head:
    """Read the config. Raises CacheError."""
    try:
        raw = canonical.from_bytes(data, what)
        if canonical.number(raw, "format", what) != 1:
            raise CacheError(f"{what} was written by another version of pybuild")
        signed = canonical.tables(raw, "signatures", what)[:64]
        signatures = tuple(
            Signature(canonical.text(one, "key", what), canonical.text(one, "signature", what)) for one in signed
        )
        return Head(canonical.text(raw, "records", what), signatures)
    except ImageError as error:
        raise CacheError(error.message) from error


def write_manifest(config: bytes, records_: Descriptor, blobs: Sequence[Descriptor]) -> Manifest:
    """Make the manifest; each blob stands in it once. Raises CacheError where it is larger than registries take."""
    unique = {one.digest: one for one in (records_, *blobs)}
    made = Manifest(descriptor.of(CONFIG, config), tuple(unique.values()), artifact_type=ARTIFACT)
    if len(made.to_bytes()) > MAX_MANIFEST:
        raise CacheError(
            f"the cache has {len(unique)} blobs, more than fit into a manifest", hint="mode=min exports fewer"
        )
    return made


def read_manifest(data: bytes, what: str) -> Manifest:
    """Read a manifest, of a cache or of an image. Raises CacheError."""
    if len(data) > MAX_MANIFEST:
        raise CacheError(f"{what}: the manifest is {len(data)} bytes long; more than {MAX_MANIFEST} are refused")
    try:
        return manifest.from_bytes(data, what=f"{what}: the manifest")
    except ImageError as error:
        raise CacheError(error.message) from error


def compress(text: bytes) -> bytes:
    """Compress records or a snapshot."""
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=6).compress(text))


def decompress(data: bytes, what: str, limit: int = records.MAX_BYTES) -> bytes:
    """Undo that, up to a size. Raises CacheError."""
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as stream:
            text = bytes(stream.read(limit + 1))
    except zstandard.ZstdError as error:
        raise CacheError(f"{what} is damaged: {error}") from error
    if len(text) > limit:
        raise CacheError(f"{what} is larger than {limit} bytes")
    return text
