"""The sorted list of a layer's entries, its digest and its form on disk."""

from __future__ import annotations

import hashlib
import re
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry, sort_key
from buildah_py.layers.stamps import NO_STAMPS, Stamps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_MAGIC: Final = b"pybuild inventory 1\n"
_FIELDS: Final = 11
_ROWS: Final = 4096
_BLOCK: Final = 1 << 20
_FEW: Final = 64  # questions after which making all entries costs less
_HEAD: Final = re.compile(rb"(?:file|dir|symlink|hardlink|fifo|char|block|whiteout)\0[0-7]+\0[0-9]+\0[0-9]+\0")
_FILE: Final = re.compile(rb"\0(sha256:[0-9a-f]{64})\0[^\0]*\0[^\0]*\0[^\0]*\0(-?[0-9]+)\0")
_OPAQUE: Final = re.compile(rb"\0oi?-?[0-9]+\0")
_FOREIGN: Final = ("system.", "trusted.")
_FOREIGN_HEX: Final = [name.encode().hex().encode() for name in _FOREIGN]
_ODD: Final = re.compile(rb"\0(?:hardlink|fifo|char|block|whiteout|[oi]{1,2}-?[0-9]+)\0")
_ATTRIBUTE: Final = re.compile(rb"\0[0-9a-f]+=")
_ATTRIBUTES: Final = itemgetter(9)
_LOOKS: Final = itemgetter(1, 9, 11, 12)  # kind, xattrs, opaque, implied
_KINDS: Final = {kind: kind for kind in (FILE, DIR, SYMLINK, HARDLINK, FIFO, CHAR, BLOCK, WHITEOUT)}
_FLAGS: Final = {(False, False): "", (True, False): "o", (False, True): "i", (True, True): "oi"}
_FLAGS_BACK: Final = {text: flags for flags, text in _FLAGS.items()}


class Captured(NamedTuple):
    """A finished layer.

    `diff_id` and `size` are digest and length of the layer's uncompressed tar; `skipped` lists the sockets that no
    archive can hold. `unneeded` is what the captured directory has and the layer has not, the innermost first, and
    `retimed` what has parts of a second that the layer has not: see `layers.tidy`. `base` is the diff_id of the layer
    whose tar it was written as a patch of, if it was. `stamps` tells which of its times are not content.
    """

    inventory: Inventory
    diff_id: str
    size: int
    skipped: tuple[str, ...] = ()
    unneeded: tuple[str, ...] = ()
    base: str = ""
    stamps: Stamps = NO_STAMPS
    retimed: tuple[Entry, ...] = ()


