"""Blobs in the content-addressable storage of a server, and what that server can."""

from __future__ import annotations

import io
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py.errors import CacheError
from buildah_py.image import media_types
from buildah_py.sharing.reapi import messages
from buildah_py.sharing.reapi.calls import MESSAGE
from buildah_py.sharing.reapi.faults import of_status
from buildah_py.sharing.reapi.messages import classes
from buildah_py.sharing.reapi.streams import BlobReading, Resource, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.image.blob import Stream
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open
    from buildah_py.sharing.reapi.calls import Calls

LARGEST: Final = (1 << 63) - 1
"""Bytes of the largest blob that the protocol can name."""
_SMALL: Final = 1 << 20
"""Bytes from which on a blob is carried as a stream."""
_OVERHEAD: Final = 4096
"""Bytes of a message that are no blob's."""
_AT_ONCE: Final = 4000
"""Digests in one question."""


class Abilities(NamedTuple):
    """Limits and extras of a server: bytes of blobs in one message, whether results may be updated, zstd."""

    batch: int
    writable: bool
    zstd: bool


class Storage:
    """The storage that `calls` lead to. Raises CacheError; Refused where the server says why not."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._name = calls.name
        self._lock = threading.Lock()
        self._known: Abilities | None = None

    def abilities(self) -> Abilities:
        """Give what the server can; it is asked once."""
        with self._lock:
            if self._known is None:
                self._known = self._ask()
            return self._known

    def _ask(self) -> Abilities:
        request = classes()["GetCapabilitiesRequest"](instance_name=self._calls.server.instance)
        answer = self._calls.ask(messages.CAPABILITIES, request)
        if not answer.HasField("cache_capabilities"):
            raise CacheError(f"{self._name}: the server keeps no cache")
        low, high = answer.low_api_version, answer.high_api_version
        if high.major and not low.major <= 2 <= high.major:
            raise CacheError(f"{self._name}: the server speaks versions {low.major} to {high.major} of the API, not 2")
        cache = answer.cache_capabilities
        if messages.SHA256 not in cache.digest_functions:
            raise CacheError(f"{self._name}: the server has no digests by SHA-256", hint="blobs of images have those")
        most = cache.max_batch_total_size_bytes or MESSAGE
        return Abilities(
            batch=max(0, min(most, MESSAGE) - _OVERHEAD),
            writable=cache.action_cache_update_capabilities.update_enabled,
            zstd=messages.ZSTD in cache.supported_compressors,
        )

    def _small(self) -> int:
        return min(self.abilities().batch, _SMALL)

    def _blob(self, blob: Descriptor) -> Resource:
        """Name a blob; one that is not compressed already is carried compressed where that can be."""
        self._sha256(blob)
        plain = media_types.compression_of(blob.media_type) == media_types.UNCOMPRESSED
        return Resource(blob.digest[7:], blob.size, zstd=plain and self.abilities().zstd)

    def _sha256(self, blob: Descriptor) -> Descriptor:
        if not blob.digest.startswith("sha256:"):
            raise CacheError(f"{self._name}: {blob.digest} is not a digest by SHA-256, and others are not kept there")
        if not 0 <= blob.size <= LARGEST:
            raise CacheError(f"{self._name}: the blob {blob.digest} cannot have {blob.size} bytes")
        return blob

    def open(self, blob: Descriptor) -> Stream:
        """Open a blob. Raises Refused where it is not there."""
        name = self._blob(blob)
        if not name.size:
            return io.BytesIO()
        if name.size <= self._small():
            return io.BytesIO(self._read_small(name))
        reading = BlobReading(self._calls, name)
        reading.open()
        return reading

    def missing(self, blobs: Sequence[Descriptor]) -> set[str]:
        """Give the digests of the blobs that are not there."""
        known = classes()
        missing = set()
        for start in range(0, len(blobs), _AT_ONCE):
            request = known["FindMissingBlobsRequest"](instance_name=self._calls.server.instance)
            request.blob_digests.extend(digest_message(self._sha256(one)) for one in blobs[start : start + _AT_ONCE])
            answer = self._calls.ask(messages.FIND_MISSING, request)
            missing |= {f"sha256:{one.hash}" for one in answer.missing_blob_digests}
        return missing & {one.digest for one in blobs if one.size}

    def put(self, blob: Descriptor, source: Open) -> None:
        """Send a blob, whether it is there or not."""
        name = self._blob(blob)
        if not name.size:
            return
        if name.size <= self._small():
            with source() as file:
                self._send_small([(blob, file.read())])
        else:
            write(self._calls, name, source)

    def _read_small(self, blob: Resource) -> bytes:
        known = classes()
        wanted = known["Digest"](hash=blob.hash, size_bytes=blob.size)
        request = known["BatchReadBlobsRequest"](instance_name=self._calls.server.instance, digests=[wanted])

        def attempt() -> bytes:
            answer = self._calls.ask_once(messages.BATCH_READ, request)
            found = next((one for one in answer.responses if one.digest == wanted), None)
            if found is None:
                raise CacheError(f"{self._name}: the server says nothing of the blob sha256:{blob.hash}")
            self._check_status(messages.BATCH_READ, found.status)
            if found.compressor != messages.IDENTITY:
                raise CacheError(f"{self._name}: the blob sha256:{blob.hash} comes compressed, which nobody asked for")
            return bytes(found.data)

        return self._calls.retries(messages.BATCH_READ).run(attempt)

    def send(self, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Send what is missing of small blobs."""
        missing = self.missing([blob for blob, _ in blobs])
        left = {blob.digest: (blob, data) for blob, data in blobs if blob.digest in missing}
        small = self._small()
        self._send_small([one for one in left.values() if len(one[1]) <= small])
        for blob, data in left.values():
            if len(data) > small:
                write(self._calls, self._blob(blob), partial(io.BytesIO, data))

    def _send_small(self, blobs: Iterable[tuple[Descriptor, bytes]]) -> None:
        for batch in _batches(blobs, self.abilities().batch):
            self._send_batch(batch)

    def _send_batch(self, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        known = classes()
        part = known["BatchUpdateBlobsRequest_Request"]
        request = known["BatchUpdateBlobsRequest"](
            instance_name=self._calls.server.instance,
            requests=[part(digest=digest_message(self._sha256(blob)), data=data) for blob, data in blobs],
        )

        def attempt() -> None:
            answer = self._calls.ask_once(messages.BATCH_UPDATE, request, self._calls.policy.commit)
            said = {one.digest.hash: one.status for one in answer.responses}
            for blob, _ in blobs:
                if blob.digest[7:] not in said:
                    raise CacheError(f"{self._name}: the server says nothing of the blob {blob.digest}")
                self._check_status(messages.BATCH_UPDATE, said[blob.digest[7:]])

        self._calls.retries(messages.BATCH_UPDATE).run(attempt)

    def _check_status(self, method: messages.Method, status: Any) -> None:
        """Raise what a status in an answer means, unless it is a good one."""
        if not status.code:
            return
        import grpc

        name = next((one.name for one in grpc.StatusCode if one.value[0] == status.code), f"code {status.code}")
        failure = of_status(name, status.message, f"{self._name}: {method.name}", self._calls.server.host)
        raise failure


def digest_message(blob: Descriptor) -> Any:
    """Write a digest as the protocol has it."""
    return classes()["Digest"](hash=blob.digest[7:], size_bytes=blob.size)


def _batches(blobs: Iterable[tuple[Descriptor, bytes]], most: int) -> Iterator[list[tuple[Descriptor, bytes]]]:
    """Put blobs together to messages of at most `most` bytes."""
    batch: list[tuple[Descriptor, bytes]] = []
    size = 0
    for one in blobs:
        if batch and size + len(one[1]) > most:
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one[1])
    if batch:
        yield batch
