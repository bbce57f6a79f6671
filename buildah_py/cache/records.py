"""Records of what keys led to: looked up, and kept with their ingredients so that a miss can be explained.

A record is filed under places: the build that it belongs to, and in there the stage with its kind of step, its
position, and its text. So a search looks at a few dozen records at most, however many there are.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from buildah_py.cache.keys import KEY_VERSION, canonical_json, step_key
from buildah_py.cache.selections import AnsweringCache, Selections
from buildah_py.checksum import sha256_hex
from buildah_py.errors import CacheError
from buildah_py.frozen import dataclass, field, replace
from buildah_py.layers.stamps import NO_STAMPS, read_stamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from buildah_py.cache.ingredients import About, Ingredients
    from buildah_py.layers.stamps import Stamps
    from buildah_py.store import Store, StoredRecord

NEAR = 12
"""Records that are looked at for each place where one may be compared with a step."""


class CachePolicy(NamedTuple):
    """None count with `no_cache`, none in `stages`, none made longer than `ttl` nanoseconds ago.

    `ttl_text` is how the user wrote that.
    """

    no_cache: bool = False
    stages: frozenset[str] = frozenset()
    ttl: int | None = None
    ttl_text: str = ""

    def forbids(self, stage: str) -> bool:
        """Whether every step of a stage is to be executed."""
        return self.no_cache or (bool(self.stages) and stage.partition("#")[0] in self.stages)

    def is_too_old(self, made: int) -> bool:
        """Whether what was made then (ns since 1970) no longer counts."""
        return self.ttl is not None and made < time.time_ns() - self.ttl


ALL = CachePolicy()
"""Every record counts."""


class Made(NamedTuple):
    """The result of a step: a layer, its content's digest, its times that are not content, and when it first did (ns).

    `created` is 0 for a result of just now.
    """

    diff_id: str
    content: str
    stamps: Stamps = NO_STAMPS
    created: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A step that was executed: its ingredients (parent chain, canonical step, digests of inputs) and its result.

    The result is the layer `diff_id`; `stamps` are its times that are not content, `content` is the digest of the rest.
    `created` is when the step first had this result, `made` when it was executed last, in nanoseconds since 1970;
    `seconds` what that took. `metadata` is read by `ingredients.read_about`. `source` names the cache that the record
    came from, "" for this machine's own; `signer` is the public key that it was signed with, as far as that was asked.
    `observed` are the step's plain key and the digest of what it learned of the files before it, "" where that is not
    known.
    """

    key: str
    parent: str
    canonical: Mapping[str, object]
    inputs: Mapping[str, str]
    content: str
    diff_id: str
    created: int
    seconds: float
    stamps: Stamps = NO_STAMPS
    made: int = 0
    version: int = KEY_VERSION
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    signer: str = ""
    observed: tuple[str, str] = ("", "")

    @property
    def result(self) -> Made:
        """Layer, content, stamps and time together."""
        return Made(self.diff_id, self.content, self.stamps, self.created)

    @property
    def about(self) -> About:
        """Facts about the step that are not ingredients."""
        from buildah_py.cache.ingredients import read_about

        return read_about(self.metadata)

    @property
    def ingredients(self) -> Ingredients:
        """All that can be compared."""
        from buildah_py.cache.ingredients import Ingredients

        return Ingredients(self.parent, self.canonical, self.inputs, self.about, self.version)


class Offer(NamedTuple):
    """A record of a shared cache, whose layer is promised to the store. `created` in nanoseconds since 1970."""

    ingredients: Ingredients
    made: Made
    seconds: float
    created: int
    source: str
    signer: str
    learned: tuple[str, bytes] | None = None


class RemoteCache(AnsweringCache, Protocol):
    """Shared caches, as a build's own cache asks them."""

    def find(self, store: Store, key: str) -> Offer | None:
        """Give the record of a key, None where none is known."""
        ...

    def find_observed(self, plain_key: str) -> Iterable[tuple[str, bytes]]:
        """Give keys of a step with what it learned under each, packed."""
        ...


