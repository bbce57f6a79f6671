"""Sending a build's records and layers to where `--cache-to` names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache.keys import KEY_VERSION
from buildah_py.errors import PybuildError, ReadOnlyCache
from buildah_py.image import media_types
from buildah_py.progress import events
from buildah_py.sharing.build_mounts import ALL, Carried, mounts_of, pack_mounts
from buildah_py.sharing.records import SharedLayer, SharedRecord
from buildah_py.store.cache_mounts import CacheName
from buildah_py.transfer.layer_blobs import Form, LayerBlobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import BinaryIO

    from buildah_py.cache import Record
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.plan import Plan
    from buildah_py.sharing.backend import Backend, Open
    from buildah_py.sharing.meeting_place import MeetingPlace, Parcel
    from buildah_py.sharing.remote import BuildCaches, SharedCaches
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.store import Origin


_MERGES = 4
_MOST_RECORDS = 10_000
"""Records that a shared place puts down together: those made last stay."""


class Steps(NamedTuple):
    """Records of the steps of a build: all, and those of the steps that the image's layers come from."""

    records: tuple[Record, ...]
    chain: frozenset[str]


def inline_property(caches: BuildCaches, plan: Plan, records: Mapping[int, Record]) -> dict[str, object] | None:
    """Give what the image's config carries, where `type=inline` was asked for.

    That is the records, whose layers are the image's as far as it has them.
    """
    place = next((place for place in caches.shared.to if place.is_inline), None)
    if place is None:
        return None
    from buildah_py.sharing.export import Content, inline

    found = allowed(_steps_of([plan], records).records, place, caches.shared)
    layers = [shared_layer(one, None) for one in found]
    content = Content([shared_record(one, caches) for one in found], layers, selections=caches.selections(place))
    return inline(content, place.sign)


def export_all(caches: BuildCaches, plans: Sequence[Plan], records: Mapping[int, Record], names: Sequence[str]) -> None:
    """Send the cache of a build, whose plans have the same nodes, to all places but the inline one.

    Raises the first error of those places that may not fail; the others get theirs. One that is only to be
    read is left out.
    """
    steps, mounts = _steps_of(plans, records), mounts_of(plans[0].nodes)
    failed: list[PybuildError] = []
    for place in caches.shared.to:
        if place.is_inline:
            continue
        try:
            _export(caches, place, steps, _named(mounts, place.mounts), names)
        except ReadOnlyCache as error:
            caches.emit(events.Note(f"{place.option}: nothing is sent: {error.message}"))
        except PybuildError as error:
            if place.ignore_error:
                caches.shared.warn(f"the cache is not exported: {error}")
            else:
                failed.append(error)
    if failed:
        raise failed[0]


def _steps_of(plans: Sequence[Plan], records: Mapping[int, Record]) -> Steps:
    """Tell which records are those of the images themselves."""
    parents = {node.index: node.parent for node in plans[0].nodes}
    chain = set()
    for plan in plans:
        index: int | None = plan.target
        while index is not None:
            if index in records:
                chain.add(records[index].diff_id)
            index = parents.get(index)
    return Steps(tuple(records[index] for index in sorted(records)), frozenset(chain))


def _named(mounts: Sequence[CacheName], ids: Sequence[str]) -> list[CacheName]:
    """Give the mounts that have one of these ids, and those of ids that the build does not use."""
    if ALL in ids:
        return list(mounts)
    used = {mount.id for mount in mounts}
    return [*(mount for mount in mounts if mount.id in ids), *(CacheName(one) for one in ids if one not in used)]


def _export(
    caches: BuildCaches, place: CacheSpec, steps: Steps, mounts: Sequence[CacheName], names: Sequence[str]
) -> None:
    from buildah_py.image import reference
    from buildah_py.sharing.export import Content, send

    mount_from = [reference.parse(name).name for name in names]
    backend = caches.shared.open(place, mount_from)
    packing = Packing(caches, place)
    records = allowed(steps.records, place, caches.shared)
    wanted = {one.diff_id for one in records if place.whole or one.diff_id in steps.chain}
    blobs = {diff_id: blob for diff_id in sorted(wanted) if (blob := packing.blob(diff_id)) is not None}
    layers = {one.diff_id: shared_layer(one, blobs.get(one.diff_id)) for one in records}
    carried = _carry(caches, place, backend, mounts)

    def source(blob: Descriptor) -> Open:
        return carried.sources.get(blob.digest) or packing.open(blob)

    content = Content(
        [shared_record(one, caches) for one in records],
        list(layers.values()),
        carried.mounts,
        [*blobs.values(), *carried.blobs],
        caches.selections(place),
    )
    sent = send(backend, content, source, place.sign)
    caches.emit(events.CacheSent(backend.name, sent.blobs, sent.bytes, sent.known))


