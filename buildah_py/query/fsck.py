"""Checking the whole store: the database, each layer, image and record against its digests; and repairing it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.cache.keys import step_key
from buildah_py.errors import ImageError, StoreError
from buildah_py.image import config as image_config
from buildah_py.layers.stamps import read_stamps
from buildah_py.store import Store
from buildah_py.store.check import adopt, keep_tree, problems_of_layer, repair_inventory, repair_size, repair_trees
from buildah_py.store.names import familiar_name
from buildah_py.store.recovery import problems_of_database, recover_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.layers.inventory import Inventory
    from buildah_py.store import StoredBlob, StoredImage, StoredLayer, StoredRecord


class Fault(NamedTuple):
    """Something that is not as it should be: a `what` (database, blob, layer, image or record) of that `name`.

    `done` tells what was done about it, empty if nothing was.
    """

    what: str
    name: str
    problem: str
    done: str = ""


class FsckResult(NamedTuple):
    """Result of a check: how much was looked at, and the faults."""

    layers: int
    images: int
    records: int
    faults: list[Fault]


def fsck(root: str, *, repair: bool = False, tell: Callable[[str], object] = lambda _: None) -> FsckResult:
    """Check the store at `root`; with `repair`, make good what can be, and drop the rest with what is built of it.

    Reads every layer whole; `tell` hears of waits. Raises StoreError where the store cannot be opened, or is in use and
    had to be replaced.
    """
    faults = []
    if problems := problems_of_database(os.path.join(root, "state.db")):
        done = ""
        if repair:
            done = f"what could be read is in a new one, the old one is {recover_database(root)}"
        faults += [Fault("database", "state.db", problem, done) for problem in problems]
        if not repair:
            return FsckResult(0, 0, 0, faults)
    with Store(root, tell=tell) as store:
        check = _Check(store, repair=repair, recovered=bool(problems))
        check.blobs()
        check.layers()
        check.images()
        check.records()
        store.make_durable()
        return FsckResult(check.layer_count, check.image_count, check.record_count, faults + check.faults)


class _Check:
    def __init__(self, store: Store, *, repair: bool, recovered: bool) -> None:
        self._store = store
        self._repair = repair
        self._recovered = recovered
        self.faults = [Fault("image", name, "it was lost in a power cut", "removed") for name in store.lost]
        self.layer_count = self.image_count = self.record_count = 0

    def blobs(self) -> None:
        blobs = list(self._store.blobs.all())
        with meter.start("checking blobs", len(blobs), meter.ITEMS, waits=True) as moved:
            for blob in blobs:
                self._look_at_blob(blob)
                moved.add(1)

    def _look_at_blob(self, blob: StoredBlob) -> None:
        problem = self._store.blobs.problem(blob)
        if not problem or self._store.blobs.get(blob.digest) is None:
            return  # in the second case it was collected meanwhile
        if self._repair:
            self._store.blobs.remove(blob.digest)
        self._fault("blob", blob.digest, problem, "removed")

    def layers(self) -> None:
        layers = self._store.layers
        if self._recovered:
            for name in layers.orphans():
                if adopt(layers, name):
                    self._fault("layer", f"sha256:{name}", "the database did not know it", "taken back")
        everything = list(layers.all())
        with meter.start("checking layers", len(everything), meter.ITEMS, waits=True) as moved:
            for layer in everything:
                self._look_at_layer(layer)
                moved.add(1)

    def _look_at_layer(self, layer: StoredLayer) -> None:
        layers = self._store.layers
        # One that is collected meanwhile has no row any more, and thereby no problems.
        problems = problems_of_layer(layers, layer.diff_id)
        if layer.absent and not layers.can_be_had(layer.diff_id) and layers.missing([layer.diff_id]):
            problems = ["it is not here, and nothing says where it can be had"]
        self.layer_count += 1
        if problems:
            done = self._mend(layer.diff_id) if self._repair else ""
            self.faults += [Fault("layer", layer.diff_id, problem, done) for problem in problems]

    def _mend(self, diff_id: str) -> str:
        if repair_size(self._store.layers, diff_id):
            return "noted the right size"
        if repair_inventory(self._store.layers, diff_id):
            return "made a new inventory"
        if keep_tree(self._store.layers, diff_id):
            return "removed its tar, beside which its tree is whole"
        if repair_trees(self._store.layers, diff_id):
            return "removed its tree, which is made again of its tar"
        if self._store.layers.make_absent([diff_id]):
            return "removed its files, which are fetched again when something needs them"
        if names := self._store.layers.drop([diff_id]):
            return f"removed, and with it {', '.join(map(familiar_name, names))}"
        return "removed"

    def images(self) -> None:
        for digest in self._store.images.ids():
            self.image_count += 1
            if problem := self._problem_of_image(digest):
                names = self._store.images.remove(digest) if self._repair else []
                shown = ", ".join(map(familiar_name, names))
                self._fault("image", digest, problem, f"removed {shown}".rstrip())

    def _problem_of_image(self, digest: str) -> str:
        image = self._store.images.raw(digest)
        if image is None:
            return ""
        try:
            return _config_problem(image, self._store.images.layers_of(digest))
        except ImageError as error:
            return error.message

    def _inventory(self, diff_id: str) -> Inventory | None:
        """Give a layer's inventory, None where it is not here; a damaged one is the layer's fault."""
        layer = self._store.layers.get(diff_id)
        if layer is None or layer.absent:
            return None
        try:
            return self._store.layers.inventories.get(diff_id)
        except StoreError:
            return None

    def records(self) -> None:
        with meter.start("checking records", 0, meter.ITEMS) as moved:
            for record in self._store.records.all():
                self.record_count += 1
                moved.add(1)
                if problem := "".join(_record_problems(record, self._inventory)):
                    if self._repair:
                        self._store.records.remove(record.key)
                    self._fault("record", record.key, problem, "removed")

    def _fault(self, what: str, name: str, problem: str, done: str) -> None:
        self.faults.append(Fault(what, name, problem, done if self._repair else ""))


def _config_problem(image: StoredImage, layers: tuple[str, ...]) -> str:
    from buildah_py.image import digest

    if digest.sha256_of(image.config) != image.id:
        return "its config is not the one that it is named after"
    if image_config.from_bytes(image.config).diff_ids != layers:
        return "its layers are not those of its config"
    return ""


def _record_problems(record: StoredRecord, inventory_of: Callable[[str], Inventory | None]) -> Iterator[str]:
    try:
        data = json.loads(record.data)
        key = step_key(data["parent"], data["step"], data["inputs"], version=data["version"])
        content, stamps = data["content"], read_stamps(data["stamps"])
    except (ValueError, KeyError, TypeError) as error:
        yield f"it cannot be read: {error}"
        return
    if key != record.key:
        yield "its ingredients do not give its key"
    elif not record.intact:
        yield "it is not as it was written: it may lead to another layer"
    elif (inventory := inventory_of(record.diff_id)) is not None and inventory.content_digest(stamps) != content:
        yield "its layer has other content than the one that it was made with"