class Cache:
    """The records of a store.

    `own` names the build for this machine alone, such as by the path of its build file, `builds` for all machines: by
    these names records are found again that a step may be compared with.

    `remote` is asked for what the store does not know.
    """

    apart = False
    """Whether layers are kept as they are made, even where equal ones with other times are there."""

    def __init__(
        self, store: Store, remote: RemoteCache | None = None, *, own: Sequence[str] = (), builds: Sequence[str] = ()
    ) -> None:
        self.selections = Selections(store, remote)
        self.remote = remote
        self._store = store
        self._own = tuple(own)
        self._builds = tuple(builds)
        self._kept: set[str] = set()
        self._met: bool | None = None
        self._lock = threading.Lock()

    def lookup(self, key: str) -> Record | None:
        """Return the record of `key`, or None where no layer is known for it."""
        known = self.known(key)
        if known is not None and known[1]:
            return known[0]
        if self.remote is None or (offer := self.remote.find(self._store, key)) is None:
            return None
        return self.save(
            offer.ingredients,
            offer.made,
            offer.seconds,
            created=offer.created,
            source=offer.source,
            signer=offer.signer,
            learned=offer.learned,
        )

    def known(self, key: str) -> tuple[Record, bool] | None:
        """Return the store's own record of a key, and whether it may be used; None where there is none."""
        row = self._store.records.get(key)
        if row is None:
            return None
        record = _record(row)
        return record, not record.source or self.remote is None or self.remote.trusts(record.signer)

    def save(
        self,
        ingredients: Ingredients,
        made: Made,
        seconds: float,
        *,
        lists: Mapping[str, Callable[[], bytes]] | None = None,
        created: int | None = None,
        source: str = "",
        signer: str = "",
        learned: tuple[str, bytes] | None = None,
        here: bool | None = None,
    ) -> Record:
        """Say what a step led to. Its layer must be in the store, or be known to it.

        `lists` give what its inputs held, by the digests in the key, as `Selection.packed` does. `created`, `source`
        and `signer` are for records that come from elsewhere. `learned` is an observation, with the step's plain key.
        `here`
        says that the step is one of this build, as it is without a source.
        """
        assert ingredients.parent is not None
        own = not source if here is None else here
        about = replace(ingredients.about, builds=self._builds) if own else ingredients.about
        parent, canonical, inputs = ingredients.parent, ingredients.canonical, _known(ingredients.inputs)
        key = step_key(parent, canonical, inputs, version=ingredients.version)
        data = {
            "version": ingredients.version,
            "parent": parent,
            "step": canonical,
            "inputs": inputs,
            "content": made.content,
            "stamps": made.stamps.to_data(),
            "seconds": seconds,
            "created": made.created or created or self._first_made(key, made.content),
            "about": about.to_data(),
        }
        if learned is not None:
            digest = f"sha256:{sha256_hex(learned[1])}"
            data["observed"] = [learned[0], digest]
            lists = {**(lists or {}), digest: lambda: learned[1]}
        if source:
            data |= {"source": source, "signer": signer}
        names = (*self._own, *self._builds) if own else about.builds
        if own:
            self._is_met()
            self._kept.add(key)
        where = [*places(names, about, ingredients.kind), *map(build_place, names)]
        where += [observed_place(learned[0])] if learned is not None else []
        self._store.records.save(key, made.diff_id, canonical_json(data), places=where, inputs=lists, created=created)
        row = self._store.records.get(key)
        assert row is not None
        return _record(row)

    def _first_made(self, key: str, content: str) -> int:
        """When a step first had a result: equal layers of other steps, such as empty ones, may be much older."""
        row = self._store.records.get(key)
        known = None if row is None else _record(row)
        return known.created if known is not None and known.content == content else time.time_ns()

    def touch(self, records: Sequence[tuple[str, About, str]]) -> None:
        """Note where hits were met: keys, what is known of the steps, and their kinds."""
        names = (*self._own, *self._builds)
        own = [build_place(name) for name in names]
        keys, where = [key for key, _, _ in records], [places(names, about, kind) + own for _, about, kind in records]
        self._store.records.touch(keys, where)

    def were_met(self, keys: Sequence[str]) -> bool:
        """Whether records were all met in this build before."""
        where = [build_place(name) for name in (*self._own, *self._builds)]
        return self._store.records.were_seen(keys, [where] * len(keys))

    def near(self, about: About, kind: str) -> list[tuple[Record, bool]]:
        """Find records of earlier builds that stand where a step stands, or near: the closest places first.

        With each, whether it is known to be of this machine's own build, and not only of one that is called the same.
        """
        found: dict[str, tuple[Record, bool]] = {}
        for names, own in ((self._own, True), (self._builds, not self._own)):
            for place in places(names, about, kind):
                for row in self._store.records.near(place, NEAR):
                    if row.key not in found and row.key not in self._kept:
                        found[row.key] = (_record(row), own)
        return list(found.values())

    def observed(self, plain_key: str) -> Iterator[tuple[str, bytes]]:
        """Give keys of a step with what it learned under each, packed: the last one first, shared caches after all."""
        known = set()
        for row in self._store.records.near(observed_place(plain_key), NEAR):
            digest = _record(row).observed[1]
            with contextlib.suppress(CacheError):  # a damaged one is as good as none
                if digest not in known and (data := self.input_list(digest)) is not None:
                    known.add(digest)
                    yield row.key, data
        if self.remote is not None:
            yield from self.remote.find_observed(plain_key)

    def is_first_build(self) -> bool:
        """Whether nothing of this build was known when it began."""
        return not self._is_met()

    def collected(self, key: str) -> int | None:
        """When the record of a key was removed, in seconds since 1970; None where that is not known."""
        return self._store.records.gone(key)

    def input_list(self, digest: str) -> bytes | None:
        """Return the list that stands behind the digest of an input, None where it was not kept."""
        return self._store.records.input_list(digest)

    def _is_met(self) -> bool:
        with self._lock:
            if self._met is None:
                names = self._own or self._builds
                self._met = any(self._store.records.near(build_place(name), 1) for name in names)
            return self._met