def pack_step(caches: BuildCaches, record: Record, place: CacheSpec, stopped: Callable[[], bool]) -> Parcel | None:
    """Make ready what a step led to; None for what is not to be sent there. Raises whatever packing raises."""
    from buildah_py.sharing.meeting_place import Parcel
    from buildah_py.sharing.notes import result_text

    if not allowed([record], place, caches.shared):
        return None
    packing = Packing(caches, place, stopped)
    blob = packing.blob(record.diff_id)
    if blob is None:
        return None
    layer = shared_layer(record, blob)
    text = result_text(shared_record(record, caches), layer)
    return Parcel(record.key, text, layer, blob, lambda: packing.open(blob)())  # noqa: PLW0108 - it may have to be fetched for that


def share_all(caches: BuildCaches, plans: Sequence[Plan], records: Mapping[int, Record], names: Sequence[str]) -> None:
    """Hand on what is left, and put down all records of a build, beside those that are there, in each shared place.

    A place that cannot have them is a warning: what was executed is not lost, and is no less true.
    """
    work = caches.shared.work
    if work is None:
        return
    work.finish()
    steps, mounts = _steps_of(plans, records), mounts_of(plans[0].nodes)
    for place in work.places:
        if place.link.is_off or not (work.is_used or place.book.opened):
            continue
        try:
            _add(caches, place, steps, _named(mounts, place.spec.mounts), names)
        except PybuildError as error:
            caches.shared.warn(f"{place.backend.name}: the records of this build are not put down there: {error}")
    for place in work.places:
        if any(place.sent):
            caches.emit(events.CacheSent(place.backend.name, *place.sent))


def _add(
    caches: BuildCaches, place: MeetingPlace, steps: Steps, mounts: Sequence[CacheName], names: Sequence[str]
) -> None:
    """Add records to the cache that is in a place; again where another builder has done so at the same time."""
    from buildah_py.image import reference
    from buildah_py.sharing.export import Content, send
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.signing import public_key

    spec = place.spec
    backend = caches.shared.open(spec, [reference.parse(name).name for name in names])
    packing = Packing(caches, spec)
    own = {record.key: record for record in allowed(steps.records, spec, caches.shared)}
    keys = (public_key(spec.sign),) if spec.sign else ()
    for _ in range(_MERGES):
        before = ImportedCache(backend, keys, lambda _: None)
        known, layers, selections = before.all()
        news = [record for key, record in own.items() if key not in {one.key for one in known}]
        if not news and not mounts:
            return
        room = max(0, _MOST_RECORDS - len(own))
        kept = sorted((one for one in known if one.key not in own), key=lambda one: one.created or 0)[-room:]
        stay = {one.diff_id for one in kept} | {record.diff_id for record in own.values()}
        met = [*place.layers.values(), *layers]
        there = {layer.diff_id: layer for layer in met if layer.diff_id in stay and layer.blob is not None}
        blobs = {one.diff_id: packing.blob(one.diff_id) for one in own.values() if one.diff_id not in there}
        there |= {one.diff_id: shared_layer(one, blobs[one.diff_id]) for one in own.values() if one.diff_id in blobs}
        carried = _carry(caches, spec, backend, mounts)

        def source(blob: Descriptor, carried: Carried = carried) -> Open:
            return carried.sources.get(blob.digest) or packing.open(blob)

        content = Content(
            [*kept, *(shared_record(one, caches) for one in own.values())],
            list(there.values()),
            carried.mounts,
            [*(blob for blob in blobs.values() if blob is not None), *carried.blobs],
            {**selections, **caches.selections(spec)},
            [layer.blob for one, layer in there.items() if one not in blobs and layer.blob is not None],
        )
        place.count_sent(send(backend, content, source, spec.sign))
        after = ImportedCache(backend, keys, lambda _: None)
        if all(after.find(key) is not None for key in own):
            return
        mounts = ()


