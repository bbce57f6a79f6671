"""Send a cache to where `--cache-to` names: what is lacking there, the manifest last."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.image import descriptor
from buildah_py.sharing import artifact, records
from buildah_py.sharing.artifact import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Backend, Open
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.records import SharedLayer, SharedMount, SharedRecord

_THREADS = 4


class Content(NamedTuple):
    """Contents that a cache is to hold. `blobs` are what layers and cache mounts need; `kept` are there already."""

    records: Sequence[SharedRecord]
    layers: Sequence[SharedLayer]
    mounts: Sequence[SharedMount] = ()
    blobs: Sequence[Descriptor] = ()
    selections: Mapping[str, str] = {}
    kept: Sequence[Descriptor] = ()


class SentCache(NamedTuple):
    """How many blobs and bytes were sent, and how many blobs were there already."""

    blobs: int = 0
    bytes: int = 0
    known: int = 0


def send(backend: Backend, content: Content, source: Callable[[Descriptor], Open], sign: str = "") -> SentCache:
    """Send what `backend` lacks; `source` opens a blob that has to be sent. Raises CacheError, and what that raises."""
    text = artifact.compress(records.to_bytes(content.records, content.layers, content.mounts, content.selections))
    head = descriptor.of(artifact.RECORDS, text)
    config = artifact.write_config(head.digest, signatures(sign, head.digest))
    manifest = artifact.write_manifest(config, head, [*content.kept, *content.blobs])
    sent = send_blobs(backend, content.blobs, source)
    small = {head.digest: text, manifest.config.digest: config}
    sent_small = send_blobs(backend, (head, manifest.config), lambda blob: lambda: io.BytesIO(small[blob.digest]))
    data = manifest.to_bytes()
    backend.put_manifest(data)
    return SentCache(
        sent.blobs + sent_small.blobs, sent.bytes + sent_small.bytes + len(data), sent.known + sent_small.known
    )


def resend(
    cache: ImportedCache,
    mounts: Sequence[SharedMount],
    blobs: Sequence[Descriptor],
    source: Callable[[Descriptor], Open],
    sign: str = "",
) -> SentCache:
    """Give a cache other mounts, whose blobs these are; its records stay. Raises CacheError."""
    found, layers, selections = cache.all()
    kept = [layer.blob for layer in layers if layer.blob is not None]
    return send(cache.backend, Content(found, layers, mounts, [*kept, *blobs], selections), source, sign)


def inline(content: Content, sign: str = "") -> dict[str, object]:
    """Return the property of an image's config that carries the records; the layers are the image's."""
    import base64
    import json

    from buildah_py.image.digest import sha256_of

    layers = [layer._replace(blob=None) for layer in content.layers]
    text = artifact.compress(records.to_bytes(content.records, layers, (), content.selections))
    name = sha256_of(text)
    head: dict[str, object] = json.loads(artifact.write_config(name, signatures(sign, name)))
    return head | {"data": base64.b64encode(text).decode()}


def signatures(key_file: str, records_digest: str) -> list[Signature]:
    """Sign, where a key is given."""
    if not key_file:
        return []
    from buildah_py.sharing.signing import sign

    return [Signature(*sign(key_file, records_digest))]


def send_blobs(backend: Backend, blobs: Iterable[Descriptor], source: Callable[[Descriptor], Open]) -> SentCache:
    """Send blobs, several at once; those that are there are only counted."""
    from concurrent.futures import ThreadPoolExecutor

    def one(blob: Descriptor) -> bool:
        if backend.has(blob):
            moved.expect(-blob.size)
            return False
        open_blob, part = source(blob), moved.part()
        backend.put(blob, lambda: part.reading(open_blob()))
        return True

    unique = list({blob.digest: blob for blob in blobs}.values())
    size = sum(blob.size for blob in unique)
    with (
        meter.start(f"sending the cache to {backend.name}", size, waits=True) as moved,
        ThreadPoolExecutor(_THREADS, thread_name_prefix="cache-to") as pool,
    ):
        futures = [(blob, pool.submit(one, blob)) for blob in unique]
        try:
            sent = [blob.size for blob, future in futures if future.result()]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return SentCache(len(sent), sum(sent), len(unique) - len(sent))
