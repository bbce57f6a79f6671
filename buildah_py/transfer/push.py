"""Pushing an image: layers side by side, each as soon as it is compressed, and none that the registry has."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter
from buildah_py.errors import RegistryError, UsageError
from buildah_py.image import descriptor as descriptors
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.outputs.assembled import Assembled
    from buildah_py.outputs.layer_source import Blob
    from buildah_py.progress.events import Event
    from buildah_py.registry import Registry
    from buildah_py.transfer.export import ImageExport

MAX_AT_ONCE = 5
_IMMUTABLE: Final = re.compile(r"immutab|cannot be overwritten", re.IGNORECASE)
"""How registries say that a tag is there and may not be moved; the specification has no code for it."""


class Sent(NamedTuple):
    """How one blob came to be where it is: `exists`, `mounted` or `uploaded`."""

    how: str
    size: int


def push_image(
    image: ImageExport,
    references: Sequence[Reference],
    registry: Registry,
    *,
    by_digest: bool = False,
    emit: Callable[[Event], None] = lambda _: None,
) -> Descriptor:
    """Push an image under each of `references`, or `by_digest` under no tag; what it is called by there.

    Raises RegistryError; a tag is only moved when all that it leads to is there. One that may not be moved is warned of
    where the registry's options say that this is fine.
    """
    if not references:
        raise UsageError("an image is pushed under a name", hint="name it with -t, or with name= of the output")
    for reference in references:
        if reference.digest:
            raise UsageError(f"{reference} is pinned to a digest, which only its content decides", hint="name a tag")
    pushing = _Pushing(image, registry)
    for name in dict.fromkeys(reference.name for reference in references):
        same = [reference for reference in references if reference.name == name]
        with meter.start(f"pushing {same[0].familiar}", waits=True) as moved:
            sent = pushing.push_blobs(same[0], moved)
        assembled = pushing.assembled()
        for reference in [same[0]._replace(tag=None)] if by_digest else same:
            try:
                pushing.push_manifests(reference, assembled)
            except RegistryError as error:
                if not (registry.options.immutable_is_fine and _IMMUTABLE.search(error.message)):
                    raise
                emit(events.Warning(f"{reference.familiar} stays what it is: {error.message}"))
                continue
            emit(events.Note(f"pushed {reference.familiar}@{assembled.top.digest}: {_told(sent)}"))
        image.remember(name, assembled)
    return assembled.top


class _Pushing:
    """One image on its way to repositories of one or more registries."""

    def __init__(self, image: ImageExport, registry: Registry) -> None:
        self._image = image
        self._registry = registry
        self._made: dict[str, Blob] = {}
        self._is_there = False
        self._layers: dict[str, Descriptor | None] = {
            diff_id: image.descriptor(diff_id) for diff_id in dict.fromkeys(image.diff_ids)
        }

    def assembled(self) -> Assembled:
        return self._image.assembled([_known(self._layers[diff_id]) for diff_id in self._image.diff_ids])

    def push_blobs(self, reference: Reference, moved: meter.Meter) -> list[Sent]:
        """Bring config and layers into a repository; how each layer came there."""
        self._is_there = None not in self._layers.values() and self._has_manifest(reference)
        if self._is_there:
            return [Sent("exists", _known(layer).size) for layer in self._layers.values()]
        pool = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="push")
        try:
            known = {diff_id: layer for diff_id, layer in self._layers.items() if layer is not None}
            missing = [diff_id for diff_id in self._layers if diff_id not in known]
            moved.expect(sum(layer.size for layer in known.values()))
            futures = [pool.submit(self._push_layer, reference, diff_id, known[diff_id], moved) for diff_id in known]
            for diff_id, blob in zip(missing, self._image.make(missing), strict=True):
                self._made[diff_id] = blob
                self._layers[diff_id] = layer = self._image.blobs.describe(blob)
                moved.expect(layer.size)
                futures.append(pool.submit(self._push_layer, reference, diff_id, layer, moved))
            config = self._image.config_bytes
            own = descriptors.of("", config)
            last = pool.submit(self._registry.push_blob, reference, own, lambda: _memory(config))
            sent = [future.result() for future in futures]
            last.result()
        except BaseException:
            self._registry.close()  # whatever is being sent is not sent to its end
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()
        return sent

    def push_manifests(self, reference: Reference, assembled: Assembled) -> None:
        if assembled.index is not None:
            manifest = reference._replace(tag=None)
            self._registry.push_manifest(manifest, assembled.manifest_bytes, assembled.own.media_type)
            self._registry.push_manifest(reference, assembled.index.to_bytes(), assembled.top.media_type)
        elif reference.tag or not self._is_there:
            self._registry.push_manifest(reference, assembled.manifest_bytes, assembled.own.media_type)

    def _has_manifest(self, reference: Reference) -> bool:
        """Whether the registry has the manifest already, and so all that it needs."""
        own = self.assembled().own
        try:
            self._registry.resolve(reference._replace(tag=None, digest=own.digest), accept=(own.media_type,))
        except RegistryError as error:
            # Some forbid to look at a repository that is yet to be made; the push itself asks for more rights.
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
                raise
            return False
        return True

    def _push_layer(self, reference: Reference, diff_id: str, layer: Descriptor, moved: meter.Meter) -> Sent:
        part = moved.part()

        def open_blob() -> BinaryIO:
            blob = self._made.get(diff_id) or self._image.blob(diff_id)
            return part.reading(open(blob.path, "rb", buffering=0))

        mounts = self._image.blobs.mountable(diff_id, layer.digest)
        how = self._registry.push_blob(reference, layer, open_blob, mounts)
        if how != "uploaded":
            moved.expect(-layer.size)
        return Sent(how, layer.size)


def _known(layer: Descriptor | None) -> Descriptor:
    assert layer is not None
    return layer


def _memory(data: bytes) -> BinaryIO:
    from io import BytesIO

    return BytesIO(data)


def _told(sent: Sequence[Sent]) -> str:
    parts = []
    for how, word in (("uploaded", "sent"), ("mounted", "mounted"), ("exists", "there already")):
        sizes = [one.size for one in sent if one.how == how]
        if sizes:
            size = f" ({sum(sizes) / 1e6:.1f} MB)" if how == "uploaded" else ""
            parts.append(f"{len(sizes)} {'layer' if len(sizes) == 1 else 'layers'} {word}{size}")
    return ", ".join(parts) or "no layers"
