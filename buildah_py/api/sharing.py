"""The shared caches of one build: what its own store does not know is looked up in them, and its records go to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.carrying import Mounts
from buildah_py.api.claims import Claims
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.api.caching import CacheOptions
    from buildah_py.api.places import Registries
    from buildah_py.cache import Cache, Record
    from buildah_py.image.platform import Platform
    from buildah_py.plan import Plan
    from buildah_py.progress.events import Event
    from buildah_py.sharing.backend import Backend, Stream
    from buildah_py.sharing.imported import Found, ImportedCache
    from buildah_py.sharing.records import SharedLayer
    from buildah_py.sharing.spec import Place
    from buildah_py.store import Origin, Store


class Sharing:
    """The caches that `--cache-from` names, in their order, and those that `--cache-to` does.

    Nothing is read before a step misses in the store. Raises UsageError for places that are not said well.
    """

    def __init__(
        self,
        options: CacheOptions,
        store: Store,
        cache: Cache,
        environ: Mapping[str, str],
        platform: str,
        emit: Callable[[Event], None],
        registries: Registries = None,
    ) -> None:
        self.environ = environ
        self._registries = registries
        self._platform = platform
        self._store = store
        self._cache = cache
        self._emit = emit
        self.to, self.from_ = (self._offered(places) for places in options.places())
        self.imports = [self._import(place) for place in self.from_]
        for place in self.to:
            if place.type != "inline":
                self.open(place)  # what is said wrongly is not found out after the build
        filling = [(one, place.mounts) for one, place in zip(self.imports, self.from_, strict=True)]
        self.carried = Mounts(store, options.backed(), filling, environ, self._warn)
        self._keys = frozenset(key for place in self.from_ for key in place.verify)
        self.claims = store.fetch = Claims(store, self.promise_again)
        store.fetch_blob = self.claims.blob
        cache.fallback = self.find if self.imports else None
        cache.selections.fallback = self.find_selection if self.imports else None
        cache.trusted = self.trusts if self._keys else None
        cache.selections.trusted = self._keys.__contains__ if self._keys else None

    @property
    def platform(self) -> Platform:
        """The platform of the image."""
        from buildah_py.image import platform as platforms

        return platforms.parse(self._platform) if self._platform else platforms.host()

    # looking up

    def find(self, key: str) -> Record | None:
        """The record of a key in the first cache that has one; its layer is promised to the store."""
        for one in self.imports:
            found = one.find(key)
            if found is not None and (record := self._take(one, found)) is not None:
                one.count_hit()
                return record
        return None

    def find_selection(self, key: str) -> tuple[str, str] | None:
        """What the first cache that knows says of a selection, and who has signed that."""
        return next(((said, one.signer) for one in self.imports if (said := one.selection(key)) is not None), None)

    def trusts(self, record: Record) -> bool:
        """Whether a record may be used, or signed, where signatures matter: it is this machine's own, or was signed."""
        return not record.source or record.signer in self._keys

    def _take(self, one: ImportedCache, found: Found) -> Record | None:
        from buildah_py.cache import Made
        from buildah_py.cache.ingredients import Ingredients, read_about

        layers, said, record = self._store.layers, found.layer, found.record
        known = layers.get(said.diff_id)
        here = None if known is None or known.absent else layers.inventories.get(said.diff_id)
        if here is not None and here.content_digest(record.stamps) != record.content:
            text = f"{one.backend.name}: the layer {said.diff_id} has other content than the record {record.key} says"
            self._emit(events.Warning(f"{text}: it is not used"))
            return None
        self._promise(one, said, record.key)
        return self._cache.keep(
            Ingredients(record.parent, record.canonical, record.inputs, read_about(record.about)),
            Made(said.diff_id, record.content, record.stamps),
            record.seconds,
            created=said.created if record.created is None else record.created,
            source=one.backend.name,
            signer=found.signer,
        )

    def _promise(self, one: ImportedCache, said: SharedLayer, key: str) -> None:
        from buildah_py.store import Origin

        blob, backend = said.blob, one.backend
        if blob is not None:
            origin = Origin(backend.kind, backend.location, blob.digest, blob.media_type, blob.size)
        else:  # mode=min leaves out what the image does not have: if it is needed, the step is executed
            origin = Origin("step", key, "", "", 0)
        # What the cache says of the content is kept with the record alone: it must not get in the way of an image that
        # has a layer of this name.
        self._store.layers.promise(said.diff_id, size=origin.size, origins=[origin], created=said.created)

    # fetching

    def open_origin(self, origin: Origin) -> Stream:
        """Open a blob where the store says that it can be had."""
        from buildah_py.api.places import open_origin

        return open_origin(origin, self.environ, [one.backend for one in self.imports], self._registries)

    def openers(self) -> dict[str, Callable[[Origin], Stream]]:
        """How the blobs of caches are opened, by the kinds of their origins."""
        from buildah_py.api.places import openers

        return openers(self.environ, [one.backend for one in self.imports])

    def promise_again(self, diff_id: str) -> None:
        """Tell the store all places that these caches know for a layer."""
        for one in self.imports:
            said = one.layer(diff_id)
            if said is not None and said.blob is not None:
                self._promise(one, said, "")

    # sending

    def selections(self, place: Place) -> Mapping[str, str]:
        """What this build knows of selections, as far as this machine may say it there."""
        known = self._cache.selections
        signed = all(one.verify for one in self.from_)
        return {**known.said, **known.used} if signed or not place.sign else known.used

    def inline(self, plan: Plan, records: Mapping[int, Record]) -> dict[str, object] | None:
        """What the image's config carries, where `type=inline` was asked for."""
        places = [place for place in self.to if place.type == "inline"]
        if not places:
            return None
        from buildah_py.api.exporting import inline_property, steps_of

        return inline_property(self, places[0], steps_of(plan, records))

    def export(self, plan: Plan, records: Mapping[int, Record], names: Sequence[str]) -> None:
        """Send the cache to all other places, and say what the caches were good for.

        Raises the first error of a place that may not fail; the others get theirs.
        """
        for one in self.imports:
            if one.opened:
                there = one.backend.kind, one.backend.location
                layers = sum(origin.size for origin in self.claims.fetched if origin[:2] == there)
                self._emit(events.CacheRead(one.backend.name, one.hits, one.fetched, layers))
        if self.to:
            from buildah_py.api.carrying import mounts_of
            from buildah_py.api.exporting import export_all, steps_of

            mounts = mounts_of(plan.nodes)
            export_all(self, self._store, steps_of(plan, records), mounts, names, self._emit)

    def _offered(self, places: Sequence[Place]) -> list[Place]:
        """Leave out the Actions cache where there is none: the same command is for workflows and for people."""
        found: list[Place] = []
        for place in places:
            if place.type == "gha":
                from buildah_py.sharing.gha import is_offered

                if not is_offered(place, self.environ):
                    self._emit(events.Note(f"{place.option} type=gha is left out: this is no GitHub workflow"))
                    continue
            found.append(place)
        return found

    def _import(self, place: Place) -> ImportedCache:
        from buildah_py.sharing.imported import ImportedCache

        return ImportedCache(self.open(place), place.verify, self._warn)

    def open(self, place: Place, mount_from: Sequence[str] = ()) -> Backend:
        """Make what reaches a place; `mount_from` are repositories that may have the same blobs."""
        from buildah_py.api.places import open_place

        return open_place(place, self.environ, self.platform, mount_from, self._registries)

    def _warn(self, text: str) -> None:
        self._emit(events.Warning(text))
