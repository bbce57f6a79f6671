"""A place that `--share` names: results of single steps are found there, and put there as soon as they are made.

`book` is the cache that is there as `--cache-from` reads it, where earlier builds have put down all they knew.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import CacheError
from buildah_py.image.digest import sha256_of
from buildah_py.sharing import notes
from buildah_py.sharing.claims import Claims
from buildah_py.sharing.export import SentCache, signatures
from buildah_py.sharing.imported import UNSIGNED, FoundRecord, ImportedCache
from buildah_py.sharing.link import Link
from buildah_py.sharing.notes import SharedResult, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.descriptor import Descriptor
    from buildah_py.sharing.backend import Open, StoredNote
    from buildah_py.sharing.claims import Who
    from buildah_py.sharing.records import SharedLayer
    from buildah_py.sharing.spec import CacheSpec

STEP = "step"
MOUNT = "mount"


class Parcel(NamedTuple):
    """The result of a step, ready to be sent: compressed records, the layer that they name, and what opens its blob."""

    key: str
    text: bytes
    layer: SharedLayer
    blob: Descriptor
    source: Open


class MeetingPlace:
    """The place, its claims and the way to it. `warn` is told of what is not used and why, `note` of waits.

    Nothing here raises but `publish`, and Interrupted.
    """

    def __init__(
        self,
        spec: CacheSpec,
        book: ImportedCache,
        who: Who,
        note: Callable[[str], object],
        warn: Callable[[str], object],
        cancelled: Callable[[], bool],
    ) -> None:
        backend = book.backend
        ttl = spec.claim_ttl or backend.claim_ttl
        self.spec = spec
        self.book = book
        self.backend = backend
        self.link = Link(backend.name, ttl, note, warn, cancelled)
        self.claims = Claims(backend, ttl, who)
        self.sent = SentCache()
        self.layers: dict[str, SharedLayer] = {}
        """Layers whose blobs are there, as far as this build has met them, by their diff_ids."""
        self._note = note
        self._warn = warn
        self._results: dict[str, SharedResult] = {}
        self._conditional: bool | None = None
        self._unreadable = False
        self._lock = threading.Lock()

    @property
    def may_claim(self) -> bool:
        """Whether it is worth claiming anything there; asks the place the first time."""
        with self._lock:
            if self._conditional is None and self.link.is_open:
                try:
                    why = self.link.ask(self.backend.unconditional)
                except CacheError:  # the link has said so
                    return False
                if why:
                    text = f"{self.backend.name}: {why}: no step is claimed there, so that two builders may do the same"
                    self._warn(text)
                self._conditional = not why
        return bool(self._conditional) and self.link.is_open

    def find(self, key: str) -> FoundRecord | None:
        """Return the record that a step led to, with its layer."""
        name = name_of(STEP, key)
        result = self._results.pop(name, None)
        if result is None:
            try:
                note = self._read(name)
            except CacheError:  # that was said, or will be
                return None
            if note is None:
                return None
            self.book.count(len(note.data))
            found = notes.read(note.data, self._what(key))
            if not isinstance(found, SharedResult):
                return None
            result = found
        return self._open(key, result)

    def _read(self, name: str) -> StoredNote | None:
        """Read a note, also of a place that takes nothing from here."""
        if not self.link.is_off:
            return self.link.ask(lambda: self.backend.read_note(name))
        if self._unreadable:
            return None
        try:
            return self.backend.read_note(name)
        except CacheError:
            self._unreadable = True
            raise

    def keep(self, name: str, result: SharedResult) -> None:
        """Remember a result that was met, for who asks for it next."""
        self._results[name] = result

    def publish(self, parcel: Parcel, *, anew: bool) -> bool:
        """Send a result and its layer; whether they count there. Raises CacheError."""
        blob = parcel.blob
        if not self.link.ask(lambda: self.backend.has(blob)):
            self.link.ask(lambda: self.backend.put(blob, parcel.source))
            self.count_sent(SentCache(1, blob.size))
        else:
            self.count_sent(SentCache(known=1))
        self.layers[parcel.layer.diff_id] = parcel.layer
        data = notes.write_result(parcel.text, signatures(self.spec.sign, sha256_of(parcel.text)))
        conditional = self.may_claim and not self.backend.claims_are_dear
        name = name_of(STEP, parcel.key)
        return self.link.ask(lambda: self.claims.publish(name, data, [blob], anew=anew, conditional=conditional))

    def count_sent(self, sent: SentCache) -> None:
        """Count what was sent there."""
        with self._lock:
            before = self.sent
            self.sent = SentCache(before.blobs + sent.blobs, before.bytes + sent.bytes, before.known + sent.known)

    def _open(self, key: str, result: SharedResult) -> FoundRecord | None:
        what = self._what(key)
        try:
            signer = self._signer(result, what)
            book = result.book(what)
            record = book.record(key)
            layer = None if record is None else book.layer(record.diff_id)
        except CacheError as error:
            self._warn(f"{error}: it is not used")
            return None
        if record is None or layer is None:
            return None
        self.layers[layer.diff_id] = layer
        return FoundRecord(record, layer, signer)

    def _signer(self, result: SharedResult, what: str) -> str:
        if not self.spec.verify:
            return UNSIGNED
        from buildah_py.sharing.signing import is_signed

        for one in result.head.signatures:
            if one.key in self.spec.verify and is_signed(one.key, result.head.records, one.signature):
                return one.key
        raise CacheError(f"{what} is not signed with the key that `verify` asks for")

    def _what(self, key: str) -> str:
        return f"{self.backend.name}: the result of {key}"
