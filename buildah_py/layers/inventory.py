"""The sorted list of a layer's entries, its digest and its form on disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import WHITEOUT, Entry, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_MAGIC: Final = b"pybuild inventory 1\n"
_FIELDS: Final = 11
_KINDS: Final = frozenset({"file", "dir", "symlink", "hardlink", "fifo", "char", "block", "whiteout"})
_FLAGS: Final = {(False, False): "", (True, False): "o", (False, True): "i", (True, True): "oi"}
_FLAGS_BACK: Final = {text: flags for flags, text in _FLAGS.items()}


class Captured(NamedTuple):
    """A finished layer.

    `diff_id` and `size` are digest and length of the layer's uncompressed tar; `skipped` lists the sockets that no
    archive can hold.
    """

    inventory: Inventory
    diff_id: str
    size: int
    skipped: tuple[str, ...] = ()


class Inventory:
    """What a layer holds, sorted by path components as bytes, parents before children. Immutable."""

    __slots__ = ("_by_path", "_children", "_digest", "entries")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: Sequence[Entry] = sorted(entries, key=_entry_key)
        self._by_path: dict[str, Entry] | None = None
        self._children: dict[str, list[str]] | None = None
        self._digest = ""

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
    def layer_digest(self) -> str:
        """`sha256:<hex>` of everything but the mtimes."""
        if not self._digest:
            hashed = hashlib.sha256(_MAGIC)
            hashed.update(_encode(_rows(self.entries, times=False)))
            self._digest = "sha256:" + hashed.hexdigest()
        return self._digest

    def get(self, path: str) -> Entry | None:
        """Return this layer's own entry at `path`; a whiteout is an entry, a missing one is None."""
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

    @property
    def whiteouts(self) -> Iterator[Entry]:
        """The entries that hide something of a layer below."""
        return (entry for entry in self.entries if entry.kind == WHITEOUT)

    def to_bytes(self) -> bytes:
        """Return the form kept on disk; `from_bytes` is its inverse."""
        return _MAGIC + _encode(_rows(self.entries, times=True))

    @classmethod
    def from_bytes(cls, data: bytes) -> Inventory:
        """Read what `to_bytes` wrote.

        Raises ArchiveError where `data` is anything else; that bytes were exchanged for others of the right form is
        for `layer_digest` to show.
        """
        if not data.startswith(_MAGIC):
            raise ArchiveError("this is no layer inventory, or one of another version of pybuild")
        text = data[len(_MAGIC) :].decode("utf-8", "surrogateescape")
        parts = text.split("\0")
        if parts.pop() or len(parts) % _FIELDS:
            raise ArchiveError("a layer inventory is cut short")
        try:
            entries = list(map(_entry, *(parts[column::_FIELDS] for column in range(_FIELDS))))
        except (ValueError, KeyError) as error:
            raise ArchiveError(f"a layer inventory is damaged: {error}") from error
        return cls(entries)


def _entry_key(entry: Entry) -> bytes:
    return sort_key(entry.path)


def _rows(entries: Iterable[Entry], *, times: bool) -> Iterator[str]:
    """Give each entry as fields that end with NUL, which no path or link can hold: unambiguous without lengths."""
    for entry in entries:
        (path, kind, mode, uid, gid, size, digest, link, device, xattrs, mtime, opaque, implied) = entry
        extra = ""
        if xattrs:
            extra = ",".join(f"{name.encode('utf-8', 'surrogateescape').hex()}={value.hex()}" for name, value in xattrs)
        nodes = f"{device[0]}:{device[1]}" if device != (0, 0) else ""
        flags = _FLAGS[opaque, implied] if opaque or implied else ""
        time = mtime if times else ""
        yield (
            f"{path}\0{kind}\0{mode:o}\0{uid}\0{gid}\0{size or ''}\0{digest}\0{link}\0{nodes}\0{extra}\0{flags}{time}\0"
        )


def _encode(rows: Iterable[str]) -> bytes:
    return "".join(rows).encode("utf-8", "surrogateescape")


def _entry(
    path: str,
    kind: str,
    mode: str,
    uid: str,
    gid: str,
    size: str,
    digest: str,
    link: str,
    device: str,
    xattrs: str,
    rest: str,
) -> Entry:
    if kind not in _KINDS:
        raise ValueError(f"unknown kind {kind!r}")
    opaque = implied = False
    if rest[:1] in ("o", "i"):
        time = rest.lstrip("oi")
        opaque, implied = _FLAGS_BACK[rest[: len(rest) - len(time)]]
        rest = time
    major, _, minor = device.partition(":")
    return Entry(
        path,
        kind,
        int(mode, 8),
        int(uid),
        int(gid),
        int(size) if size else 0,
        digest,
        link,
        (int(major), int(minor)) if device else (0, 0),
        tuple(_xattr(pair) for pair in xattrs.split(",")) if xattrs else (),
        int(rest),
        opaque,
        implied,
    )


def _xattr(pair: str) -> tuple[str, bytes]:
    name, _, value = pair.partition("=")
    return bytes.fromhex(name).decode("utf-8", "surrogateescape"), bytes.fromhex(value)
