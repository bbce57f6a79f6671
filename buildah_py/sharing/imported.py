"""A cache that `--cache-from` names, read when something is first asked of it, and then no more of it than is asked."""

from __future__ import annotations

import base64
import binascii
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import meter
from buildah_py.errors import CacheError, ImageError
from buildah_py.image import canonical, config, media_types
from buildah_py.image.digest import sha256_of
from buildah_py.sharing import INLINE_PROPERTY, artifact
from buildah_py.sharing.backend import read_blob
from buildah_py.sharing.records import Book

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.image.manifest import Manifest
    from buildah_py.sharing.artifact import Head
    from buildah_py.sharing.backend import Backend
    from buildah_py.sharing.records import SharedLayer, SharedMount, SharedRecord

UNSIGNED: Final = "unsigned"


class FoundRecord(NamedTuple):
    """A record with its layer, and the public key that it was found to be signed with.

    That is UNSIGNED where no signature was asked for.
    """

    record: SharedRecord
    layer: SharedLayer
    signer: str


class ImportedCache:
    """The cache that `backend` keeps. With `verify` it is used only if one of these public keys belongs to a signature.

    Nothing here raises: a cache that cannot be read, or that says what cannot be, is as good as none, and `warn` is
    told why. `hits` counts what was of use, `fetched` the bytes that were read for that;
    `signer` is the key that a wanted signature was made with.
    """

    def __init__(self, backend: Backend, verify: Sequence[str], warn: Callable[[str], object]) -> None:
        self.backend = backend
        self._verify = verify
        self._warn = warn
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._book: Book | None = None
        self._blobs: dict[str, Descriptor] = {}
        self.signer = UNSIGNED
        self._opened = False
        self.hits = 0
        self.fetched = 0

    @property
    def is_there(self) -> bool:
        """Whether there is a cache that can be read."""
        return self._open() is not None

    @property
    def opened(self) -> bool:
        """Whether anything was asked of it."""
        return self._opened

    def find(self, key: str) -> FoundRecord | None:
        """Return the record of a key with its layer."""
        book = self._open()
        if book is None:
            return None
        try:
            record = book.record(key)
            layer = None if record is None else book.layer(record.diff_id)
        except CacheError as error:
            self._warn(f"{error.message}")
            return None
        if record is None or layer is None:
            return None
        return FoundRecord(record, self._with_blob(layer), self.signer)

    def selection(self, key: str) -> str | None:
        """Return the digest that it has of a selection."""
        book = self._open()
        try:
            return None if book is None else book.selection(key)
        except CacheError as error:
            self._warn(error.message)
            return None

    def observed(self, plain_key: str) -> list[tuple[str, bytes]]:
        """Return keys of a step with what it learned under each, packed."""
        book = self._open()
        try:
            found = [] if book is None else [book.record(key) for key in book.observed(plain_key)]
            return [(one.key, one.observed[1]) for one in found if one is not None and one.observed is not None]
        except CacheError as error:
            self._warn(error.message)
            return []

    def count_hit(self) -> None:
        """Count a record that was of use."""
        with self._lock:
            self.hits += 1

    def layer(self, diff_id: str) -> SharedLayer | None:
        """Return the layer, as far as the cache knows it."""
        book = self._open()
        try:
            layer = None if book is None else book.layer(diff_id)
        except CacheError as error:
            self._warn(error.message)
            return None
        return None if layer is None else self._with_blob(layer)

    def mount(self, identity: str) -> SharedMount | None:
        """Return the cache mount, as far as the cache has it."""
        book = self._open()
        try:
            return None if book is None else book.mount(identity)
        except CacheError as error:
            self._warn(error.message)
            return None

    def all(self) -> tuple[list[SharedRecord], list[SharedLayer], dict[str, str]]:
        """All records, layers and selections, for writing them again. Raises CacheError where one cannot be read."""
        book = self._open()
        if book is None:
            return [], [], {}
        records = [one for key in book.records() if (one := book.record(key)) is not None]
        layers = {one.diff_id: layer for one in records if (layer := book.layer(one.diff_id)) is not None}
        return records, list(layers.values()), book.selections()

    def mounts(self) -> list[str]:
        """Return the ids of its cache mounts."""
        book = self._open()
        return [] if book is None else book.mounts()

    def count(self, length: int) -> None:
        """Add bytes that were read."""
        with self._lock:
            self.fetched += length

    def _with_blob(self, layer: SharedLayer) -> SharedLayer:
        """Return the layer with its blob: an inline cache has those of its layers from the image's manifest."""
        return layer._replace(blob=self._blobs.get(layer.diff_id)) if self._blobs else layer

    def _open(self) -> Book | None:
        with self._opening:
            if not self._opened:
                try:
                    with meter.start(f"reading the records of {self.backend.name}", waits=True):
                        self._book = self._read()
                except CacheError as error:
                    self._warn(f"the cache is not used: {error}")
                self._opened = True
        return self._book

    def _read(self) -> Book | None:
        backend = self.backend
        data = backend.manifest()
        if data is None:
            return None
        self.count(len(data))
        manifest = artifact.read_manifest(data, backend.name)
        if manifest.config.media_type in media_types.CONFIGS:
            return self._read_image(manifest)
        if manifest.config.media_type != artifact.CONFIG:
            raise CacheError(f"{backend.name} is neither a cache of pybuild nor an image with one inside")
        config_data = read_blob(backend, manifest.config, canonical.MAX_BYTES, self.count)
        head = artifact.read_config(config_data, f"{backend.name}: the config")
        blob = next((one for one in manifest.layers if one.digest == head.records), None)
        if blob is None:
            raise CacheError(f"{backend.name}: the manifest does not hold the records")
        self._check(head)
        return self._book_of(read_blob(backend, blob, artifact.MAX_RECORDS, self.count))

    def _read_image(self, manifest: Manifest) -> Book | None:
        backend, what = self.backend, f"{self.backend.name}: the image's config"
        data = read_blob(backend, manifest.config, canonical.MAX_BYTES, self.count)
        try:
            inline = canonical.table(canonical.from_bytes(data, what), INLINE_PROPERTY, what)
            if not inline:
                return None
            text = base64.b64decode(canonical.text(inline, "data", what), validate=True)
            diff_ids = config.from_bytes(data, what).diff_ids
        except (ImageError, binascii.Error) as error:
            raise CacheError(f"{what}: {error}") from error
        head = artifact.read_config(canonical.to_bytes({**inline, "data": ""}), what)
        if head.records != sha256_of(text):
            raise CacheError(f"{what}: its records are damaged")
        if len(diff_ids) != len(manifest.layers):
            raise CacheError(f"{what} is not that of the manifest")
        self._check(head)
        self._blobs = dict(zip(diff_ids, manifest.layers, strict=True))
        return self._book_of(text)

    def _book_of(self, data: bytes) -> Book:
        name = self.backend.name
        return Book(artifact.decompress(data, f"{name}: the records"), name)

    def _check(self, head: Head) -> None:
        """Raise CacheError unless one of the wanted keys has signed the records."""
        if not self._verify:
            return
        from buildah_py.sharing.signing import is_signed

        for one in head.signatures:
            if one.key in self._verify and is_signed(one.key, head.records, one.signature):
                self.signer = one.key
                return
        raise CacheError(
            f"{self.backend.name} is not signed with the key that `verify` asks for",
            hint="export it with sign=FILE, or leave out verify=",
        )
