"""Notes about steps in a shared place: claimed by a builder, free again, or the result that the step led to.

All of it is what others say. A claim that says nothing sensible counts as free; a result is read as a cache of one
record, with the same checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.cache.keys import canonical_json
from buildah_py.checksum import sha256_hex
from buildah_py.errors import CacheError, ImageError
from buildah_py.http.response import printable
from buildah_py.image import canonical
from buildah_py.image.digest import sha256_of
from buildah_py.sharing import artifact, records
from buildah_py.sharing.backend import MAX_NOTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.sharing.artifact import Signature
    from buildah_py.sharing.records import SharedLayer, SharedRecord

_RESULT: Final = b"pybuild result 1\n"
_LONGEST_TTL: Final = 3600.0
_LINE: Final = 200


class Claim(NamedTuple):
    """A builder's word that it is at work, or that it has a cache mount. `holder` is a name that no other has.

    `text` is the step, `line` the last that it wrote; `seconds` is how long it has taken by the holder's own clock.
    `ttl` is after how many seconds without another `beat` the claim counts no more.
    """

    holder: str
    host: str
    pid: int
    text: str
    ttl: float
    line: str = ""
    seconds: float = 0.0
    beat: int = 0

    def to_bytes(self) -> bytes:
        """Write it."""
        said = {
            **self._asdict(),
            "text": self.text[:_LINE],
            "line": self.line[:_LINE],
            "seconds": int(self.seconds * 1000),
            "ttl": int(self.ttl * 1000),
        }
        return canonical_json({"format": 1, "state": "claimed", **said})

    @property
    def shown(self) -> str:
        """The claim in words."""
        line = f": {self.line}" if self.line else ""
        return f"{self.host} (pid {self.pid}): {self.text}, {self.seconds:.0f} s{line}"


class SharedResult(NamedTuple):
    """Bytes of a result: the records of a cache that has one, compressed, and who has signed them."""

    text: bytes
    head: artifact.Head

    def book(self, what: str) -> records.Book:
        """Read the record. Raises CacheError."""
        if sha256_of(self.text) != self.head.records:
            raise CacheError(f"{what} is damaged")
        return records.Book(artifact.decompress(self.text, what, MAX_NOTE * 16), what)


FREE: Final = b'{"format":1,"state":"free"}'
"""The note of a step that nobody does any more, and that has no result."""


def name_of(kind: str, key: str) -> str:
    """Name the note of a step's key, or of a cache mount."""
    return f"{kind}-{sha256_hex(key.encode('utf-8', 'surrogateescape'))[:48]}"


def result_text(record: SharedRecord, layer: SharedLayer) -> bytes:
    """Make the compressed records of one step; without what it learned where that is too large for a note."""
    text = artifact.compress(records.to_bytes([record], [layer]))
    if len(text) > MAX_NOTE // 2 and record.observed is not None:
        text = artifact.compress(records.to_bytes([record._replace(observed=None)], [layer]))
    if len(text) > MAX_NOTE // 2:
        raise CacheError(f"the record {record.key} is too large for a note")
    return text


def write_result(text: bytes, signatures: Sequence[Signature]) -> bytes:
    """Write the note of a result."""
    return _RESULT + artifact.write_config(sha256_of(text), signatures) + b"\n" + text


def read(data: bytes, what: str) -> Claim | SharedResult | None:
    """Read a note: None for what is free, or says nothing that counts."""
    try:
        if data.startswith(_RESULT):
            head, _, text = data[len(_RESULT) :].partition(b"\n")
            return SharedResult(text, artifact.read_config(head, what))
        raw = canonical.from_bytes(data, what)
        if canonical.number(raw, "format", what) != 1 or canonical.text(raw, "state", what) != "claimed":
            return None
        return Claim(
            holder=canonical.text(raw, "holder", what),
            host=printable(canonical.text(raw, "host", what))[:_LINE],
            pid=canonical.number(raw, "pid", what),
            text=printable(canonical.text(raw, "text", what))[:_LINE],
            ttl=min(max(canonical.number(raw, "ttl", what) / 1000, 0.0), _LONGEST_TTL),
            line=printable(canonical.text(raw, "line", what))[:_LINE],
            seconds=max(canonical.number(raw, "seconds", what) / 1000, 0.0),
            beat=canonical.number(raw, "beat", what),
        )
    except (CacheError, ImageError):
        return None