class Inventory:
    """Entries of a layer, sorted by path components as bytes, parents before children. Immutable."""

    __slots__ = (
        "_asked", "_attributes", "_by_path", "_children", "_data", "_digest", "_entries", "_files", "_links", "_plain"
    )  # fmt: skip

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._entries: Sequence[Entry] | None = sorted(entries, key=_entry_key)
        self._data = b""
        self._asked = 0
        self._by_path: dict[str, Entry] | None = None
        self._children: dict[str, list[str]] | None = None
        self._links: dict[str, list[str]] | None = None
        self._digest = ""
        self._files = -1
        self._plain: bool | None = None
        self._attributes: bool | None = None

    @classmethod
    def of_sorted(cls, entries: Sequence[Entry]) -> Self:
        """Make one of entries that are in order."""
        made = cls()
        made._entries = entries
        return made

    @classmethod
    def lazily(cls, data: bytes) -> Self:
        """Make one of the form kept on disk, known to be whole, without reading all of it for a few questions."""
        made = cls()
        made._entries = None
        made._data = data
        return made

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, in order. Raises ArchiveError as `from_bytes` does."""
        data = self._data  # taken first, for another thread may just be done with it
        if self._entries is None:
            self._entries = self.from_bytes(data).entries
            self._data = b""
        return self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inventory) and self.entries == other.entries

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Inventory of {len(self.entries)} entries>"

    @property
    def size(self) -> int:
        """Bytes in the layer's regular files."""
        return sum(entry.size for entry in self.entries)

    @property
    def files(self) -> int:
        """How many of its entries are regular files."""
        if self._files < 0:
            data = self._data
            self._files = count_files(data) if data else sum(entry.digest != "" for entry in self.entries)
        return self._files

    @property
    def is_plain(self) -> bool:
        """Whether a directory of these entries shows nothing but what each of them says by itself.

        So there are no links that share a file, special files, marks of overlayfs, undescribed directories (but the
        root), nor attributes that are not a file's own.
        """
        if self._plain is None:
            data = self._data
            self._plain = bool(data and _surely_plain(data)) or _is_plain(self.entries)
        return self._plain

    @property
    def has_attributes(self) -> bool:
        """Whether entries have extended attributes."""
        if self._attributes is None:
            data = self._data
            surely_not = bool(data) and _ATTRIBUTE.search(data) is None  # a name may look like one
            self._attributes = not surely_not and any(map(_ATTRIBUTES, self.entries))
        return self._attributes

    @property
    def layer_digest(self) -> str:
        """`sha256:<hex>` of everything but the mtimes."""
        if not self._digest:
            for _ in self.parts():
                pass
        return self._digest

    def content_digest(self, stamps: Stamps) -> str:
        """`sha256:<hex>` of everything but the mtimes that are not content; the others count as the tar has them."""
        if stamps.holds_all:
            return self.layer_digest
        hashed = hashlib.sha256(_MAGIC)
        for start in range(0, len(self.entries), _ROWS):
            entries = self.entries[start : start + _ROWS]
            rows = [
                row if stamps.of(entry.mtime) else f"{row}{entry.mtime // SECOND}"
                for row, entry in zip(_rows(entries), entries, strict=True)
            ]
            hashed.update("\0".join([*rows, ""]).encode("utf-8", "surrogateescape"))
        return "sha256:" + hashed.hexdigest()

    def get(self, path: str) -> Entry | None:
        """Return this layer's own entry at `path`; a whiteout is an entry, a missing one is None."""
        data = self._data
        if data and self._asked < _FEW:
            self._asked += 1
            return _look_up(data, path)
        if self._by_path is None:
            self._by_path = {entry.path: entry for entry in self.entries}
        return self._by_path.get(path)

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names that this layer has in the directory `path`, whiteouts included."""
        if self._children is None:
            children: dict[str, list[str]] = {}
            for entry in self.entries:
                if entry.path:
                    parent, _, name = entry.path.rpartition("/")
                    children.setdefault(parent, []).append(name)
            self._children = children
        return self._children.get(path, ())

    def links(self, path: str) -> Sequence[str]:
        """Return the sorted paths that are hard links to `path`."""
        if self._links is None:
            links: dict[str, list[str]] = {}
            for entry in self.entries:
                if entry.kind == HARDLINK:
                    links.setdefault(entry.link, []).append(entry.path)
            self._links = links
        return self._links.get(path, ())

    @property
    def whiteouts(self) -> Iterator[Entry]:
        """The entries that hide something of a layer below."""
        return (entry for entry in self.entries if entry.kind == WHITEOUT)

    @property
    def root(self) -> Entry | None:
        """This layer's own entry at `/`."""
        return self.entries[0] if self.entries and not self.entries[0].path else None

    def parts(self) -> Iterator[bytes]:
        """Yield the form kept on disk, in parts; `from_bytes` is its inverse."""
        hashed = hashlib.sha256(_MAGIC)
        yield _MAGIC
        # Some thousand at a time, so that a large layer takes no more memory for that.
        for start in range(0, len(self.entries), _ROWS):
            entries = self.entries[start : start + _ROWS]
            rows = list(_rows(entries))
            hashed.update("\0".join([*rows, ""]).encode("utf-8", "surrogateescape"))
            text = "".join([f"{row}{entry.mtime}\0" for row, entry in zip(rows, entries, strict=True)])
            yield text.encode("utf-8", "surrogateescape")
        self._digest = "sha256:" + hashed.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the form kept on disk as a whole."""
        return b"".join(self.parts())

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises ArchiveError where `data` is anything else; that bytes were exchanged for others of the right form is
        for `layer_digest` to show.
        """
        if not data.startswith(_MAGIC):
            raise ArchiveError("this is not a layer inventory, or is one of another version of pybuild")
        try:
            return cls.of_sorted(list(_decode(_blocks(memoryview(data)[len(_MAGIC) :]))))
        except (ValueError, KeyError) as error:
            raise ArchiveError(f"a layer inventory is damaged: {error}") from error


def _look_up(data: bytes, path: str) -> Entry | None:
    """Find one entry in the form kept on disk.

    A path is the only field that a kind can follow, and a kind the only one before a mode, a user and a group.
    """
    wanted = path.encode("utf-8", "surrogateescape") + b"\0"
    if data.startswith(wanted, len(_MAGIC)):
        start = len(_MAGIC)
    elif not path:
        return None
    else:
        start = data.find(b"\0" + wanted) + 1
    while start and _HEAD.match(data, start + len(wanted)) is None:
        start = data.find(b"\0" + wanted, start) + 1
    if not start:
        return None
    end = start
    for _ in range(_FIELDS):
        end = data.index(b"\0", end) + 1
    return next(_decode(iter([data[start:end]])))


