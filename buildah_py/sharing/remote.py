"""The shared caches of one build: what its own store does not know is looked up in them, and its records go to them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from buildah_py.cache import Cache, Record
    from buildah_py.cache.records import Offer
    from buildah_py.image.blob import Stream
    from buildah_py.progress.events import Event
    from buildah_py.sharing.backend import Backend
    from buildah_py.sharing.backends import Backends
    from buildah_py.sharing.build_mounts import Mounts
    from buildah_py.sharing.imported import FoundRecord, ImportedCache
    from buildah_py.sharing.options import CacheOptions
    from buildah_py.sharing.records import SharedLayer
    from buildah_py.sharing.spec import CacheSpec
    from buildah_py.sharing.work import JointWork
    from buildah_py.store import Origin, Store


class SharedCaches:
    """The caches that `--cache-from` names, in their order, those that `--cache-to` does, and those that are shared.

    They are what a Cache asks as its RemoteCache. Nothing is read before a step misses in the store. `work` is None
    where nothing is shared. Raises UsageError for places that are not said well.
    """

    def __init__(
        self,
        options: CacheOptions,
        backends: Backends,
        emit: Callable[[Event], None],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._backends = backends
        self._emit = emit
        self.to, from_, share = map(self._offered, options.places())
        self.from_ = [*from_, *share]
        self.imports = [self._import(place) for place in self.from_]
        self.work = self._shared(share, self.imports[len(from_) :], cancelled) if share else None
        for place in self.to:
            if not place.is_inline:
                self.open(place)  # bad places are refused before the build
        self._keys = frozenset(key for place in self.from_ for key in place.verify)
        self._fetched: set[Origin] = set()

    def sending(self, options: CacheOptions) -> SharedCaches:
        """Give the same caches to look steps up in, with the ones of `options` to send to."""
        other = copy.copy(self)
        other.to = self._offered(options.places().to)
        for place in other.to:
            if not place.is_inline:
                self.open(place)
        return other

    def of_build(
        self, store: Store, cache: Cache, mounts: Callable[[], Mounts], emit: Callable[[Event], None]
    ) -> BuildCaches:
        """Put them together with the parts of the build that uses them."""
        return BuildCaches(self, store, cache, mounts, emit)

    # looking up

    def find(self, store: Store, key: str) -> Offer | None:
        """Return the record of a key in the first cache that has one; its layer is promised to the store."""
        for one in self.imports:
            found = one.find(key)
            if found is not None and (offer := self._offer(store, one, found)) is not None:
                one.count_hit()
                return offer
        for place in self.work.places if self.work is not None else ():
            found = place.find(key)
            if found is not None and (offer := self._offer(store, place.book, found)) is not None:
                place.book.count_hit()
                return offer
        return None

    def find_observed(self, plain_key: str) -> Iterator[tuple[str, bytes]]:
        """Give keys of a step with what it learned under each, packed, as the caches say."""
        for one in self.imports:
            yield from one.observed(plain_key)

    def find_selection(self, key: str) -> tuple[str, str] | None:
        """Give what the first cache that knows says of a selection, and who has signed that."""
        return next(((said, one.signer) for one in self.imports if (said := one.selection(key)) is not None), None)

    def trusts(self, signer: str) -> bool:
        """Whether what this signer has signed may be used: anybody's, where no signature is asked for."""
        return not self._keys or signer in self._keys

    def vouches_for(self, record: Record) -> bool:
        """Whether a record may be signed: it is this machine's own, or was signed with a key that is asked for."""
        return not record.source or record.signer in self._keys

    def _offer(self, store: Store, one: ImportedCache, found: FoundRecord) -> Offer | None:
        from buildah_py.cache import Made
        from buildah_py.cache.ingredients import Ingredients, read_about
        from buildah_py.cache.records import Offer

        layers, said, record = store.layers, found.layer, found.record
        known = layers.get(said.diff_id)
        here = None if known is None or known.absent else layers.inventories.get(said.diff_id)
        if here is not None and here.content_digest(record.stamps) != record.content:
            text = f"{one.backend.name}: the layer {said.diff_id} has other content than the record {record.key} says"
            self._emit(events.Warning(f"{text}: it is not used"))
            return None
        _promise(store, one, said, record.key)
        return Offer(
            Ingredients(record.parent, record.canonical, record.inputs, read_about(record.about)),
            Made(said.diff_id, record.content, record.stamps),
            record.seconds,
            said.created if record.created is None else record.created,
            one.backend.name,
            found.signer,
            record.observed,
        )

    # fetching

    def open_origin(self, origin: Origin) -> Stream:
        """Open a blob where the store says that it can be had."""
        return self._backends.open_origin(origin, [one.backend for one in self.imports])

    def openers(self) -> dict[str, Callable[[Origin], Stream]]:
        """How the blobs of caches are opened, by the kinds of their origins."""
        return self._backends.openers([one.backend for one in self.imports])

    def promise_again(self, store: Store, diff_id: str) -> None:
        """Tell the store all places that these caches know for a layer."""
        for one in self.imports:
            said = one.layer(diff_id)
            if said is not None and said.blob is not None:
                _promise(store, one, said, "")
        for place in self.work.places if self.work is not None else ():
            said = place.layers.get(diff_id)
            if said is not None and said.blob is not None:
                _promise(store, place.book, said, "")

    def note_fetched(self, origins: Iterable[Origin]) -> None:
        """Take note of the origins of layers that are fetched."""
        self._fetched.update(origins)

    def report(self) -> None:
        """Say what the caches were good for."""
        for one in self.imports:
            if one.opened or one.hits:
                there = one.backend.kind, one.backend.location
                layers = sum(origin.size for origin in self._fetched if origin[:2] == there)
                self._emit(events.CacheRead(one.backend.name, one.hits, one.fetched, layers))

    def _offered(self, places: Sequence[CacheSpec]) -> list[CacheSpec]:
        """Leave out the Actions cache where there is none: the same command is for workflows and for people."""
        found: list[CacheSpec] = []
        for place in places:
            if place.type == "gha":
                from buildah_py.sharing.gha import is_offered

                if not is_offered(place, self._backends.environ):
                    self._emit(events.Note(f"{place.option} type=gha is left out: this is not a GitHub workflow"))
                    continue
            found.append(place)
        return found

    def _shared(
        self, share: Sequence[CacheSpec], books: Sequence[ImportedCache], cancelled: Callable[[], bool]
    ) -> JointWork:
        from buildah_py.sharing.claims import myself
        from buildah_py.sharing.meeting_place import MeetingPlace
        from buildah_py.sharing.work import JointWork

        who, note = myself(), self._note
        places = [MeetingPlace(*one, who, note, self.warn, cancelled) for one in zip(share, books, strict=True)]
        return JointWork(places, self._emit, cancelled)

    def _note(self, text: str) -> None:
        self._emit(events.Note(text))

    def _import(self, place: CacheSpec) -> ImportedCache:
        from buildah_py.sharing.imported import ImportedCache

        return ImportedCache(self.open(place), place.verify, self.warn)

    def open(self, place: CacheSpec, mount_from: Sequence[str] = ()) -> Backend:
        """Make what reaches a place; `mount_from` are repositories that may have the same blobs."""
        return self._backends.open(place, mount_from)

    def warn(self, text: str) -> None:
        """Emit a warning."""
        self._emit(events.Warning(text))


def _promise(store: Store, one: ImportedCache, said: SharedLayer, key: str) -> None:
    from buildah_py.store import Origin

    blob, backend = said.blob, one.backend
    if blob is not None:
        origin = Origin(backend.kind, backend.location, blob.digest, blob.media_type, blob.size)
    else:  # mode=min leaves out what the image does not have: if it is needed, the step is executed
        origin = Origin("step", key, "", "", 0)
    # The cache's word on the content is kept with the record alone: it must not get in the way of an image that
    # has a layer of this name.
    store.layers.promise(said.diff_id, size=origin.size, origins=[origin], created=said.created)


class BuildCaches(NamedTuple):
    """The shared caches of one build, at its end: with the cache that knows its records, and its cache mounts."""

    shared: SharedCaches
    store: Store
    cache: Cache
    mounts: Callable[[], Mounts]
    emit: Callable[[Event], None]

    def selections(self, place: CacheSpec) -> Mapping[str, str]:
        """Give what this build knows of selections, as far as this machine may say it there."""
        known = self.cache.selections
        signed = all(one.verify for one in self.shared.from_)
        return {**known.said, **known.used} if signed or not place.sign else known.used