def _carry(caches: BuildCaches, place: CacheSpec, backend: Backend, mounts: Sequence[CacheName]) -> Carried:
    """Pack the cache mounts that go along."""
    if not mounts:
        return Carried((), (), {})
    from buildah_py.sharing.imported import ImportedCache
    from buildah_py.sharing.signing import public_key

    # A cache that is signed vouches for its mounts too: what is there already counts only if it was signed as well.
    keys = (public_key(place.sign),) if place.sign else ()
    before = ImportedCache(backend, keys, lambda _: None)
    shared = caches.shared
    others = [one for one, other in zip(shared.imports, shared.from_, strict=True) if other.verify or not place.sign]
    return pack_mounts(caches.store, mounts, caches.mounts().place, before, others)


def allowed(records: Iterable[Record], place: CacheSpec, shared: SharedCaches) -> list[Record]:
    """Leave out what cannot be read elsewhere, and what nobody vouches for where the cache is signed."""
    found = [one for one in records if one.version == KEY_VERSION]
    if place.sign:
        found = [one for one in found if shared.vouches_for(one)]
    return found


def shared_record(record: Record, caches: BuildCaches) -> SharedRecord:
    """Give a record as caches have it, with what its step learned of files."""
    plain, learned = record.observed
    data = caches.cache.input_list(learned) if learned else None
    return SharedRecord(
        record.key,
        record.parent,
        record.canonical,
        record.inputs,
        record.diff_id,
        record.content,
        record.stamps,
        record.seconds,
        record.metadata or None,
        record.created,
        (plain, data) if data is not None else None,
    )


def shared_layer(record: Record, blob: Descriptor | None) -> SharedLayer:
    """Give the layer of a record as caches have it."""
    return SharedLayer(record.diff_id, -1, record.created, blob)


class Packing:
    """Finds or makes the blobs of layers for one place, and opens those that have to be sent."""

    def __init__(self, caches: BuildCaches, place: CacheSpec, stopped: Callable[[], bool] = lambda: False) -> None:
        form = Form(place.compression or media_types.GZIP, place.level, force=place.compression is not None)
        self._blobs = LayerBlobs(caches.store, form)
        self._store = caches.store
        self._shared = caches.shared
        self._stopped = stopped
        self._diff_ids: dict[str, str] = {}
        self._made: dict[str, str] = {}

    def blob(self, diff_id: str) -> Descriptor | None:
        """Return the blob that stands for a layer there; None for one that this machine knows only by name."""
        found = self._blobs.descriptor(diff_id)
        if found is None:
            if self._store.layers.missing([diff_id]) and not any(one.digest for one in self._origins(diff_id)):
                return None  # it comes from a cache that had left it out
            (made,) = self._blobs.make([self._blobs.source(diff_id)], self._stopped)
            found = self._blobs.describe(made)
            self._made[found.digest] = made.path
        self._diff_ids[found.digest] = diff_id
        return found

    def open(self, blob: Descriptor) -> Callable[[], BinaryIO]:
        """Open a blob that has to be sent; one that is elsewhere is fetched for that."""
        path = self._made.get(blob.digest, "")  # those without compression are not kept by the store
        if not path:
            diff_id = self._diff_ids[blob.digest]
            here = self._blobs.known(diff_id)
            path = here.path if here is not None and here.digest == blob.digest else self._copy(diff_id, blob)
        return lambda: open(path, "rb")

    def _origins(self, diff_id: str) -> list[Origin]:
        return self._store.layers.origins(diff_id)

    def _copy(self, diff_id: str, blob: Descriptor) -> str:
        """Fetch a blob to send it on, without unpacking it."""
        from buildah_py.sharing.backend import verified

        origin = next(one for one in self._origins(diff_id) if one.digest == blob.digest)
        path = os.path.join(self._store.stage(), "blob")
        with (
            verified(self._shared.open_origin(origin), blob, origin.location) as stream,
            open(path, "xb") as file,
        ):
            while data := stream.read(1 << 20):
                file.write(data)
        return path
