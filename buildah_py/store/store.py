"""A state directory, opened: the rooms of the store and the order in which things become durable.

state.db        layers, records, image configs, names
layers/<hex>/   inventory, and fs/ in overlay form, or the tar, or a patch of another layer's tar
blobs/sha256/   layers as they were pulled, or as they are sent
reserve         space for removing things when there is none left
logs/<build>/   the record of a build, and each step's output
staging/<lease>/ what a living process has not finished
failed/         what the last failed step of each build left
containers/     what is known of containers that a person started
leases/         one locked file for each living process
locks/          one locked file for each step that is being executed
"""

from __future__ import annotations

import contextlib
import os
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self

from buildah_py import debug, meter
from buildah_py.errors import StoreError
from buildah_py.store import reserve
from buildah_py.store.blobs import Blobs
from buildah_py.store.database import Database
from buildah_py.store.disk_usage import remove_tree
from buildah_py.store.images import Images
from buildah_py.store.layers import Layers
from buildah_py.store.location import make_private
from buildah_py.store.locks import Lease, living_leases, named_lock
from buildah_py.store.records import Records, StoredSelections

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from _typeshed import ReadableBuffer

    from buildah_py.layers.inventory import Inventory
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.view import MergedView
    from buildah_py.store.blobs import StoredBlob
    from buildah_py.store.cache_mounts import CacheMounts
    from buildah_py.store.failures import Failures
    from buildah_py.store.fetched import FetchedFiles
    from buildah_py.store.image_mounts import ImageMounts
    from buildah_py.store.images import RepoDigest
    from buildah_py.store.layers import Origin
    from buildah_py.store.lowers import Shown, Stacks
    from buildah_py.store.manifest_lists import ManifestLists
    from buildah_py.store.trees import Trees

_ROOMS = ("layers", "logs", "staging", "leases", "locks", "cache-mounts", "stat-cache")


class LayerProvider(Protocol):
    """A way by which absent layers come into a store, which says where each can be had (`store.layers.origins`)."""

    def ensure(self, store: Store, diff_ids: Sequence[str]) -> None:
        """Have the files of layers in the store: those of one image, the lowest first. Raises PybuildError."""
        ...

    def blob(self, store: Store, diff_id: str) -> StoredBlob:
        """Have the blob of a layer in the store, as it is elsewhere, without unpacking it. Raises PybuildError."""
        ...

    def close(self) -> None:
        """End whatever is under way."""
        ...


