"""Copy what was selected to where an instruction wants it, as one layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile.ignore import clean
from buildah_py.copy.layout import FileBytes, Layout
from buildah_py.copy.selection import SelectedSource, Selection
from buildah_py.errors import NotFound
from buildah_py.layers.entry import DIR, FILE, SECOND, SYMLINK, Entry
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits
from buildah_py.layers.stamps import Stamps
from buildah_py.layers.tree import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.copy.mode import Mode
    from buildah_py.layers.sink import LayerSink
    from buildah_py.layers.tree import SourceTree, Tree
    from buildah_py.layers.writer import LayerWriter


class Inline(NamedTuple):
    """A file whose content stands in the build file: a here-document."""

    name: str
    data: bytes
    mode: int = 0o644
    mtime: int = 0

    def digest(self) -> str:
        """Give the `sha256:<hex>` of name, mode and content, as Selection's digest does for files."""
        from hashlib import sha256

        head = f"pybuild inline 1\0{self.name}\0{self.mode:o}\0".encode("utf-8", "surrogateescape")
        return "sha256:" + sha256(head + self.data).hexdigest()


class _Options(NamedTuple):
    chown: tuple[int, int] | None
    chmod: Mode | None
    now: int

    def entry(self, entry: Entry, path: str) -> Entry:
        """Give the entry that `entry` becomes at `path`."""
        if self.chown is None and self.chmod is None and entry.kind == FILE and not entry.link:
            return entry if path == entry.path and not entry.stamp else Entry(path, *entry[1:11])
        kind, mode = entry.kind, entry.mode
        if self.chmod is not None and kind != SYMLINK:
            mode = self.chmod.apply(mode, directory=kind == DIR)
        uid, gid = self.chown or (entry.uid, entry.gid)
        link = entry.link if kind == SYMLINK else ""
        return Entry(
            path, kind, mode, uid, gid, entry.size, entry.digest, link, entry.device, entry.xattrs, entry.mtime
        )

    @property
    def parents(self) -> tuple[int, tuple[int, int]]:
        """Mode and owner of directories that are made on the way."""
        octal = self.chmod.octal if self.chmod is not None else None
        return (0o755 if octal is None else octal & 0o777), self.chown or (0, 0)


class _Unpacking(NamedTuple):
    """Options of `archive.unpack` beside what to unpack."""

    limits: ArchiveLimits
    warn: Callable[[str], None]
    check: Callable[[], object]


class _Empty:
    """A tree in which nothing is."""

    def entry(self, path: str) -> Entry | None:
        return None if path else Entry("", DIR, 0o755)

    def names(self, path: str) -> Sequence[str]:  # noqa: ARG002
        return ()

    def digest(self, path: str) -> str:
        raise NotFound(f"/{path} does not exist")

    def open(self, path: str) -> int:
        raise NotFound(f"/{path} does not exist")


