"""Turn what a step wrote, an overlay upper directory, into an inventory and a diff_id, in one walk and one read."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import ArchiveError
from buildah_py.layers import ondisk, xattrs
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK, WHITEOUT, Entry
from buildah_py.layers.files import read_pieces
from buildah_py.layers.header import END, WHITEOUT_PREFIX, header, padding
from buildah_py.layers.inventory import Captured, Inventory
from buildah_py.layers.lower import NOTHING, LowerDirectory, LowerPath, Lowers
from buildah_py.layers.stamps import CONTENT, Stamps, classify, seconds_of
from buildah_py.layers.stream import BackgroundHash, TarStream
from buildah_py.linux.paths import Beneath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_SMALL: Final = 1 << 18
_KINDS: Final = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}
_PATH_MAX: Final = 4095


def capture(
    upper: str,
    lowers: Sequence[str],
    *,
    stubs: str | None = None,
    userxattr: bool = False,
    root: Entry | None = None,
    stamped: Stamps | None = None,
    below: Callable[[str], Entry | None] = lambda _: None,
    owned: Callable[[Entry], Entry] = lambda entry: entry,
) -> Captured:
    """Return the layer that the overlay upper directory `upper` stands for, on top of `lowers` (top-most first).

    `stubs` is the init layer that was mounted between them: what a step merely copied up from there is no part of the
    layer. `userxattr` is how the overlay was mounted. `root` is what `/` was before the step; without it, what the
    top-most lower directory is. Nothing may write to these directories meanwhile. Each file is read once.

    `stamped` are the times at which the step ran: those alone, and times that were kept of what `below` says that they
    are not content of, are not content of this layer. Content has whole seconds then, as in its tar.

    `owned` gives an entry, as the disk has it, the owner that it has in the image, where the disk cannot tell.

    Raises ArchiveError for what no layer can hold: a real file named `.wh.*`, a path of more than 4095 bytes.
    """
    with (
        Lowers(lowers, userxattr=userxattr) as chain,
        Lowers([stubs] if stubs is not None else [], userxattr=userxattr) as init,
        TarStream() as stream,
    ):
        top = Beneath(os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            times = _Times(stamped, below, owned)
            walk = _Walk(top, chain, init, stream, xattrs.overlay_prefix(userxattr=userxattr), times)
            walk.run(root)
        finally:
            top.close()
        stream.add(END)
        diff_id = stream.finish()
        return Captured(
            Inventory(walk.entries),
            diff_id,
            stream.size,
            tuple(walk.skipped),
            tuple(walk.unneeded),
            stamps=times.stamps(),
            retimed=tuple(times.retimed),
        )


class _Child(NamedTuple):
    path: str
    status: os.stat_result
    below: LowerPath
    stub: LowerPath
    hidden: bool  # below a directory that the step made anew: what lies below the upper has to be whited out


class _Times:
    """Sorts the times of a layer's entries by what they are, and knows whose they are."""

    def __init__(
        self, stamped: Stamps | None, below: Callable[[str], Entry | None], owned: Callable[[Entry], Entry]
    ) -> None:
        self.owned = owned
        self.stamped = stamped
        self._below = below
        self._seconds = seconds_of(())
        self.retimed: list[Entry] = []

    def meant(self, entry: Entry) -> Entry:
        """Give an entry as the image has it, of one as it is on the disk."""
        if entry.xattrs:
            mode, pairs = ondisk.decode(entry.mode, entry.xattrs)
            entry = entry._replace(mode=mode, xattrs=pairs)
        return self.owned(entry)

    def settle(self, entry: Entry, old: os.stat_result | None) -> Entry:
        """Take note of an entry with what was at its path before; the entry as it is in the layer."""
        if entry.kind == WHITEOUT:
            return entry
        entry = self.meant(entry)
        if self.stamped is None:
            return entry
        mtime = entry.mtime
        stamp = self.stamped.of(mtime)
        if not stamp and old is not None and old.st_mtime_ns == mtime:
            known = self._below(entry.path)
            stamp = known.stamp if known is not None else CONTENT
            if not stamp:
                self._seconds[CONTENT].add(mtime // SECOND)
                return entry  # as it was, to the nanosecond
        self._seconds[stamp].add(mtime // SECOND)
        if stamp or not mtime % SECOND:
            return entry
        entry = entry._replace(mtime=mtime - mtime % SECOND)
        self.retimed.append(entry)
        return entry

    def stamps(self) -> Stamps:
        return classify(self._seconds)


class _Walk:
    def __init__(
        self, top: Beneath, chain: Lowers, init: Lowers, stream: TarStream, prefix: str, times: _Times
    ) -> None:
        self._top = top
        self._times = times
        self._chain = chain
        self._init = init
        self._stream = stream
        self._opaque = prefix + "opaque"
        self._whiteout = prefix + "whiteout"
        self._redirect = prefix + "redirect"
        self._metacopy = prefix + "metacopy"
        self._links: dict[tuple[int, int], str] = {}
        # Directories on the way that enter only if something in them does, with what they were.
        self._waiting: list[tuple[Entry, LowerPath]] = []
        self.entries: list[Entry] = []
        self.skipped: list[str] = []
        self.unneeded: list[str] = []

    def run(self, root: Entry | None) -> None:
        """Walk depth first, with a stack of our own: a tree may be deeper than the interpreter's."""
        status = os.stat(self._top.top)
        stack: list[tuple[str, Iterator[_Child]]] = []
        start = _Child("", status, self._chain.root(), self._init.root(), hidden=False)
        stack.append(("", self._enter(start, root)))
        while stack:
            path, children = stack[-1]
            for child in children:
                if stat.S_ISDIR(child.status.st_mode):
                    stack.append((child.path, self._enter(child, None)))
                    break
                self._leaf(child)
            else:
                stack.pop()
                if self._waiting and self._waiting[-1][0].path == path:
                    self._waiting.pop()
                    self.unneeded.append(path)

    def _enter(self, child: _Child, root: Entry | None) -> Iterator[_Child]:
        """Take a directory: decide whether it changed, white out what vanished, return its children in order."""
        path, _, below, stub, hidden = child
        if path:
            _check(path)
        descriptor = self._top.open(path, _DIRECTORY)
        try:
            names = xattrs.names(descriptor)
            if self._redirect in names:
                raise _elsewhere(path)
            mark = os.getxattr(descriptor, self._opaque) if self._opaque in names else b""
            pairs = xattrs.values(descriptor, names)
            with os.scandir(descriptor) as listing:
                found = {item.name: item.stat(follow_symlinks=False) for item in listing}
            gone = {name for name, inner in found.items() if self._is_whiteout(descriptor, name, inner, mark)}
        finally:
            os.close(descriptor)
        made_anew = hidden or (bool(path) and mark == b"y")
        self._directory(child, pairs, root, made_anew=made_anew)
        real = [name for name in found if name not in gone]
        below_dir = self._chain.directory(below, path, len(found)) if below.merged else None
        stub_dir = self._init.directory(stub, path, len(found)) if stub.merged else None
        if made_anew and below_dir is not None:
            gone |= below_dir.names().difference(real)
        if gone:
            self._whiteouts(path, gone, below_dir, found)
        return self._children(path, sorted(real, key=os.fsencode), found, below_dir, stub_dir, hidden=made_anew)

    def _is_whiteout(self, descriptor: int, name: str, status: os.stat_result, mark: bytes) -> bool:
        if stat.S_ISCHR(status.st_mode):
            return status.st_rdev == 0
        if mark != b"x" or status.st_size or not stat.S_ISREG(status.st_mode):
            return False
        inner = os.open(name, _FILE, dir_fd=descriptor)
        try:
            return self._whiteout in os.listxattr(inner)
        finally:
            os.close(inner)

    def _whiteouts(
        self, path: str, gone: set[str], below: LowerDirectory | None, found: dict[str, os.stat_result]
    ) -> None:
        for name in sorted(gone, key=os.fsencode):
            inner = f"{path}/{name}" if path else name
            if below is not None and below.find(name).stat is not None:
                self._emit(Entry(inner, WHITEOUT), NOTHING)
            elif name in found:  # what it hid was of the init layer
                self.unneeded.append(inner)

    def _children(
        self,
        path: str,
        names: list[str],
        found: dict[str, os.stat_result],
        below: LowerDirectory | None,
        stub: LowerDirectory | None,
        *,
        hidden: bool,
    ) -> Iterator[_Child]:
        prefix = f"{path}/" if path else ""
        for name in names:
            yield _Child(
                prefix + name,
                found[name],
                below.find(name) if below is not None else NOTHING,
                stub.find(name) if stub is not None else NOTHING,
                hidden,
            )

    def _directory(
        self, child: _Child, pairs: tuple[tuple[str, bytes], ...], root: Entry | None, *, made_anew: bool
    ) -> None:
        path, status, below, stub, _ = child
        entry = _entry(path, DIR, status, xattrs=pairs)
        if not path and root is None and below.stat is None and stub.stat is None:
            root = Entry("", DIR, 0o755)
        if root is not None:
            if _attributes(self._times.meant(entry)) != _attributes(root):
                self._emit(entry, below)
            return
        if made_anew:
            self._emit(entry, below, check=True)
            return
        is_below = below.stat is not None and stat.S_ISDIR(below.stat.st_mode)
        shown = stub.stat if stub.stat is not None else below.stat  # what the step saw there
        same = self._same_directory(entry, below, self._chain)
        if not same and self._same_directory(entry, stub, self._init):
            same = True
            if is_below:  # copied up from the init layer: what the layer below says of it counts
                assert below.stat is not None
                entry = _entry(path, DIR, below.stat, xattrs=self._pairs_below(below, path, self._chain))
                entry = entry._replace(mtime=status.st_mtime_ns)
        if not path and same:  # its time is that of the directory it happens to be
            return
        if same and shown is not None and shown.st_mtime_ns != entry.mtime:
            # It was touched, or something came or went in it. A mere mount point has no time unless it was given one.
            same = not is_below and self._times.stamped is not None and bool(self._times.stamped.of(entry.mtime))
        if same:
            self._waiting.append((entry, below))
        else:
            self._emit(entry, below, check=True)

    def _same_directory(self, entry: Entry, below: LowerPath, layers: Lowers) -> bool:
        if below.stat is None or not stat.S_ISDIR(below.stat.st_mode) or not _same_owner(entry, below.stat):
            return False
        return self._pairs_below(below, entry.path, layers) == entry.xattrs

    @staticmethod
    def _pairs_below(below: LowerPath, path: str, layers: Lowers) -> tuple[tuple[str, bytes], ...]:
        descriptor = layers.open(below, path)
        try:
            return xattrs.read(descriptor)
        finally:
            os.close(descriptor)

    def _leaf(self, child: _Child) -> None:
        path, status, below, stub, _ = child
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            self.skipped.append(path)
            self.unneeded.append(path)
            return
        linked = status.st_nlink > 1
        if linked:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                self._emit(_entry(path, HARDLINK, status, link=first), below, check=True)
                return
        if kind == FILE:
            self._file(path, status, below, () if linked else ((below, self._chain), (stub, self._init)))
            return
        link = self._top.readlink(path) if kind == SYMLINK else ""
        entry = _entry(path, kind, status, link=link)
        if not linked and (self._same_node(entry, below, self._chain) or self._same_node(entry, stub, self._init)):
            self.unneeded.append(path)
            return
        self._emit(entry, below, check=True)

    @staticmethod
    def _same_node(entry: Entry, below: LowerPath, layers: Lowers) -> bool:
        old = below.stat
        if old is None or _KINDS.get(stat.S_IFMT(old.st_mode)) != entry.kind:
            return False
        if not _same_owner(entry, old) or old.st_mtime_ns != entry.mtime:
            return False
        if entry.kind == SYMLINK:
            return layers.readlink(below, entry.path) == entry.link
        return _device(old) == entry.device

    def _file(
        self, path: str, status: os.stat_result, before: LowerPath, olds: tuple[tuple[LowerPath, Lowers], ...]
    ) -> None:
        size = status.st_size
        descriptor = self._top.open(path, _FILE)
        try:
            names = xattrs.names(descriptor)
            if self._metacopy in names:
                raise _elsewhere(path)
            pairs = xattrs.values(descriptor, names) if names else ()
            entry = None
            for below, layers in olds:
                if below.stat is not None:
                    entry = entry or _entry(path, FILE, status, size=size, xattrs=pairs)
                    if _same_file(descriptor, entry, below, layers):
                        self.unneeded.append(path)
                        return
            if size <= _SMALL:
                data = os.read(descriptor, size + 1)
                if len(data) != size:
                    raise _changed(path)
                digest = "sha256:" + hashlib.sha256(data).hexdigest()
                entry = _entry(path, FILE, status, size=size, xattrs=pairs, digest=digest)
                entry = self._times.settle(entry, before.stat)
                self._flush(entry, data, padding(size))
                self.entries.append(entry)
                return
            entry = self._times.settle(_entry(path, FILE, status, size=size, xattrs=pairs), before.stat)
            # The tar has the header before the bytes and does not hold the digest: it can go ahead.
            self._flush(entry)
            with BackgroundHash() as hashed:
                for piece in read_pieces(descriptor, size):
                    self._stream.add_large(piece)
                    hashed.update(piece)
                self.entries.append(entry._replace(digest="sha256:" + hashed.hexdigest()))
            self._stream.add(padding(size))
        except EOFError:
            raise _changed(path) from None
        finally:
            os.close(descriptor)

    def _emit(self, entry: Entry, before: LowerPath, *, check: bool = False) -> None:
        entry = self._times.settle(entry, before.stat)
        self._flush(entry, check=check)
        self.entries.append(entry)

    def _flush(self, entry: Entry, *content: bytes, check: bool = True) -> None:
        if check:
            _check(entry.path)
        for parent, before in self._waiting:
            parent = self._times.settle(parent, before.stat)
            self._stream.add(header(parent, parent.mtime // SECOND))
            self.entries.append(parent)
        self._waiting.clear()
        self._stream.add(header(entry, entry.mtime // SECOND), *content)


def _elsewhere(path: str) -> ArchiveError:
    return ArchiveError(
        f"/{path}: the kernel left its content in a lower layer, where a layer of its own cannot have it",
        hint="the overlay has to be mounted with metacopy=off and redirect_dir=off",
    )


def _changed(path: str) -> ArchiveError:
    return ArchiveError(f"/{path} changed while its layer was captured", hint="is a process of the step still running?")


def _check(path: str) -> None:
    if WHITEOUT_PREFIX in path and path.rpartition("/")[2].startswith(WHITEOUT_PREFIX):
        raise ArchiveError(
            f"/{path}: in an image, a name that begins with .wh. deletes the file named after it",
            hint="remove the file in the step that made it, or give it another name",
        )
    if len(path) > _PATH_MAX or len(os.fsencode(path)) > _PATH_MAX:
        raise ArchiveError(f"/{path[:80]}…: a path of more than {_PATH_MAX} bytes does not fit into a layer")


def _entry(
    path: str,
    kind: str,
    status: os.stat_result,
    *,
    size: int = 0,
    digest: str = "",
    link: str = "",
    xattrs: tuple[tuple[str, bytes], ...] = (),
) -> Entry:
    return Entry(
        path,
        kind,
        status.st_mode & 0o7777,
        status.st_uid,
        status.st_gid,
        size,
        digest,
        link,
        _device(status) if kind in (CHAR, BLOCK) else (0, 0),
        xattrs,
        status.st_mtime_ns,
    )


def _device(status: os.stat_result) -> tuple[int, int]:
    return os.major(status.st_rdev), os.minor(status.st_rdev)


def _attributes(entry: Entry) -> tuple[object, ...]:
    return entry.mode, entry.uid, entry.gid, entry.xattrs


def _same_owner(entry: Entry, old: os.stat_result) -> bool:
    return old.st_mode & 0o7777 == entry.mode and old.st_uid == entry.uid and old.st_gid == entry.gid


def _same_file(descriptor: int, entry: Entry, below: LowerPath, layers: Lowers) -> bool:
    """Compare a copied-up file with the one below, bytes too: with mtimes all set to one time, stat shows little."""
    old = below.stat
    if (
        old is None
        or not stat.S_ISREG(old.st_mode)
        or old.st_size != entry.size
        or old.st_mtime_ns != entry.mtime
        or not _same_owner(entry, old)
    ):
        return False
    other = layers.open(below, entry.path)
    try:
        if xattrs.read(other) != entry.xattrs:
            return False
        return all(
            new == was for new, was in zip(_blocks(descriptor, entry.size), _blocks(other, entry.size), strict=True)
        )
    finally:
        os.close(other)


def _blocks(descriptor: int, size: int) -> Iterator[bytes]:
    for position in range(0, size, _SMALL):
        yield os.pread(descriptor, min(_SMALL, size - position), position)