class Store:
    """The store at `root`, made where it does not exist; context manager. Raises StoreError.

    Layers that are not here come from `provider`, which is closed with the store.
    Who waits for another process here raises Interrupted where `cancelled()`, and `tell` hears of it after a second.
    """

    def __init__(
        self,
        root: str,
        provider: LayerProvider | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.root = root
        self._provider = provider
        self._cancelled = cancelled
        self._tell = tell
        database = os.path.join(root, "state.db")
        try:
            if not os.path.exists(database):
                os.makedirs(os.path.dirname(os.path.abspath(root)), exist_ok=True)
                for room in ("", *_ROOMS):
                    os.makedirs(os.path.join(root, room), mode=0o700, exist_ok=True)
            make_private(root, database)
            reserve.refuse_holes(root)
            self.lease = Lease(self.path("leases"))
        except OSError as error:
            if reserve.is_full(error):
                raise reserve.no_space(root) from error
            raise StoreError(
                f"the state directory {root} cannot be used: {error.strerror}",
                hint="name a directory of yours with PYBUILD_ROOT",
            ) from error
        try:
            self.database = Database(database, cancelled=cancelled, tell=tell)
            reserve.fill_holes(database)
        except BaseException:
            self.lease.release()
            raise
        since = self.lease.started
        self.layers = Layers(self.database, self.path("layers"), since)
        self.blobs = Blobs(self.database, self.path("blobs"), since)
        self.records = Records(self.database)
        self.selections = StoredSelections(self.database)
        self.images = Images(self.database)
        self._staged = 0
        self.lost: list[str] = []
        """Names of images that a power cut took."""
        self._sweep()
        reserve.lay_aside(root)
        debug.log("opened %s, lease %s", root, self.lease.name)

    @cached_property
    def manifest_lists(self) -> ManifestLists:
        """The manifest lists."""
        from buildah_py.store.manifest_lists import ManifestLists

        return ManifestLists(self.database)

    @cached_property
    def image_mounts(self) -> ImageMounts:
        """The mounts of images."""
        from buildah_py.store.image_mounts import ImageMounts

        return ImageMounts(self.database)

    @cached_property
    def cache_mounts(self) -> CacheMounts:
        """The cache mounts."""
        from buildah_py.store.cache_mounts import CacheMounts

        return CacheMounts(self.database, self.path("cache-mounts"), self.lease.started)

    @cached_property
    def fetched(self) -> FetchedFiles:
        """Files that contexts and ADD got from elsewhere."""
        from buildah_py.store.fetched import FetchedFiles

        return FetchedFiles(self.path("fetched"), self.path("git"), self.lock)

    @cached_property
    def failures(self) -> Failures:
        """Remains of failed steps."""
        from buildah_py.store.failures import Failures

        return Failures(self.path("failed"), self.lease.name, self.lock)

    @cached_property
    def trees(self) -> Trees:
        """The directories that hold the files of layers."""
        from buildah_py.store.trees import Trees

        return Trees(self.layers, stage=self.stage, lock=self.lock, view=self.view)

    @cached_property
    def stacks(self) -> Stacks:
        """Directories that overlays of layers consist of."""
        from buildah_py.store.lowers import Stacks

        return Stacks(self.trees)

    @property
    def begins_anew(self) -> bool:
        """Whether the records of an older pybuild were left behind when this store was opened."""
        return self.database.begins_anew

    def path(self, *names: str) -> str:
        """Return a path below the state directory."""
        return os.path.join(self.root, *names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what this process staged and let go of the store."""
        if self._provider is not None:
            self._provider.close()
        self._remove_staged(self.lease.name)
        self.database.close()
        self.lease.release()
        debug.log("closed %s", self.root)

    def stage(self) -> str:
        """Make a new empty directory on the store's file system, gone when this process is; return its path."""
        own = self.path("staging", self.lease.name)
        try:
            if not self._staged:
                os.makedirs(own, mode=0o700, exist_ok=True)
            self._staged += 1
            path = os.path.join(own, str(self._staged))
            os.mkdir(path, 0o700)
        except OSError as error:
            if reserve.is_full(error):
                raise reserve.no_space(self.root) from error
            raise StoreError(f"{own}: {error.strerror}") from error
        return path

    def discard(self, staged: str) -> None:
        """Remove a tree or a file that was staged and is not wanted."""
        if os.path.isdir(staged):
            remove_tree(staged)
        else:
            os.unlink(staged)

    def lock(
        self,
        name: str,
        cancelled: Callable[[], bool] | None = None,
        *,
        shared: bool = False,
        waiting: Callable[[], object] | None = None,
    ) -> AbstractContextManager[bool]:
        """Keep other threads and processes from executing the step `name` meanwhile; see `named_lock`."""

        def tell() -> None:
            self._tell(f"waiting for another pybuild: {name}")

        place = self.path("locks")
        return named_lock(place, name, cancelled or self._cancelled, shared=shared, waiting=waiting or tell)

    def make_durable(self) -> None:
        """Have the kernel write all layers and blobs of this boot to the disk, then note that they are there.

        That takes one syncfs(2); what is added meanwhile stays in flight.
        """
        layers, blobs = self.layers.written(), self.blobs.written()
        if not layers and not blobs:
            return
        from buildah_py.linux.files import syncfs

        descriptor = os.open(self.path("layers"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with meter.start("writing to the disk", waits=True):
                syncfs(descriptor)
        finally:
            os.close(descriptor)
        self.layers.settle(layers)
        self.blobs.settle(blobs)

    def need(self, diff_ids: Sequence[str]) -> None:
        """Have the files of these layers here, the lowest layer of an image first. Absent ones are fetched."""
        if self.layers.missing(diff_ids):
            self.stacks.forget()
            self._provided(diff_ids).ensure(self, diff_ids)

    def fetch_blob(self, diff_id: str) -> StoredBlob:
        """Give the blob of a layer as it is elsewhere, fetched without unpacking it. Raises PybuildError."""
        return self._provided([diff_id]).blob(self, diff_id)

    def promise_image(
        self,
        image: str,
        config: bytes | None,
        layers: Mapping[str, tuple[int, Sequence[Origin]]],
        diff_ids: Sequence[str],
        *,
        names: Sequence[str] = (),
        repo_digests: Sequence[RepoDigest] = (),
    ) -> None:
        """Keep an image whose layers are elsewhere: all at once, or not at all.

        `image` is the digest of its config, which is kept unless None. `layers` give the sizes of their blobs, and
        where these can be had.
        """
        with self.database.transaction():
            for diff_id, (size, origins) in layers.items():
                self.layers.promise(diff_id, size=size, origins=origins)
            if config is not None:
                self.images.put(image, config, diff_ids, names)
            for one in repo_digests:
                self.images.add_repo_digest(image, one)

    def note_pushed(self, image: str, layers: Mapping[str, Origin], repo_digest: RepoDigest) -> None:
        """Know that a registry has an image and its layers, as far as the store has these."""
        with self.database.transaction():
            for diff_id, origin in layers.items():
                if self.layers.get(diff_id) is not None:
                    self.layers.promise(diff_id, size=origin.size, origins=[origin])
            if self.images.raw(image) is not None:
                self.images.add_repo_digest(image, repo_digest)

    def write_tar(
        self, diff_id: str, write: Callable[[ReadableBuffer], object], retime: Callable[[int], int] | None = None
    ) -> str:
        """Write the tar of a layer that is here; the tar's digest. `retime` gives what becomes of a time (ns).

        Raises ArchiveError where the layer is damaged.
        """
        from buildah_py.layers.tar import pack, pass_on

        kept = None if retime else self.layers.packed(diff_id)
        if kept is None:
            return pack(self.layers.inventories.get(diff_id), self.trees.whole(diff_id), write, retime=retime)
        with kept:
            return pass_on(kept, write, diff_id)

    def lowers(self, diff_ids: Sequence[str]) -> tuple[str, ...]:
        """Return the directories of layers (given lowest first) for an overlay, top-most first.

        Absent ones are fetched.
        """
        from buildah_py.store.lowers import lowers

        return lowers(self.stack(diff_ids))

    def stack(self, diff_ids: Sequence[str]) -> tuple[Shown, ...]:
        """Return what an overlay of layers consists of, top-most first. Layers that are not here are fetched."""
        from buildah_py.store.form import check_form

        check_form(self.root)
        self.need(diff_ids)
        return self.stacks.of(diff_ids)

    def _provided(self, diff_ids: Sequence[str]) -> LayerProvider:
        if self._provider is None:
            missing = self.layers.missing(diff_ids) or diff_ids
            raise StoreError(f"layer {missing[0]} is not here, and nothing says how to get it")
        return self._provider

    def view(self, diff_ids: Sequence[str], stamps: Sequence[Stamps] = ()) -> MergedView:
        """Return the merged file system of layers, lowest first; an inventory is read when it is asked for.

        The first that is asked for has all layers fetched. `stamps` tells for each layer, where there is one, which of
        its times are not content.
        """
        from buildah_py.layers.stamps import NO_STAMPS
        from buildah_py.layers.view import LayerTree, MergedView

        chain = tuple(diff_ids)
        needed = False

        def inventory(diff_id: str) -> Inventory:
            nonlocal needed
            if not needed:
                self.need(chain)
                needed = True
            return self.layers.inventories.get(diff_id)

        def tree(diff_id: str, stamps: Stamps) -> LayerTree:
            return LayerTree(lambda path: self.trees.of_file(diff_id, path), lambda: inventory(diff_id), stamps)

        times = stamps or [NO_STAMPS] * len(chain)
        return MergedView([tree(*one) for one in reversed(list(zip(chain, times, strict=True)))])

    def _sweep(self) -> None:
        """Drop what dead processes left: staged trees, and layers of another boot that never became durable."""
        staged = os.listdir(self.path("staging"))  # before the leases: whoever stages has one
        if staged or len(os.listdir(self.path("leases"))) > 1:
            living = living_leases(self.path("leases"))
            for name in staged:
                if name not in living:
                    # A file is nobody's of ours. And without root only commands that enter a user namespace may remove
                    # what a container left; they do, later.
                    with contextlib.suppress(NotADirectoryError, PermissionError):
                        self._remove_staged(name)
        if self.layers.in_flight() or self.blobs.in_flight():
            from buildah_py.store.check import recover

            with self.lock("recovery after a power cut"):
                self.lost = recover(self.layers, self.blobs)

    def _remove_staged(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            remove_tree(self.path("staging", name))