def some_files(data: bytes, most: int) -> list[tuple[str, int]]:
    """Find digests and mtimes of at most so many files in the form kept on disk, spread over it, and no entries."""
    found = (_FILE.search(data, start) for start in range(0, len(data), len(data) // most + 1))
    return [(one[1].decode(), int(one[2])) for one in found if one is not None]


def count_files(data: bytes) -> int:
    """Count what has a digest in the form kept on disk."""
    return data.count(b"\0sha256:")


def _is_plain(entries: Sequence[Entry]) -> bool:
    looks = set(map(_LOOKS, entries[1:]))  # a few
    if entries:
        root = entries[0]
        looks.add(_LOOKS(root if root.path else root._replace(implied=False)))
    return all(
        kind in (FILE, DIR, SYMLINK) and not opaque and not implied and not any(map(_is_foreign, xattrs))
        for kind, xattrs, opaque, implied in looks
    )


def _surely_plain(data: bytes) -> bool:
    """Whether nothing in the form kept on disk looks as what is not plain; a name may, by chance."""
    start = len(_MAGIC)
    if data.startswith(b"\0dir\0", start):  # the root, which may be implied
        for _ in range(_FIELDS - 1):
            start = data.index(b"\0", start) + 1
        start = data.index(b"\0", start) if data.startswith(b"i", start) else start - 1
    return _ODD.search(data, start) is None and not any(name in data for name in _FOREIGN_HEX)


def _is_foreign(attribute: tuple[str, bytes]) -> bool:
    return attribute[0].startswith(_FOREIGN)


def hides(data: bytes) -> bool:
    """Whether there may be whiteouts or opaque directories in the form kept on disk; surely none where it is false."""
    return b"\0whiteout\0" in data or _OPAQUE.search(data) is not None


def read_entries(file: Callable[[int], bytes]) -> Iterator[Entry]:
    """Give the entries of the form kept on disk one by one: together they take much more memory.

    `file` reads it. Raises ArchiveError as `from_bytes` does.
    """
    if file(len(_MAGIC)) != _MAGIC:
        raise ArchiveError("this is not a layer inventory, or is one of another version of pybuild")
    try:
        yield from _decode(iter(lambda: file(_BLOCK), b""))
    except (ValueError, KeyError) as error:
        raise ArchiveError(f"a layer inventory is damaged: {error}") from error


def _blocks(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), _BLOCK):
        yield bytes(data[start : start + _BLOCK])


def _entry_key(entry: Entry) -> bytes:
    return sort_key(entry.path)


def _rows(entries: Iterable[Entry]) -> Iterator[str]:
    """Give each entry but for its time as fields that end with NUL, which no path or link can hold.

    The time is the end of the last field, behind the flags.
    """
    for entry in entries:
        (path, kind, mode, uid, gid, size, digest, link, device, xattrs, _, opaque, implied, _) = entry
        extra = ""
        if xattrs:
            extra = ",".join(f"{name.encode('utf-8', 'surrogateescape').hex()}={value.hex()}" for name, value in xattrs)
        nodes = f"{device[0]}:{device[1]}" if device != (0, 0) else ""
        flags = _FLAGS[opaque, implied] if opaque or implied else ""
        yield f"{path}\0{kind}\0{mode:o}\0{uid}\0{gid}\0{size or ''}\0{digest}\0{link}\0{nodes}\0{extra}\0{flags}"


def _decode(blocks: Iterator[bytes]) -> Iterator[Entry]:
    rest = b""
    for block in blocks:
        whole, end, rest = (rest + block).rpartition(b"\0")
        # The beginning of a row waits for the next block.
        over = (whole.count(b"\0") + 1) % _FIELDS if end else 0
        if over:
            whole, *partial = whole.rsplit(b"\0", over) if whole.count(b"\0") >= over else (b"", whole)
            rest = b"\0".join([*partial, rest])
        if whole:
            yield from _entries(whole.decode("utf-8", "surrogateescape").split("\0"))
    if rest:
        raise ValueError("it is cut short")


def _entries(parts: list[str]) -> Iterator[Entry]:
    """Make entries column by column, which takes a third of the time that it does row by row.

    Values that repeat from row to row are one object in all of them.
    """
    paths, kinds, modes, uids, gids, sizes, digests, links, devices, xattrs, rest = (
        parts[column::_FIELDS] for column in range(_FIELDS)
    )
    known = {mode: int(mode, 8) for mode in set(modes)}
    owners = {owner: int(owner) for owner in {*uids, *gids}}
    nodes = {device: _device(device) for device in set(devices)}
    attributes = {text: _xattrs(text) for text in set(xattrs)}
    times, opaque, implied = _times(rest)
    return map(
        Entry,
        paths,
        map(_KINDS.__getitem__, kinds),
        map(known.__getitem__, modes),
        map(owners.__getitem__, uids),
        map(owners.__getitem__, gids),
        (int(size) if size else 0 for size in sizes),
        digests,
        links,
        map(nodes.__getitem__, devices),
        map(attributes.__getitem__, xattrs),
        times,
        opaque,
        implied,
    )


def _times(fields: list[str]) -> tuple[Iterable[int], Iterable[bool], Iterable[bool]]:
    """Split a column of flags and mtimes; in nearly every layer no entry has a flag."""
    texts = [field.lstrip("oi") for field in fields]
    if texts == fields:
        return map(int, texts), repeat(False), repeat(False)
    flags = [_FLAGS_BACK[field[: len(field) - len(text)]] for field, text in zip(fields, texts, strict=True)]
    return map(int, texts), (opaque for opaque, _ in flags), (implied for _, implied in flags)


def _device(text: str) -> tuple[int, int]:
    if not text:
        return (0, 0)
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def _xattrs(text: str) -> tuple[tuple[str, bytes], ...]:
    return tuple(_xattr(pair) for pair in text.split(",")) if text else ()


def _xattr(pair: str) -> tuple[str, bytes]:
    name, _, value = pair.partition("=")
    return bytes.fromhex(name).decode("utf-8", "surrogateescape"), bytes.fromhex(value)
