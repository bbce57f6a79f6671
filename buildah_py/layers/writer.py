"""Build a layer directory entry by entry: what COPY copies, what an archive holds."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError
from buildah_py.layers import xattrs as attributes
from buildah_py.layers.create import CREATE, DIRECTORY, Attributes, write_all
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry, sort_key
from buildah_py.layers.files import read_pieces, start_write_back
from buildah_py.layers.header import END, check_path, header, padding
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.owner import give
from buildah_py.layers.spool import FileSpool
from buildah_py.layers.stream import PIECE, ZEROS, BackgroundHash, TarStream
from buildah_py.layers.tar import pack, tar_key
from buildah_py.layers.whiteouts import make_whiteout, mark_opaque
from buildah_py.linux.paths import open_beneath
from buildah_py.meter import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Self

    from buildah_py.layers.xattrs import Xattrs
    from buildah_py.meter import Meter

    FileSource = int | bytes | Callable[[int], bytes | memoryview]

_OPEN_DIRECTORIES: Final = 64
SMALL: Final = 1 << 18
"""Bytes up to which a file is read at once."""
_WRITE_BACK: Final = 1 << 25  # bytes of a large file after which the disk is set to work
_NODES: Final = {FIFO: 0o010000, CHAR: 0o020000, BLOCK: 0o060000}


class LayerWriter:
    """Writes a layer in overlay form into the empty directory `dest`, and knows its inventory and diff_id.

    Paths are as in Entry. A parent has to be added before what is in it. Later entries replace earlier ones; a
    directory added over a directory changes its attributes alone. Nothing but this writer may write to `dest`: then
    every directory on the way is one that it made, and no path goes through a symbolic link.

    While entries come in the order of the tar (sorted, a directory's whiteouts first) the diff_id is computed on the
    way, otherwise `finish` reads the files again; `digest=False` leaves it out. `owners=False` keeps owners in the
    inventory only, for user namespaces that map a single id, `devices=False` device nodes that may not be made here.
    """

    def __init__(
        self,
        dest: str,
        *,
        userxattr: bool = False,
        digest: bool = True,
        owners: bool = True,
        devices: bool = True,
    ) -> None:
        self._dest = dest
        self._devices = devices
        self._absent: set[str] = set()  # device nodes that are in the inventory alone
        self._prefix = attributes.overlay_prefix(userxattr=userxattr)
        self._attributes = Attributes.of_process(owners=owners)
        self._entries: dict[str, Entry] = {}
        self._links: dict[str, list[str]] = {}
        self._filled: str | None = None  # the directory that the last small file went to
        self._open: dict[str, int] = {}
        self._stream: TarStream | None = TarStream() if digest else None
        self._digest = digest
        self._last = b""
        if os.listdir(dest):
            raise ArchiveError(f"{dest} is not empty: a layer is only written into an empty directory")
        self._root = os.open(dest, DIRECTORY)
        self._spool = FileSpool(self._root, self._attributes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close descriptors and end threads; what was written stays."""
        self._spool.close()
        while self._open:
            os.close(self._open.popitem()[1])
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def get(self, path: str) -> Entry | None:
        """Return what was added at `path`."""
        return self._entries.get(path)

    def __len__(self) -> int:
        return len(self._entries)

    def add_dir(
        self,
        path: str,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        xattrs: Xattrs = (),
        mtime: int = 0,
        *,
        implied: bool = False,
    ) -> None:
        """Make a directory, `""` for the root; over an existing one, change its attributes.

        Where a whiteout is, the directory becomes opaque: it replaces what is below instead of merging with it.
        """
        old = self._entries.get(path)
        opaque = old is not None and (old.opaque or old.kind == WHITEOUT)
        entry = Entry(path, DIR, mode, uid, gid, 0, "", "", (0, 0), attributes.kept(xattrs), mtime, opaque, implied)
        if old is not None and old.kind == DIR:
            self._lose_order()
            self._entries[path] = entry
            return
        if path:
            parent, name = self._place(path, old)
            # Its owner can do with it what is needed; the real mode is set when it is full.
            os.mkdir(name, 0o700, dir_fd=parent)
        self._record(entry)
        if opaque:
            self._mark_opaque(path)

    def add_file(
        self,
        path: str,
        source: FileSource,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        xattrs: Xattrs = (),
        mtime: int = 0,
        *,
        size: int | None = None,
        moved: Meter = NOTHING,
    ) -> Entry:
        """Write a regular file and return its entry with size and digest.

        `source` is its bytes, a descriptor open for reading (from its beginning, whatever its position; holes are
        kept), or a function that returns up to that many of `size` bytes at each call. Raises EOFError where it
        gives fewer. `moved` counts the bytes of a descriptor.
        """
        entry = Entry(path, FILE, mode, uid, gid, 0, "", "", (0, 0), attributes.kept(xattrs), mtime)
        if isinstance(source, bytes):
            return self._whole(entry, source)
        if isinstance(source, int):
            size = os.fstat(source).st_size if size is None else size
            if size > SMALL:
                return self._pieces(entry, size, moved.counted(read_pieces(source, size)))
            data = os.pread(source, size, 0) if size else b""
            moved.add(len(data))
        else:
            assert size is not None
            if size > SMALL:
                return self._pieces(entry, size, _called(source, size))
            data = b"".join(_called(source, size))
        if len(data) != size:
            raise EOFError(path)
        return self._whole(entry, data)

    def add_small_file(self, entry: Entry, data: bytes) -> None:
        """Write a regular file of `data`, about which `entry` tells all, its size and digest too."""
        if entry.xattrs:
            entry = entry._replace(xattrs=attributes.kept(entry.xattrs))
        path = entry.path
        parent, _, name = path.rpartition("/")
        self._make_room(path, name, self._entries.get(path))
        if parent != self._filled:
            self._check_directory(parent)
            self._filled = parent
        if data:
            self._record(entry, data, padding(len(data)))
        else:
            self._record(entry)
        self._spool.put(parent, name, entry, data)

    def reuse(self, _entry: Entry) -> bool:
        """Say that no bytes are here yet."""
        return False

    def add_symlink(self, path: str, target: str, uid: int = 0, gid: int = 0, mtime: int = 0) -> None:
        """Make a symbolic link; its target is kept as it is."""
        parent, name = self._place(path, self._entries.get(path))
        os.symlink(target, name, dir_fd=parent)
        self._own_node(parent, name, uid, gid, path)
        os.utime(name, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
        self._record(Entry(path, SYMLINK, 0o777, uid, gid, 0, "", target, (0, 0), (), mtime))

    def add_hardlink(self, path: str, target: str) -> None:
        """Make `path` another name of what was added at `target`, which is not a directory."""
        first = self._entries.get(target)
        if first is not None and first.kind == HARDLINK:
            first = self._entries[first.link]
        if first is None or first.kind in (DIR, WHITEOUT):
            what = "not in this layer" if first is None or first.kind == WHITEOUT else "a directory"
            raise ArchiveError(f"/{path} is a hard link to /{target}, which is {what}")
        if path in (target, first.path):
            return
        parent, name = self._place(path, self._entries.get(path))
        # Where `path` was the first name of the file, another name has become that.
        first = self._entries[target]
        first = self._entries[first.link] if first.kind == HARDLINK else first
        self._spool.wait()
        if target in self._absent:
            self._absent.add(path)
        else:
            source = self._directory(target.rpartition("/")[0])
            os.link(target.rpartition("/")[2], name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        self._links.setdefault(first.path, []).append(path)
        self._record(Entry(path, HARDLINK, first.mode, first.uid, first.gid, link=first.path, mtime=first.mtime))

    def add_node(
        self,
        path: str,
        kind: str,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        device: tuple[int, int] = (0, 0),
        mtime: int = 0,
    ) -> bool:
        """Make a fifo or device node; false where it is in the inventory alone.

        Raises ArchiveError where the kernel refuses that to us, and the inventory may not say more than is there.
        """
        if kind == CHAR and device == (0, 0):
            raise ArchiveError(f"/{path} is a character device 0:0, which in a layer means that the path was deleted")
        parent, name = self._place(path, self._entries.get(path))
        entry = Entry(path, kind, mode, uid, gid, device=device, mtime=mtime)
        try:
            os.mknod(name, _NODES[kind] | 0o600, os.makedev(*device), dir_fd=parent)
        except PermissionError as error:
            if not self._devices:
                self._absent.add(path)
                self._record(entry)
                return False
            raise ArchiveError(
                f"/{path} is a {kind} device, and making one takes privileges that are missing here",
                hint="run pybuild as root, or use an image without device nodes",
            ) from error
        self._own_node(parent, name, uid, gid, path)
        os.chmod(name, mode, dir_fd=parent)
        os.utime(name, ns=(mtime, mtime), dir_fd=parent, follow_symlinks=False)
        self._record(entry)
        return True

    def add_whiteout(self, path: str) -> None:
        """Hide what the layers below have at `path`."""
        parent, name = self._place(path, self._entries.get(path))
        make_whiteout(parent, name, self._prefix)
        self._record(Entry(path, WHITEOUT))

    def set_opaque(self, path: str) -> None:
        """Hide what the layers below have in the directory `path`, which was added before."""
        entry = self._entries[path]
        assert entry.kind == DIR
        if not entry.opaque:
            self._mark_opaque(path)
            self._lose_order()
            self._entries[path] = entry._replace(opaque=True)

    def finish(self) -> Captured:
        """Set what could not be set before, and return the layer. `diff_id` is "" with `digest=False`."""
        self._spool.wait()
        self._sort_links()
        self._finish_directories()
        root = self._entries.get("")
        if root is not None and root.implied and not root.opaque:
            # No archive can tell that it was there: an unpacked layer has to have the same digest.
            del self._entries[""]
        inventory = Inventory(self._entries.values())
        diff_id, size = "", 0
        if self._stream is not None:
            self._stream.add(END)
            diff_id, size = self._stream.finish(), self._stream.size
        elif self._digest:
            with TarStream() as counter:
                diff_id = pack(inventory, self._dest, counter.add_large)
                counter.finish()
                size = counter.size
        self.close()
        return Captured(inventory, diff_id, size)

    # Below: one file.

    def _whole(self, entry: Entry, data: bytes) -> Entry:
        path, kind, mode, uid, gid, _, _, link, device, xattrs, mtime, *_ = entry
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        entry = Entry(path, kind, mode, uid, gid, len(data), digest, link, device, xattrs, mtime)
        self.add_small_file(entry, data)
        return entry

    def _pieces(self, entry: Entry, size: int, pieces: Iterable[bytes | memoryview]) -> Entry:
        entry = entry._replace(size=size)
        parent, name = self._place(entry.path, self._entries.get(entry.path))
        descriptor = os.open(name, CREATE, 0o600, dir_fd=parent)
        try:
            self._record(entry)
            digest = self._copy(descriptor, size, pieces)
            self._finish(descriptor, entry)
        finally:
            os.close(descriptor)
        entry = entry._replace(digest=digest)
        self._entries[entry.path] = entry
        return entry

    def _copy(self, descriptor: int, size: int, pieces: Iterable[bytes | memoryview]) -> str:
        stream = self._stream
        position = started = 0
        with BackgroundHash() as hashed:
            for piece in pieces:
                if stream is not None:
                    stream.add_large(piece)
                hashed.update(piece)
                if not (isinstance(piece, memoryview) and piece.obj is ZEROS.obj):  # a hole stays one
                    write_all(descriptor, piece, position)
                position += len(piece)
                if position - started >= _WRITE_BACK:
                    start_write_back(descriptor, started, position - started)
                    started = position
            os.ftruncate(descriptor, size)
            digest = "sha256:" + hashed.hexdigest()
        if stream is not None:
            stream.add(padding(size))
        return digest

    def _finish(self, descriptor: int, entry: Entry) -> None:
        self._attributes.finish(descriptor, entry.mode, entry.uid, entry.gid, entry.mtime, entry.xattrs, entry.path)

    def _own_node(self, parent: int, name: str, uid: int, gid: int, path: str) -> None:
        if self._attributes.owners and (uid, gid) != self._attributes.own:
            give(name, uid, gid, path, directory=parent)

    # Below: the tree.

    def _place(self, path: str, old: Entry | None) -> tuple[int, str]:
        """Make room for `path`; return its parent's descriptor and its name."""
        parent, _, name = path.rpartition("/")
        self._make_room(path, name, old)
        return self._directory(parent), name

    def _make_room(self, path: str, name: str, old: Entry | None) -> None:
        check_path(path, name)
        if old is not None:
            self._remove(old)

    def _check_directory(self, path: str) -> None:
        if path:
            entry = self._entries.get(path)
            if entry is None or entry.kind != DIR:
                raise ArchiveError(f"/{path} has to be added as a directory before what is in it")

    def _directory(self, path: str) -> int:
        if not path:
            return self._root
        descriptor = self._open.get(path)
        if descriptor is None:
            self._check_directory(path)
            descriptor = open_beneath(self._root, path, DIRECTORY)
            if len(self._open) >= _OPEN_DIRECTORIES:
                os.close(self._open.pop(next(iter(self._open))))
            self._open[path] = descriptor
        return descriptor

    def _record(self, entry: Entry, *content: bytes) -> None:
        self._entries[entry.path] = entry
        stream = self._stream
        if stream is None or entry.implied:
            return
        key = tar_key(entry)
        if key <= self._last and self._last:
            self._lose_order()
            return
        self._last = key
        if entry.opaque:
            self._lose_order()
            return
        stream.add(header(entry, entry.mtime // SECOND), *content)

    def _lose_order(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _remove(self, old: Entry) -> None:
        self._lose_order()
        self._filled = None
        self._spool.wait()
        parent, _, name = old.path.rpartition("/")
        if old.kind == DIR:
            for path in [one for one in self._absent if one.startswith(f"{old.path}/")]:
                self._absent.remove(path)
                self._forget(self._entries[path])
            self._remove_tree(old.path)
        elif old.path in self._absent:
            self._absent.remove(old.path)
        else:
            os.unlink(name, dir_fd=self._directory(parent))
        self._forget(old)

    def _remove_tree(self, path: str) -> None:
        """Remove a directory; a stack of our own, for a tree may be deeper than the interpreter's."""
        stack = [path]
        while stack:
            here = stack[-1]
            descriptor = open_beneath(self._root, here, DIRECTORY)
            try:
                deeper = []
                for name in os.listdir(descriptor):
                    inner = self._entries[f"{here}/{name}"]
                    if inner.kind == DIR:
                        deeper.append(inner.path)
                    else:
                        os.unlink(name, dir_fd=descriptor)
                        self._forget(inner)
            finally:
                os.close(descriptor)
            if deeper:
                stack += deeper
                continue
            stack.pop()
            self._close_directory(here)
            above, _, name = here.rpartition("/")
            os.rmdir(name, dir_fd=self._directory(above))
            if here != path:
                self._forget(self._entries[here])

    def _close_directory(self, path: str) -> None:
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def _forget(self, old: Entry) -> None:
        """Drop an entry; another name of a file with several becomes the first."""
        del self._entries[old.path]
        if old.kind == HARDLINK:
            names = self._links[old.link]
            names.remove(old.path)
            if not names:
                del self._links[old.link]
        else:
            names = self._links.pop(old.path, [])
            if names:
                self._lead(names[0], old, names[1:])

    def _lead(self, path: str, old: Entry, others: list[str]) -> None:
        self._entries[path] = old._replace(path=path)
        for other in others:
            self._entries[other] = self._entries[other]._replace(link=path)
        if others:
            self._links[path] = others

    def _sort_links(self) -> None:
        """Make the first path in order the file, whichever was added first."""
        for first, names in list(self._links.items()):
            lowest = min(names, key=sort_key)
            if sort_key(lowest) < sort_key(first):
                old = self._entries[first]
                del self._links[first]
                others = [name for name in names if name != lowest]
                self._entries[first] = self._entries[lowest]._replace(path=first, link=lowest)
                self._lead(lowest, old, [first, *others])

    def _mark_opaque(self, path: str) -> None:
        mark_opaque(self._directory(path), self._prefix)

    def _finish_directories(self) -> None:
        """Set owners, modes and times, the innermost first: making and removing things changes a directory's time."""
        directories = [entry for entry in self._entries.values() if entry.kind == DIR]
        if "" not in self._entries:
            directories.append(Entry("", DIR, 0o755, implied=True))
        directories.sort(key=lambda entry: sort_key(entry.path), reverse=True)
        for entry in directories:
            self._close_directory(entry.path)
            descriptor = open_beneath(self._root, entry.path, DIRECTORY)
            try:
                self._finish(descriptor, entry)
            finally:
                os.close(descriptor)


def _called(source: Callable[[int], bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    left = size
    while left:
        data = source(min(left, PIECE))
        if not data:
            raise EOFError
        left -= len(data)
        yield data
