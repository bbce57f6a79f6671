"""Contents of a cache mount, as a cache keeps them: an inventory, and the packs in which its files' contents lie.

Contents are named by their digests: two snapshots share the packs of what both hold, and equal files are there once. A
pack is a run of contents, compressed as a whole. Snapshots are what others say: see `restore` for what is believed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import ArchiveError, CacheError, ImageError
from buildah_py.image import canonical
from buildah_py.image.descriptor import Descriptor, from_dict
from buildah_py.layers.entry import DIR, FILE, HARDLINK, SYMLINK
from buildah_py.layers.inventory import Inventory
from buildah_py.sharing import artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildah_py.layers.entry import Entry

MAX_BYTES: Final = 1 << 28
MAX_COMPRESSED: Final = 1 << 26
_FORMAT: Final = b"pybuild cache mount 1\n"
_NAME_MAX: Final = 255
_PATH_MAX: Final = 4095
_MAX_ID: Final = 1 << 31


class Piece(NamedTuple):
    """Where a content lies: the pack's number, the offset in it before compression."""

    pack: int
    offset: int
    size: int


class Pack(NamedTuple):
    """A pack's blob, and its bytes before compression."""

    blob: Descriptor
    size: int


class Snapshot(NamedTuple):
    """A cache mount's inventory, the packs, and where each content (by its digest) lies."""

    inventory: Inventory
    packs: Sequence[Pack]
    pieces: Mapping[str, Piece]

    def to_bytes(self) -> bytes:
        """Return the form that is kept, compressed."""
        head = {
            "packs": [{"blob": pack.blob.to_dict(), "size": pack.size} for pack in self.packs],
            "pieces": {digest: list(piece) for digest, piece in sorted(self.pieces.items())},
        }
        return artifact.compress(_FORMAT + canonical.to_bytes(head) + b"\n" + self.inventory.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes, what: str) -> Snapshot:
        """Read what `to_bytes` wrote. Raises CacheError where anything in it is not as it has to be."""
        text = artifact.decompress(data, what, MAX_BYTES)
        if not text.startswith(_FORMAT):
            raise CacheError(f"{what} was not written by this version of pybuild")
        line, _, rest = text[len(_FORMAT) :].partition(b"\n")
        try:
            raw = json.loads(line)
            packs = [
                Pack(from_dict(one["blob"], what), _natural(one["size"]))
                for one in canonical.tables(raw, "packs", what)
            ]
            pieces = {
                str(digest): Piece(*map(_natural, place))
                for digest, place in canonical.table(raw, "pieces", what).items()
            }
            inventory = Inventory.from_bytes(rest)
        except (ValueError, TypeError, KeyError, RecursionError, AttributeError, ImageError, ArchiveError) as error:
            raise CacheError(f"{what} is malformed: {error}") from error
        for piece in pieces.values():
            if piece.pack >= len(packs) or piece.offset + piece.size > packs[piece.pack].size:
                raise CacheError(f"{what} is malformed: a content lies outside of its pack")
        _check(inventory, what)
        for entry in inventory:
            if entry.kind == FILE and entry.size and _size(pieces, entry) != entry.size:
                raise CacheError(f"{what} is malformed: it lacks /{entry.path}")
        return cls(inventory, packs, pieces)


def _size(pieces: Mapping[str, Piece], entry: Entry) -> int:
    piece = pieces.get(entry.digest)
    return -1 if piece is None else piece.size


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 50:
        raise ValueError(f"{value!r} is not a size")
    return value


def _check(inventory: Inventory, what: str) -> None:
    """Refuse all that is not a plain file, directory or link with a name that can be, below its own directory."""
    directories = {""}
    seen: set[str] = set()
    for entry in inventory:
        path = entry.path
        fault = _fault(entry) or ("is there twice" if path in seen else "")
        if not fault and path and path.rpartition("/")[0] not in directories:
            fault = "lies in no directory"
        if entry.kind == HARDLINK and not fault and entry.link not in seen:
            fault = "is a link to what is not there"
        if fault:
            raise CacheError(f"{what} is malformed: /{path!r} {fault}")
        seen.add(path)
        if entry.kind == DIR:
            directories.add(path)


def _fault(entry: Entry) -> str:
    parts = entry.path.split("/")
    if entry.path and (
        {"", ".", ".."} & set(parts)
        or len(entry.path.encode("utf-8", "surrogateescape")) > _PATH_MAX
        or any(len(part.encode("utf-8", "surrogateescape")) > _NAME_MAX for part in parts)
    ):
        return "is not a name"
    if entry.kind not in (FILE, DIR, SYMLINK, HARDLINK) or entry.opaque or entry.implied:
        return f"is a {entry.kind}"
    if not entry.path and entry.kind != DIR:
        return "is not a directory"
    if entry.kind == SYMLINK and not 0 < len(entry.link.encode("utf-8", "surrogateescape")) <= _PATH_MAX:
        return "leads nowhere"
    numbers = (entry.uid, entry.gid)
    if not 0 <= entry.mode <= 0o7777 or min(numbers) < 0 or max(numbers) >= _MAX_ID or not 0 <= entry.size < 1 << 50:
        return "has numbers that cannot be"
    return "" if abs(entry.mtime) < 1 << 62 else "has a time that cannot be"
