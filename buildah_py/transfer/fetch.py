"""Absent layers: got from where the store says they are, several at once, when something needs their files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, TypeVar

from buildah_py import debug, meter
from buildah_py.errors import ArchiveError, Interrupted, NotFound, PybuildError
from buildah_py.image import reference as references
from buildah_py.image.descriptor import Descriptor
from buildah_py.layers.adopt import adopt_parents, hidden_links
from buildah_py.layers.entry import BLOCK, CHAR
from buildah_py.layers.view import LayerTree
from buildah_py.linux.identity import has_single_id, may_make_devices
from buildah_py.store.lowers import chain_name, describes_all
from buildah_py.store.reserve import is_full, no_space
from buildah_py.transfer.unpack import Arrived, keep, receive, unpack_blob, verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from buildah_py.image.blob import Stream
    from buildah_py.layers.inventory import Inventory
    from buildah_py.registry import Registry
    from buildah_py.store import Origin, Store, StoredBlob

    Opener = Callable[[Origin], Stream]

_T = TypeVar("_T")

MAX_AT_ONCE = 4
URL = "url"
"""The kind of an origin that is another address of a registry's blob: for layers that registries may lack."""

_POLL_SECONDS = 0.2


class Fetch:
    """Gets layers into `store`. `registry` gives the client when it is first needed.

    `openers` says for further kinds of origins how to open them; streams of other kinds than `registry` are verified
    here. `announced` are layers of which it was said that they are fetched; they may be tried again.
    """

    def __init__(
        self,
        store: Store,
        registry: Callable[[], Registry],
        openers: Mapping[str, Opener],
        *,
        tell: Callable[[str], object] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        announced: set[str] | None = None,
    ) -> None:
        self._announced = set() if announced is None else announced
        self._store = store
        self._registry = registry
        self._tell = tell
        self._cancelled = cancelled
        self._stop = False
        self._moved = meter.NOTHING
        self._urls: dict[str, tuple[str, ...]] = {}
        self._openers = {"registry": self._open_registry, "layout": _open_layout, **openers}

    def ensure(self, diff_ids: Sequence[str]) -> None:
        """Have the files of layers here: those of one image, the lowest first.

        Raises NotFound, ArchiveError, RegistryError where one of them cannot be had, Interrupted.
        """
        missing = self._store.layers.missing(diff_ids)
        if not missing:
            return
        # Whoever needs the same lowest layer mostly needs the same others.
        with self._store.lock(f"fetching {missing[0]}", self._cancelled):
            missing = self._store.layers.missing(diff_ids)
            if missing:
                self._announce(missing)
                with self._measured(missing):
                    self._fetch(tuple(diff_ids), missing)

    def blob(self, diff_id: str) -> StoredBlob:
        """Return a blob of the layer as it was pulled; it is fetched where the store has none, without unpacking."""
        for blob in self._store.blobs.of(diff_id):
            if not blob.compressor and self._store.blobs.use(blob.digest):
                return blob
        with self._store.lock(f"fetching {diff_id}", self._cancelled):
            for blob in self._store.blobs.of(diff_id):
                if not blob.compressor and self._store.blobs.use(blob.digest):
                    return blob
            with self._measured([diff_id]):
                return self._from_origins(
                    diff_id, lambda origin, stream: keep(self._store, diff_id, origin, stream, stopped=self._stopped)
                )

    def _announce(self, missing: Sequence[str]) -> None:
        if self._announced.issuperset(missing):
            return
        self._announced.update(missing)
        size = sum(layer.size for layer in map(self._store.layers.get, missing) if layer)
        self._tell(f"fetching {_count(missing)}, {size / 1e6:.1f} MB")

    @contextmanager
    def _measured(self, missing: Sequence[str]) -> Iterator[None]:
        """Count the bytes of layers while they come: by themselves, not as a part of the step that needs them."""
        sizes = 0
        places: set[str] = set()
        for diff_id in missing:
            here = next((blob.size for blob in self._store.blobs.of(diff_id)), None)
            origins = self._store.layers.origins(diff_id) if here is None else ()
            sizes += here if here is not None else origins[0].size if origins else 0
            places.update(_shown(origin) for origin in origins[:1])
        what = f"pulling {', '.join(sorted(places))}" if places else f"unpacking {_count(missing)}"
        with meter.start(what, sizes, waits=True, apart=True) as self._moved:
            yield
        self._moved = meter.NOTHING

    def _fetch(self, chain: tuple[str, ...], missing: Sequence[str]) -> None:
        """Get layers, several at once; each goes into the store when those below it are there."""
        self._stop = False
        pool = ThreadPoolExecutor(min(len(missing), MAX_AT_ONCE), thread_name_prefix="fetch")
        try:
            under_way = {diff_id: pool.submit(self._get, diff_id) for diff_id in missing}
            for place, diff_id in enumerate(chain):
                if diff_id in under_way:
                    self._add(chain[:place], diff_id, self._result(under_way.pop(diff_id)))
        except BaseException as error:
            self._stop = True
            if isinstance(error, Interrupted | KeyboardInterrupt):
                self._registry().close()  # or a registry that says nothing would be waited for
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()

    def _result(self, future: Future[Arrived]) -> Arrived:
        while not wait([future], timeout=_POLL_SECONDS).done:
            if self._cancelled():
                raise Interrupted("interrupted while layers were fetched")
        return future.result()

    def _stopped(self) -> bool:
        return self._stop or self._cancelled()

    def _get(self, diff_id: str) -> Arrived:
        for blob in self._store.blobs.of(diff_id):
            try:
                self._store.blobs.use(blob.digest)
                return unpack_blob(self._store, blob, stopped=self._stopped, moved=self._moved)
            except (ArchiveError, FileNotFoundError):
                if not self._store.layers.origins(diff_id):
                    raise
                self._store.blobs.remove(blob.digest)
        return self._from_origins(
            diff_id, lambda origin, stream: receive(self._store, diff_id, origin, stream, stopped=self._stopped)
        )

    def _from_origins(self, diff_id: str, take: Callable[[Origin, Stream], _T]) -> _T:
        """Try one place after the other; the last error, if none has it."""
        failed: list[PybuildError] = []
        part = self._moved.part()
        origins = self._store.layers.origins(diff_id)
        for origin in origins:
            if origin.kind == URL:
                self._urls.setdefault(origin.digest, (origin.location,))
        for origin in origins:
            opener = self._openers.get(origin.kind)
            if opener is None:
                continue
            debug.log("layer %s: from %s %s", diff_id, origin.kind, origin.location)
            try:
                with closing(opener(origin)) as stream:
                    return take(origin, part.reading(stream if origin.kind == "registry" else verified(stream, origin)))
            except Interrupted:
                raise
            except OSError as error:
                if is_full(error):
                    raise no_space(self._store.root) from error
                where = f"{error.filename}: " if error.filename else ""
                failed.append(ArchiveError(f"a layer of {origin.location} cannot be kept: {where}{error.strerror}"))
            except PybuildError as error:
                failed.append(error)
        if not failed:
            raise NotFound(
                f"layer {diff_id} is not in the store, and nothing says where it can be had",
                hint="`pybuild fsck` tells more; pull or build the image again",
            )
        if len(failed) > 1:
            failed[-1].hint = "; ".join(
                (*filter(None, [failed[-1].hint]), *(f"tried before: {one.message}" for one in failed[:-1]))
            )
        raise failed[-1]

    def _add(self, below: tuple[str, ...], diff_id: str, arrived: Arrived) -> None:
        inventory = arrived.captured.inventory
        adopted = None
        if not describes_all(inventory):
            view = self._store.view(below)
            if hidden_links(inventory, view):
                blob = self._store.blobs.of(diff_id)[0]
                arrived = unpack_blob(self._store, blob, below=view, stopped=self._stopped)
                inventory = arrived.captured.inventory
            adopt_parents(LayerTree(arrived.fs, inventory), view, owners=not has_single_id())
            adopted = chain_name(below)
        if not may_make_devices() and (nodes := [one.path for one in inventory if one.kind in (CHAR, BLOCK)]):
            many = "1 device node" if len(nodes) == 1 else f"{len(nodes)} device nodes"
            self._tell(f"{many} of a layer cannot be made here and are left out: /{nodes[0]}")
        self._check_promise(diff_id, inventory)
        self._store.layers.add(arrived.fs, inventory, diff_id, arrived.captured.size, foreign=True, adopted=adopted)

    def _check_promise(self, diff_id: str, inventory: Inventory) -> None:
        """Refuse a layer that is not what steps were told of it: all that was built on top of it would be wrong."""
        row = self._store.layers.get(diff_id)
        if row is not None and row.layer_digest and row.layer_digest != inventory.layer_digest:
            raise ArchiveError(
                f"layer {diff_id} has not the content that the cache promised, {row.layer_digest}",
                hint="build with --no-cache, and do not use that cache again",
            )

    def _open_registry(self, origin: Origin) -> Stream:
        name = references.parse(origin.location)
        urls = self._urls.get(origin.digest, ())
        return self._registry().open_blob(name, Descriptor(origin.media_type, origin.digest, origin.size, urls=urls))


def _count(layers: Sequence[str]) -> str:
    return "1 layer" if len(layers) == 1 else f"{len(layers)} layers"


def _shown(origin: Origin) -> str:
    """Say where a layer comes from, as people call that."""
    if origin.kind == "registry":
        return references.parse(origin.location).familiar
    return origin.location or f"a cache ({origin.kind})"


def _open_layout(origin: Origin) -> Stream:
    return open(os.path.join(origin.location, "blobs", *origin.digest.split(":")), "rb", buffering=0)