def drop_lies(store: Store, diff_id: str) -> bool:
    """Remove the records that say something else of a layer than what it is, now that it is here; whether any did.

    A step that was built on the word of one has a key that is worth nothing.
    """
    layer = store.layers.get(diff_id)
    if layer is None or layer.absent:
        return False
    inventory = store.layers.inventories.get(diff_id)
    lies = [
        record.key
        for record in map(_record, store.records.of_layer(diff_id))
        if inventory.content_digest(record.stamps) != record.content
    ]
    for key in lies:
        store.records.remove(key)
    return bool(lies)


def _known(inputs: Mapping[str, str | None]) -> dict[str, str]:
    known = {name: digest for name, digest in inputs.items() if digest is not None}
    assert len(known) == len(inputs)
    return known


def _record(row: StoredRecord) -> Record:
    data = json.loads(row.data)
    return Record(
        key=row.key,
        parent=data["parent"],
        canonical=data["step"],
        inputs=data["inputs"],
        content=data["content"],
        diff_id=row.diff_id,
        created=data.get("created", row.layer_created),
        seconds=data["seconds"],
        stamps=read_stamps(data["stamps"]),
        made=row.created,
        version=data["version"],
        metadata=data.get("about", {}),
        source=data.get("source", ""),
        signer=data.get("signer", ""),
        observed=tuple(data.get("observed", ("", ""))),
    )


def places(builds: Iterable[str], about: About, kind: str) -> list[str]:
    """Name the places of a step, the closest first, for each name of its build."""
    found: list[list[object]] = []
    names = list(builds)
    found += (["says", name, about.stage, about.text] for name in names)
    found += (["at", name, about.stage, about.number, kind] for name in names)
    found += (["in", name, about.stage, kind] for name in names)
    return [*map(_place, found)]


def build_place(name: str) -> str:
    """Name the place of all of a build's steps."""
    return _place(["of", name])


def observed_place(plain_key: str) -> str:
    """Name the place of what is known by a step's plain key."""
    return _place(["observed", plain_key])


def _place(what: list[object]) -> str:
    return sha256_hex(canonical_json(what))[:24]
