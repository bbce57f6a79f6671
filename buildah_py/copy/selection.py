"""Files that the sources of a COPY or ADD stand for: plain data with a content key, made before anything is copied."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.layers.entry import DIR, FILE, SECOND, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.copy.mode import Mode
    from buildah_py.layers.entry import Entry
    from buildah_py.layers.tree import SourceTree

_MAGIC: Final = b"pybuild selection 2\n"
_ROWS: Final = 4096


class SelectedSource(NamedTuple):
    """One path that a source argument led to.

    `argument` is the source as written, `name` the last component of the path before links were followed, `base` the
    path after that. `entries` are parents first; a file's is its only one. `parents` is how many leading
    components of `base` the copy keeps. `implied` are directories that no pattern named, only something in them.
    `links` maps the further names of files with several names to their first name in `entries`.
    """

    argument: str
    name: str
    base: str
    entries: list[Entry]
    implied: frozenset[str] = frozenset()
    links: dict[str, str] = {}  # noqa: RUF012 - never written to

    @property
    def is_dir(self) -> bool:
        """Whether the source is a directory, which stands for what it holds."""
        return self.entries[0].kind == DIR


class Selection(NamedTuple):
    """The sources of one instruction in one tree, in order; the same path may be selected more than once.

    `timed` says that the tree's times count where they are content: those of a context never are.
    """

    tree: SourceTree
    where: str
    sources: tuple[SelectedSource, ...]
    timed: bool = False

    @property
    def files(self) -> int:
        """How many entries are selected."""
        return sum(len(source.entries) for source in self.sources)

    @property
    def size(self) -> int:
        """Bytes in the selected regular files."""
        return sum(entry.size for source in self.sources for entry in source.entries)

    def digest(self, *, chmod: Mode | None = None, chown: bool = False) -> str:
        """Give the `sha256:<hex>` of all that can change what is copied.

        That is names below each source, kinds, bytes, link targets, devices, extended attributes, modes as `chmod`
        leaves them, owners unless `chown` sets them, and times that are content. Not: other times, hard links, where a
        source lies, the name of a directory and its own mode, which no copy keeps.
        """
        from hashlib import sha256

        hashed = sha256()
        for part in self._parts(chmod, chown=chown):
            hashed.update(part)
        return "sha256:" + hashed.hexdigest()

    def packed(self, *, chmod: Mode | None = None, chown: bool = False) -> bytes:
        """Give the very bytes that `digest` is the digest of: kept, they tell later what changed."""
        from io import BytesIO

        data = BytesIO()  # which does not copy what it has, other than a bytearray
        for part in self._parts(chmod, chown=chown):
            data.write(part)
        return data.getvalue()

    def bases(self) -> tuple[str, ...]:
        """Say where each source lies in the tree."""
        return tuple(source.base for source in self.sources)

    def _parts(self, chmod: Mode | None, *, chown: bool) -> Iterator[bytes]:
        """Give the bytes some thousand rows at a time: there may be very many."""
        yield _MAGIC
        for source in self.sources:
            name = "" if source.is_dir else source.name
            kind = "dir" if source.is_dir else "other"
            time = _time(source.entries[0]) if self.timed and source.is_dir else ""
            yield f"{kind}\0{name}\0{len(source.entries)}\0{time}\0".encode("utf-8", "surrogateescape")
            rows = _rows(source, chmod, chown=chown, timed=self.timed)
            while part := "".join(islice(rows, _ROWS)):
                yield part.encode("utf-8", "surrogateescape")


def _time(entry: Entry) -> str:
    return "" if entry.stamp else str(entry.mtime // SECOND)


def _rows(source: SelectedSource, chmod: Mode | None, *, chown: bool, timed: bool) -> Iterator[str]:
    """Give each entry as fields that end with NUL, which no name and no link target can hold."""
    entries = source.entries
    cut = len(source.base) + 1 if source.base else 0
    if source.is_dir:
        entries = entries[1:]
    else:
        cut = len(entries[0].path)
    implied = source.implied
    plain = chmod is None and not chown and not timed
    heads: dict[tuple[object, ...], str] = {}
    for entry in entries:
        if plain and entry[1] == FILE and not entry[9]:
            key = entry[2:5]
            head = heads.get(key)
            if head is None:
                head = heads[key] = f"\0{FILE}\0{entry[2]:o}\0{entry[3]}:{entry[4]}\0"
            yield f"{entry[0][cut:]}{head}{entry[6]}\0\0\0"
            continue
        path, kind, mode, uid, gid, _, digest, link, device, xattrs, *_ = entry
        if chmod is not None and kind != SYMLINK:
            mode = chmod.apply(mode, directory=kind == DIR)
        if kind == FILE:
            held = digest
        elif kind == SYMLINK:
            held = link
        else:
            held = f"{device[0]}:{device[1]}" if device != (0, 0) else ""
            if implied and path in implied:
                held = "implied"
        owner = "" if chown else f"{uid}:{gid}"
        extra = (
            ",".join(f"{name.encode('utf-8', 'surrogateescape').hex()}={value.hex()}" for name, value in xattrs)
            if xattrs
            else ""
        )
        time = _time(entry) if timed else ""
        yield f"{path[cut:]}\0{kind}\0{mode:o}\0{owner}\0{held}\0{extra}\0{time}\0"
