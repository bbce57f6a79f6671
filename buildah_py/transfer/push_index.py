"""Pushing an index: its images by their digests, what is attested of them, then the index under its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.errors import UsageError
from buildah_py.progress import events
from buildah_py.transfer.push import push_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.reference import Reference
    from buildah_py.outputs.attestation import Attached
    from buildah_py.progress.events import Event
    from buildah_py.registry import Registry
    from buildah_py.transfer.index_export import IndexExport


def push_index(
    index: IndexExport,
    references: Sequence[Reference],
    registry: Registry,
    *,
    by_digest: bool = False,
    emit: Callable[[Event], None] = lambda _: None,
) -> Descriptor:
    """Push images and the index that joins them under each of `references`, or `by_digest` under no tag.

    Returns what the index is called by there. Raises RegistryError; a tag is only moved when all that it leads to is
    there.
    """
    if not references:
        raise UsageError("an image is pushed under a name", hint="name it with -t, or with name= of the output")
    for reference in references:
        if reference.digest:
            raise UsageError(f"{reference} is pinned to a digest, which only its content decides", hint="name a tag")
    for name in dict.fromkeys(reference.name for reference in references):
        same = [reference for reference in references if reference.name == name]
        bare = same[0]._replace(tag=None)
        sent = [push_image(one.image, [bare], registry, by_digest=True, emit=emit) for one in index.images]
        made = index.make(sent)
        push_attached(made.attached, bare, registry)
        for reference in [bare] if by_digest else same:
            registry.push_manifest(reference, made.data, made.top.media_type)
            attested = f", {len(made.attached)} with attestations" if made.attached else ""
            count = "1 image" if len(sent) == 1 else f"{len(sent)} images"
            emit(events.Note(f"pushed {reference.familiar}@{made.top.digest}: an index of {count}{attested}"))
        for one in index.images:
            one.image.remember_index(name, made.top)
    return made.top


def push_attached(attached: Sequence[Attached], repository: Reference, registry: Registry) -> None:
    """Push manifests of attestations by their digests, and what they hold."""
    for one in attached:
        for described, data in one.blobs:
            registry.push_blob(repository, described, lambda data=data: _memory(data))  # type: ignore[misc]
        registry.push_manifest(repository, one.manifest, one.descriptor.media_type)


def _memory(data: bytes) -> BinaryIO:
    from io import BytesIO

    return BytesIO(data)