def materialise(
    pieces: Sequence[Selection | Inline],
    destination: str,
    view: Tree,
    sink: LayerSink,
    *,
    chown: tuple[int, int] | None = None,
    chmod: Mode | None = None,
    link: bool = False,
    unpack: bool | Sequence[bool] = False,
    unpack_into: LayerWriter | None = None,
    now: int = 0,
    warn: Callable[[str], None] = lambda _: None,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    check: Callable[[], object] = lambda: None,
) -> Stamps:
    """Add to `sink` what copying `pieces`, in order, to `destination` changes in the file system that `view` shows.

    `destination` is absolute, joined with the working directory; one that ends with `/` or `/.` is a directory. It is
    followed through the image's symbolic links, never out of its root. Missing directories are made with mode 0755, or
    an octal `chmod`, owner `chown` or 0:0 and time `now` (ns). With `link` nothing that is there is looked at: the
    layer fits on any other. With `unpack`, said of all pieces or of each, a file that is a tar archive, compressed or
    not, is unpacked into the destination by `unpack_into` (the sink itself, if that writes a tree), within
    `limits`; `check` is called often then, and may raise what ends it.

    Gives which times of the layer are not content: the one of what was made on the way, all that a context has, and
    those of another tree that are not content there. The times in an archive are content, and so are those of files
    beside it.

    Of several files that all become the destination the last one stays, as with other builders; `warn` is told.

    Raises SourceError where a file and a directory are in each other's way, SourceChanged where a file is no longer
    what was selected, ArchiveError for a hostile or damaged archive.
    """
    layout = Layout(_Empty() if link else view)
    options = _Options(chown, chmod, now)
    unpacking = _Unpacking(limits, warn, check)
    taken: str | None = None
    unpacked = False
    each = [unpack] * len(pieces) if isinstance(unpack, bool) else unpack
    for number, (tree, where, source, unpacks) in enumerate(_each(pieces, each)):
        if (
            unpacks
            and unpack_into is not None
            and not isinstance(tree, _InlineTree)
            and _unpacked(layout, unpack_into, tree, source, destination, options, unpacking)
        ):
            unpacked = True
            continue
        into = _into(layout, destination, source, options)
        if not source.is_dir and into == taken:
            warn(f"several files become {destination}, and only the last one stays: {destination}/ would hold them all")
        if source.is_dir:
            _copy_directory(layout, tree, where, source, into, options, number)
        else:
            entry = source.entries[0]
            layout.put(options.entry(entry, into), _origin(tree, where, source, number), entry.path)
            taken = into if not _is_directory(destination) else None
    layout.write(sink, last=True)
    if unpacked:
        return Stamps(((now // SECOND, now // SECOND),))
    selections = [piece for piece in pieces if isinstance(piece, Selection)]
    entries = (entry for piece in selections if piece.timed for source in piece.sources for entry in source.entries)
    return layout.stamps(now, entries, given=any(not piece.timed for piece in selections))


class _InlineTree(NamedTuple):
    data: bytes


def _unpacked(
    layout: Layout,
    writer: LayerWriter,
    tree: Tree,
    source: SelectedSource,
    destination: str,
    options: _Options,
    unpacking: _Unpacking,
) -> bool:
    """Unpack the source if it is an archive."""
    from buildah_py.copy import archive

    entry = source.entries[0]
    if entry.kind != FILE or not archive.is_archive(tree, entry.path):
        return False
    into = resolve(layout, clean("/" + destination))
    layout.make_dirs(into, 0o755, options.chown or (0, 0), options.now)
    layout.write(writer)
    archive.unpack(layout, writer, tree, entry, into, chown=options.chown, **unpacking._asdict())
    return True


def _each(
    pieces: Sequence[Selection | Inline], unpack: Sequence[bool]
) -> list[tuple[SourceTree | _InlineTree, str, SelectedSource, bool]]:
    found: list[tuple[SourceTree | _InlineTree, str, SelectedSource, bool]] = []
    for piece, unpacks in zip(pieces, unpack, strict=True):
        if isinstance(piece, Selection):
            found += [(piece.tree, piece.where, source, unpacks) for source in piece.sources]
        else:
            entry = Entry(piece.name, FILE, piece.mode, size=len(piece.data), mtime=piece.mtime)
            source = SelectedSource(piece.name, piece.name, "", [entry])
            found.append((_InlineTree(piece.data), "the build file", source, False))
    return found


def _is_directory(destination: str) -> bool:
    return destination.endswith(("/", "/."))


def _into(layout: Layout, destination: str, source: SelectedSource, options: _Options) -> str:
    """Make the directories on the way, and give the path that the source itself goes to."""
    mode, owner = options.parents
    path = clean("/" + destination)
    above = path if _is_directory(destination) else path.rpartition("/")[0]
    layout.make_dirs(resolve(layout, above), mode, owner, options.now)
    into = resolve(layout, path)
    found = layout.entry(into)
    if source.is_dir:
        if found is None:
            layout.make_dirs(into, mode, owner, options.now)
            return into
    elif found is not None and found.kind == DIR:
        into = f"{into}/{source.name}" if into else source.name
    layout.make_dirs(into.rpartition("/")[0], mode, owner, options.now)
    return into


def _copy_directory(
    layout: Layout,
    tree: SourceTree | _InlineTree,
    where: str,
    source: SelectedSource,
    into: str,
    options: _Options,
    number: int,
) -> None:
    """Copy what a directory holds; of the directory itself only its time is kept."""
    root = source.entries[0]
    found = layout.entry(into)
    if found is None or found.kind != DIR:
        layout.put(root._replace(path=into))  # says what is in the way
        return
    layout.touch(into)
    if into:
        layout.put(found._replace(mtime=root.mtime))
    origin = _origin(tree, where, source, number)
    cut = len(source.base) + 1 if source.base else 0
    prefix = into + "/" if into else ""
    for entry in source.entries[1:]:
        path = prefix + entry.path[cut:]
        if entry.kind == DIR:
            planned = options.entry(entry, path)
            old = layout.entry(path) if entry.path in source.implied else None
            if old is not None and old.kind == DIR:
                planned = old._replace(mode=planned.mode)
            layout.put(planned)
        else:
            layout.put(options.entry(entry, path), origin, entry.path)


def _origin(tree: SourceTree | _InlineTree, where: str, source: SelectedSource, number: int) -> FileBytes:
    if isinstance(tree, _InlineTree):
        return FileBytes(None, where, tree.data)
    return FileBytes(tree, where, b"", source.links, number)
