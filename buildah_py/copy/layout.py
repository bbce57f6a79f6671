"""Layout that a copy will make of a file system: entries planned over the view of what is there, written in order."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from buildah_py import meter
from buildah_py.errors import SourceChanged, SourceError
from buildah_py.layers.entry import DIR, FILE, SECOND, SYMLINK, Entry, sort_key
from buildah_py.layers.stamps import CLOCK, CONTENT, all_given_but, classify, seconds_of
from buildah_py.layers.writer import SMALL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.layers.sink import LayerSink
    from buildah_py.layers.stamps import Stamps
    from buildah_py.layers.tree import FileReader, FirstReader, SourceTree, Tree


_LARGE = 1 << 20
"""Bytes of files from which on it is worth a word how far their copying is."""


class FileBytes(NamedTuple):
    """Where the bytes of one source's files come from: paths in `tree`, or `data`.

    `links` maps further names of a file to the first one; `number` tells the sources of an instruction apart.
    """

    tree: SourceTree | None
    where: str
    data: bytes = b""
    links: Mapping[str, str] = {}
    number: int = 0


class Layout:
    """Entries planned over `view`; asked as a tree, it shows both.

    Planned entries replace what was there, as a later source of an instruction replaces what an earlier one brought. A
    directory of the view in which something changes is planned too, as it is: in a layer its attributes count.
    """

    def __init__(self, view: Tree) -> None:
        self._view = view
        self._planned: dict[str, tuple[Entry, FileBytes | None, str]] = {}
        self._written: dict[str, Entry] = {}
        self._fresh: set[str] = set()  # directories below which the view has nothing to say
        self._touched: list[Entry] = []  # directories of the view that are in the layer because something in them is

    # As a tree. Nobody reads files through it.

    def entry(self, path: str) -> Entry | None:
        """Return the entry that `path` will be."""
        found = self._own(path)
        if found is not None:
            return found
        above = path
        while above:
            above = above.rpartition("/")[0]
            own = self._own(above)
            if own is not None:
                return None if above in self._fresh or own.kind != DIR else self._view.entry(path)
        return self._view.entry(path)

    def names(self, path: str) -> Sequence[str]:
        """Return the names that the view has in a directory."""
        return self._view.names(path)

    def digest(self, path: str) -> str:
        """Return the digest of a file of the view."""
        return self._view.digest(path)

    def open(self, path: str) -> int:
        """Return a descriptor of a file of the view."""
        return self._view.open(path)

    # Planning.

    def make_dirs(self, path: str, mode: int, owner: tuple[int, int], mtime: int) -> None:
        """Plan a directory and those above it where they are missing; SourceError where one is something else."""
        missing = []
        while True:
            found = self.entry(path)
            if found is not None:
                break
            missing.append(path)
            if not path:
                break
            path = path.rpartition("/")[0]
        if found is not None and found.kind != DIR:
            raise SourceError(
                f"/{path} is a {_called(found)} in the image, and something has to go into it",
                hint=_way_around(found),
            )
        if found is not None:
            self.touch(path)
            mode |= found.mode & 0o2000  # as mkdir(2) passes the set-group-id bit of a directory on
        for inner in reversed(missing):
            self.put(Entry(inner, DIR, mode, *owner, mtime=mtime))

    def touch(self, path: str) -> None:
        """Plan an existing directory, and those above it, as they are."""
        while self._own(path) is None:
            found = self._view.entry(path)
            if found is None:
                found = Entry(path, DIR, 0o755)
            self._planned[path] = (found._replace(implied=not path, opaque=False), None, "")
            if path:
                self._touched.append(found)
            if not path:
                return
            path = path.rpartition("/")[0]

    def put(self, entry: Entry, origin: FileBytes | None = None, source: str = "") -> None:
        """Plan `entry` at its path, in a directory that is planned; directories stay, and what else is there goes.

        A file's bytes are those of `source` in `origin`.

        Raises SourceError where a directory would have to give way to something else, or the other way round.
        """
        path = entry.path
        found = self._own(path)
        if found is None and path.rpartition("/")[0] not in self._fresh:
            found = self._view.entry(path)
        if found is None:
            if entry.kind == DIR:
                self._fresh.add(path)
        elif entry.kind == DIR:
            if found.kind != DIR:
                raise SourceError(
                    f"/{path} is a {_called(found)}, and a directory cannot be copied onto it",
                    hint=_way_around(found),
                )
        elif found.kind == DIR:
            raise SourceError(
                f"/{path} is a directory, and a {_called(entry)} cannot be copied onto it",
                hint="a destination that ends with a slash puts the file into the directory",
            )
        self._planned[path] = (entry, origin, source)

    # Entries that others have written into the same layer.

    def wrote(self, entry: Entry) -> None:
        """Note what was written at a path."""
        path = entry.path
        if entry.kind == DIR and path not in self._written and not self.covers_directory(path):
            self._fresh.add(path)
        self._written[path] = entry

    def gone(self, path: str, *, alone: bool = False) -> None:
        """Note that what was written at a path, and below it, is no longer there.

        `alone` says that nothing of the view will show through the directory that is to come there.
        """
        old = self._written.pop(path, None)
        self._fresh.discard(path)
        if alone:
            self._fresh.add(path)
        if old is not None and old.kind == DIR:
            for inner in [inner for inner in self._written if inner.startswith(path + "/")]:
                del self._written[inner]
                self._fresh.discard(inner)

    def covers_directory(self, path: str) -> bool:
        """Whether the view has a directory at a path whose parent is merged with the view's."""
        above = path
        while above:
            above = above.rpartition("/")[0]
            own = self._own(above)
            if own is not None:
                if above in self._fresh or own.kind != DIR:
                    return False
                break
        found = self._view.entry(path)
        return found is not None and found.kind == DIR

    def _own(self, path: str) -> Entry | None:
        planned = self._planned.get(path)
        return planned[0] if planned is not None else self._written.get(path)

    def stamps(self, now: int, selected: Iterable[Entry] = (), *, given: bool = False) -> Stamps:
        """Tell which times of the layer are not content, where `now` is that of what was made on the way.

        `selected` was copied, with what its times are. With `given` no time of what was copied is content.
        """
        seconds = seconds_of((*self._touched, *selected))
        seconds[CLOCK].add(now // SECOND)
        return all_given_but(seconds[CONTENT], seconds[CLOCK]) if given else classify(seconds)

    # Writing.

    def write(self, writer: LayerSink, *, last: bool = False) -> None:
        """Write what is planned in the order of a layer's tar; raises SourceChanged for a file that changed.

        A file without a digest is taken as it is now; its tree then knows the digest. After the `last` time nothing
        more is planned or asked.
        """
        names: dict[tuple[int, str], str] = {}
        size = sum(entry.size for entry, *_ in self._planned.values() if entry.kind == FILE)
        with meter.start("copying", size) if size > _LARGE else meter.NOTHING as moved:
            self._write(writer, _Files(writer, moved), names, last=last)
        # Attributes and digests that came to light while files were read are of no interest to what is planned later.
        self._written.update((path, entry) for path, (entry, *_) in self._planned.items())
        self._planned.clear()

    def _write(self, writer: LayerSink, files: _Files, names: dict[tuple[int, str], str], *, last: bool) -> None:
        try:
            for path in sorted(self._planned, key=sort_key):
                entry, origin, source = self._planned.pop(path) if last else self._planned[path]
                kind = entry.kind
                if kind == FILE:
                    assert origin is not None
                    if origin.links:
                        first = names.setdefault((origin.number, origin.links.get(source, source)), path)
                        if first != path:
                            writer.add_hardlink(path, first)
                            continue
                    files.write(entry, origin, source)
                elif kind == DIR:
                    attributes = (entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
                    writer.add_dir(path, *attributes, implied=entry.implied)
                elif kind == SYMLINK:
                    writer.add_symlink(path, entry.link, entry.uid, entry.gid, entry.mtime)
                else:
                    writer.add_node(path, kind, entry.mode, entry.uid, entry.gid, entry.device, entry.mtime)
        finally:
            files.close()


class _Files:
    """Writes files, and sees to it that their bytes are those that were selected."""

    def __init__(self, writer: LayerSink, moved: meter.Meter) -> None:
        self._writer = writer
        self._moved = moved
        self._tree: SourceTree | None = None
        self._reader: FileReader | None = None
        self._first: FirstReader | None = None

    def write(self, entry: Entry, origin: FileBytes, path: str) -> None:
        tree = origin.tree
        if tree is None:
            self._writer.add_file(entry.path, origin.data, entry.mode, entry.uid, entry.gid, entry.xattrs, entry.mtime)
            return
        if not entry.digest:
            self._write_unread(entry, tree, path)
            return
        if self._writer.reuse(entry):
            self._moved.add(entry.size)
            return
        reader = self._reader
        if reader is None or tree is not self._tree:
            reader = self._take(tree)
        size = entry.size
        if size > SMALL:
            self._write_large(entry, origin, reader.open(path), path)
            return
        data = reader.read(path, size)
        if len(data) != size or "sha256:" + sha256(data).hexdigest() != entry.digest:
            raise _changed(origin, path)
        self._moved.add(size)
        self._writer.add_small_file(entry, data)

    def _write_large(self, entry: Entry, origin: FileBytes, descriptor: int, path: str) -> None:
        try:
            written = self._writer.add_file(
                entry.path,
                descriptor,
                entry.mode,
                entry.uid,
                entry.gid,
                entry.xattrs,
                entry.mtime,
                moved=self._moved,
            )
        except EOFError:
            written = None
        finally:
            os.close(descriptor)
        if written is None or written.digest != entry.digest:
            raise _changed(origin, path)

    def _write_unread(self, entry: Entry, tree: SourceTree, path: str) -> None:
        """Write a file that nobody has read yet, and have its tree know what it holds."""
        if self._first is None or tree is not self._tree:
            self._take(tree)
            self._first = tree.first_reader()
            assert self._first is not None, "a file without a digest in a tree that knows all"
        reader = self._first
        reading = reader.begin(path)
        try:
            new, _, mode, uid, gid, size, _, _, _, _, mtime, *_ = entry
            xattrs = reading.xattrs
            if size <= SMALL:
                data = os.read(reading.descriptor, size + 1)
                digest = "sha256:" + sha256(data).hexdigest()
                reader.end(reading, digest)
                written = Entry(new, FILE, mode, uid, gid, len(data), digest, "", (0, 0), xattrs, mtime)
                self._moved.add(len(data))
                self._writer.add_small_file(written, data)
            else:
                written = self._writer.add_file(
                    new, reading.descriptor, mode, uid, gid, xattrs, mtime, moved=self._moved
                )
                reader.end(reading, written.digest)
        except EOFError:
            raise reader.changed(path) from None
        finally:
            os.close(reading.descriptor)

    def _take(self, tree: SourceTree) -> FileReader:
        """Take the quickest way that a tree has to open files in their order."""
        self.close()
        self._tree, self._reader = tree, tree.reader()
        return self._reader

    def close(self) -> None:
        for reader in (self._reader, self._first):
            if reader is not None:
                reader.close()
        self._reader = self._first = self._tree = None


def _changed(origin: FileBytes, path: str) -> SourceChanged:
    return SourceChanged(
        f"/{path} of {origin.where} changed while it was copied",
        hint="let whatever writes there finish, then build again",
    )


def _way_around(entry: Entry) -> str:
    """Say what else can be done. Links such as /bin are not there to be removed: the image would be broken."""
    if entry.kind == SYMLINK:
        return "copy what the directory holds to where the link leads"
    return "copy to another path, or remove it in an earlier RUN"


def _called(entry: Entry) -> str:
    if entry.kind == SYMLINK:
        return f"symbolic link to {entry.link}"
    return "file" if entry.kind == FILE else entry.kind
