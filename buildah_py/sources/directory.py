"""A directory of this machine as a build context: a tree without owners, without what its ignore file hides."""

from __future__ import annotations

import errno
import os
import stat
import threading
from array import array
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import debug
from buildah_py.errors import NotFound, SourceChanged, SourceError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, SYMLINK, Entry
from buildah_py.layers.tree import HiddenBy, SourceTree
from buildah_py.linux.paths import RESOLVE_BENEATH, open_beneath, openat2
from buildah_py.sources.stat_cache import is_settled, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from buildah_py.buildfile.ignore import Decision, IgnorePatterns
    from buildah_py.sources.hashing import Hashed
    from buildah_py.sources.reader import ContextReader
    from buildah_py.sources.stat_cache import StatCache

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_TRIES: Final = 3
_ROOT: Final = "the root of the context"
# Errors of the system calls when a path is no longer what it was a moment ago; EINVAL is readlink's.
_CHANGED: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENXIO, errno.EINVAL, errno.ESTALE)
_KINDS: Final = {
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFDIR: DIR,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}


class _Listing(NamedTuple):
    """One directory: what shows, by name and in order, and what is hidden."""

    entries: dict[str, Entry]
    hidden: frozenset[str]


class _Scan(NamedTuple):
    """Scan of one directory: what shows, ignored directories in which something may show, what is hidden."""

    found: dict[str, Entry]
    doubtful: list[tuple[str, Entry]]
    hidden: list[str]


class DirectoryContext(SourceTree):
    """The tree below `path`; a context manager that holds one descriptor.

    Every owner is 0:0. Sockets do not exist, nor does what `ignore` hides; an ignored directory exists where something
    in it is brought back. Each directory is listed once, when it is first asked for: after SourceChanged, `refresh`
    forgets all that. A file's extended attributes are known once its digest is: `complete` makes entries whole.
    `git_modes` shows files as git keeps them, 0644 or 0755, and directories as 0755. Many threads may use it.
    """

    def __init__(
        self,
        path: str,
        ignore: IgnorePatterns | None = None,
        stat_cache: StatCache | None = None,
        *,
        name: str = "the build context",
        git_modes: bool = False,
    ) -> None:
        self.path = path
        self.name = name
        self.ignore = ignore
        self._stat_cache = stat_cache
        self._git_modes = git_modes
        self._listings: dict[str, _Listing] = {}
        self._scans: dict[str, _Scan] = {}
        self._seen: dict[str, tuple[list[str], array[int] | None]] = {}
        self._groups: dict[str, tuple[int, int]] = {}
        self._lock = threading.RLock()
        try:
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unusable(path, error) from error
        debug.log("%s: %s, ignore file %s", name, path, ignore.name if ignore else "none")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor. The stat cache is the caller's to save."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def refresh(self) -> None:
        """Forget what was seen: the directory is looked at anew."""
        with self._lock:
            self._listings.clear()
            self._scans.clear()
            self._seen.clear()
            self._groups.clear()

    def looked_at(self) -> Mapping[str, tuple[Sequence[str], array[int] | None]]:
        """Return the directories that were looked through, with names in them and what stat said of each.

        The first name is `.`, the directory itself, before it was looked through. Numbers are as in
        `buildah_py.repeat.stamps`, None for times before 1970. Hidden names are left out, and there is nothing of a
        context without a stat cache.
        """
        with self._lock:
            return dict(self._seen)

    # The protocol of a tree.

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, as of lstat; None where nothing is or nothing shows."""
        if not path:
            status = os.fstat(self._root)
            from buildah_py.layers import xattrs

            return self._made("", DIR, status, xattrs.read(self._root))
        parent, _, name = path.rpartition("/")
        listing = self._listing(parent)
        return listing.entries.get(name) if listing else None

    def names(self, path: str) -> Sequence[str]:
        """Return the sorted names in the directory `path`. Raises NotFound if it is not one."""
        return list(self._directory(path).entries)

    def children(self, path: str) -> Sequence[Entry]:
        """Return the entries of the directory `path`, in the order of their names. Raises NotFound if it is not one."""
        return list(self._directory(path).entries.values())

    def digest(self, path: str) -> str:
        """Return the `sha256:<hex>` of the bytes of the regular file `path`."""
        entry = self.entry(path)
        if entry is None or entry.kind != FILE:
            raise NotFound(f"/{path} is not a file of {self.name}")
        return entry.digest or self.complete([entry])[0].digest

    def open(self, path: str) -> int:
        """Return a descriptor for reading the regular file `path`; the caller closes it."""
        try:
            descriptor = open_beneath(self._root, path, _FILE)
        except OSError as error:
            raise self.unreadable(path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self.changed(path)
        return descriptor

    def reader(self) -> ContextReader:
        """Something that opens many files, best in the order of their directories; the caller closes it."""
        return self.first_reader()

    def first_reader(self) -> ContextReader:
        """Something that opens files and has the context learn their digests; the caller closes it."""
        from buildah_py.sources.reader import ContextReader

        return ContextReader(self, self._root)

    # Abilities of a context beyond that.

    def complete(self, entries: Sequence[Entry]) -> list[Entry]:
        """Give the same entries with all digests and extended attributes, reading the files that are not known."""
        missing = [(entry.path, entry.size) for entry in entries if not entry.digest and entry.kind == FILE]
        if not missing:
            return list(entries)
        with self._lock:  # whoever wants the same files waits for their digests
            return self._completed(entries, missing)

    def _completed(self, entries: Sequence[Entry], missing: Sequence[tuple[str, int]]) -> list[Entry]:
        from buildah_py.sources.hashing import hash_files

        done: dict[str, Entry] = {}
        for _ in range(_TRIES):
            hashed_at = now()
            again: list[tuple[str, int]] = []
            for path, result in hash_files(self._root, missing, self.name):
                if isinstance(result, OSError):
                    raise self.unreadable(path, result) from result
                if result is None:
                    again.append((path, 0))
                else:
                    done[path] = self._keep(path, result, hashed_at)
            if not again:
                return [done.get(entry.path, entry) for entry in entries]
            missing = again
        raise self.changed(missing[0][0])

    def link_groups(self) -> Mapping[str, object]:
        """Files with several names, as far as directories were listed; the names of one file have equal values."""
        return self._groups

    def hidden_by(self, path: str) -> HiddenBy | None:
        """Return the line of the ignore file that hides `path`; None where none does, or nothing is there."""
        found = self.decision(path)
        if found is None or not found.ignored or self.ignore is None:
            return None
        return HiddenBy(self.ignore.name, found.line, found.pattern)

    def decision(self, path: str) -> Decision | None:
        """Return the line of the ignore file that hides `path`, or brings it back.

        None for no line, or for nothing there.
        """
        if self.ignore is None or not path:
            return None
        try:
            os.close(openat2(self._root, path, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH))
        except OSError:
            return None
        return self.ignore.decision(path)

    def hidden_names(self, path: str) -> Sequence[str]:
        """Return the names in the directory `path` that the ignore file hides."""
        return sorted(self._directory(path).hidden)

    # Below: listing.

    def _directory(self, path: str) -> _Listing:
        listing = self._listing(path)
        if listing is None:
            raise NotFound(f"/{path} is not a directory of {self.name}")
        return listing

    def _listing(self, path: str) -> _Listing | None:
        """List a directory and those above it, from the top: each has to show as a directory in the one before."""
        known = self._listings.get(path)
        if known is not None:
            return known
        with self._lock:
            return self._listed(path)

    def _listed(self, path: str) -> _Listing | None:
        listing: _Listing | None = None
        todo = [path]
        while todo[-1] and todo[-1] not in self._listings:
            todo.append(todo[-1].rpartition("/")[0])
        while todo:
            here = todo.pop()
            listing = self._listings.get(here) or self._list(here)
            if todo:
                inner = listing.entries.get(todo[-1].rpartition("/")[2])
                if inner is None or inner.kind != DIR:
                    return None
        return listing

    def _list(self, path: str) -> _Listing:
        scan = self._scanned(path)
        found, hidden = scan.found, scan.hidden
        for name, entry in scan.doubtful:
            if self._shows(entry.path):
                found[name] = entry
            else:
                hidden.append(name)
        names = sorted(found)
        listing = self._listings[path] = _Listing(
            dict(zip(names, map(found.__getitem__, names), strict=True)), frozenset(hidden)
        )
        del self._scans[path]
        return listing

    def _shows(self, path: str) -> bool:
        """Whether something in an ignored directory shows."""
        todo = [path]
        while todo:
            scan = self._scanned(todo.pop())
            if scan.found:
                return True
            todo += [entry.path for _, entry in scan.doubtful]
        return False

    def _scanned(self, path: str) -> _Scan:
        scan = self._scans.get(path)
        if scan is None:
            try:
                descriptor = open_beneath(self._root, path, _DIRECTORY)
                try:
                    scan = self._scan(path, descriptor)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise self.unreadable(path, error) from error
            self._scans[path] = scan
        return scan

    def _scan(self, path: str, descriptor: int) -> _Scan:
        ignore = self.ignore
        is_ignored = ignore.child_test(path) if ignore is not None else None
        prefix = path + "/" if path else ""
        cache = self._stat_cache
        known = cache.files(path) if cache is not None else {}
        found: dict[str, Entry] = {}
        doubtful: list[tuple[str, Entry]] = []
        hidden: list[str] = []
        directories: list[str] = []
        git_modes = self._git_modes
        seen = ["."]
        own = os.fstat(descriptor)
        stamps = [own.st_ctime_ns, own.st_mtime_ns, own.st_ino, own.st_size, own.st_mode, own.st_dev]
        with os.scandir(descriptor) as scan:
            for item in scan:
                name = item.name
                inner = prefix + name
                ignored = False
                if is_ignored is not None and is_ignored(inner):
                    assert ignore is not None
                    if not item.is_dir(follow_symlinks=False) or not ignore.may_contain_included(inner):
                        hidden.append(name)
                        continue
                    ignored = True
                status = item.stat(follow_symlinks=False)
                mode, size, mtime = status.st_mode, status.st_size, status.st_mtime_ns
                seen.append(name)
                stamps += (status.st_ctime_ns, mtime, status.st_ino, size, mode, status.st_dev)
                kind = mode & 0o170000
                if kind == 0o100000:
                    bits = (0o755 if mode & 0o100 else 0o644) if git_modes else mode & 0o7777
                    record = known.get(name)
                    if (
                        record is not None
                        and record[4] == status.st_ctime_ns
                        and record[3] == mtime
                        and record[2] == size
                        and record[1] == status.st_ino
                        and record[0] == status.st_dev
                    ):
                        entry = Entry(inner, FILE, bits, 0, 0, size, record[5], "", (0, 0), record[6], mtime)
                    else:
                        entry = Entry(inner, FILE, bits, 0, 0, size, "", "", (0, 0), (), mtime)
                    if status.st_nlink > 1:
                        self._groups[inner] = (status.st_dev, status.st_ino)
                elif kind == 0o040000:
                    directories.append(name)
                    entry = self._made(inner, DIR, status, self._directory_xattrs(descriptor, name))
                    if ignored:
                        doubtful.append((name, entry))
                        continue
                elif kind in _KINDS:
                    entry = self._other(inner, name, status, descriptor)
                else:
                    continue  # a socket
                found[name] = entry
        if cache is not None:
            try:
                self._seen[path] = seen, array("Q", stamps)
            except OverflowError:
                self._seen[path] = seen, None
            # Hidden files may be asked for by the next build, with another ignore file.
            cache.seen(path, [*directories, *hidden], found.keys() | hidden if hidden else found)
        return _Scan(found, doubtful, hidden)

    def _made(self, path: str, kind: str, status: os.stat_result, pairs: tuple[tuple[str, bytes], ...] = ()) -> Entry:
        mode = 0o755 if self._git_modes else status.st_mode & 0o7777
        return Entry(path, kind, mode, xattrs=pairs, mtime=status.st_mtime_ns)

    def _directory_xattrs(self, parent: int, name: str) -> tuple[tuple[str, bytes], ...]:
        from buildah_py.layers import xattrs

        try:
            descriptor = os.open(name, _DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        except PermissionError:
            return ()  # whoever asks what is in it is told
        try:
            return xattrs.read(descriptor)
        finally:
            os.close(descriptor)

    def _other(self, path: str, name: str, status: os.stat_result, parent: int) -> Entry:
        kind = _KINDS[stat.S_IFMT(status.st_mode)]
        if kind == SYMLINK:
            return Entry(path, kind, 0o777, link=os.readlink(name, dir_fd=parent), mtime=status.st_mtime_ns)
        device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind != FIFO else (0, 0)
        return Entry(path, kind, status.st_mode & 0o7777, device=device, mtime=status.st_mtime_ns)

    def learn(self, path: str, hashed: Hashed, hashed_at: int) -> None:
        """Note what reading a file told; raises SourceChanged where it is not the file that was listed.

        `hashed_at` is a time before the reading.
        """
        parent, _, name = path.rpartition("/")
        with self._lock:
            listing = self._listings.get(parent)
            listed = listing.entries.get(name) if listing is not None else None
            if listed is None:  # it was forgotten meanwhile: something else has changed
                raise self.changed(path)
            self._learn(parent, name, listed, hashed, hashed_at)

    def _learn(self, parent: str, name: str, listed: Entry, hashed: Hashed, hashed_at: int) -> None:
        status, mtime, size = hashed.status, listed.mtime, listed.size
        if (
            status.st_mtime_ns != mtime
            or status.st_size != size
            or self._file_mode(status) != listed.mode
            or listed.digest not in ("", hashed.digest)
        ):
            raise self.changed(listed.path)
        entry = Entry(listed.path, FILE, listed.mode, 0, 0, size, hashed.digest, "", (0, 0), hashed.xattrs, mtime)
        self._note(parent, name, entry, status, hashed_at)

    def _keep(self, path: str, hashed: Hashed, hashed_at: int) -> Entry:
        """Note what hashing a file told, and give its entry."""
        status, digest, pairs = hashed.status, hashed.digest, hashed.xattrs
        size, mtime = status.st_size, status.st_mtime_ns
        entry = Entry(path, FILE, self._file_mode(status), 0, 0, size, digest, "", (0, 0), pairs, mtime)
        parent, _, name = path.rpartition("/")
        self._note(parent, name, entry, status, hashed_at)
        return entry

    def _note(self, parent: str, name: str, entry: Entry, status: os.stat_result, hashed_at: int) -> None:
        listing = self._listings.get(parent)
        if listing is not None and name in listing.entries:
            listing.entries[name] = entry
        if self._stat_cache is not None:
            ctime = status.st_ctime_ns
            if is_settled(ctime, hashed_at):
                size, digest, pairs, mtime = entry.size, entry.digest, entry.xattrs, entry.mtime
                known = (status.st_dev, status.st_ino, size, mtime, ctime, digest, pairs)
                self._stat_cache.remember(parent, name, known)
            else:
                self._stat_cache.forget(parent, name)

    def _file_mode(self, status: os.stat_result) -> int:
        return (0o755 if status.st_mode & 0o100 else 0o644) if self._git_modes else status.st_mode & 0o7777

    # Below: what to say.

    def changed(self, path: str) -> SourceChanged:
        """Say that a file is no longer what it was."""
        return SourceChanged(
            f"{path or _ROOT} of {self.name} changed while it was read",
            hint="let whatever writes there finish, then build again",
        )

    def unreadable(self, path: str, error: OSError) -> SourceError:
        """Say why a path cannot be read."""
        shown = path or _ROOT
        if error.errno in _CHANGED:
            return self.changed(path)
        return SourceError(
            f"{shown} of {self.name} ({self.path}) cannot be read: {error.strerror}",
            hint="change its permissions, or add it to .dockerignore" if error.errno == errno.EACCES else "",
        )


def _unusable(path: str, error: OSError) -> SourceError | NotFound:
    if error.errno == errno.ENOENT:
        return NotFound(f"the build context {path} does not exist", hint="give a directory, or `.` for this one")
    if error.errno == errno.ENOTDIR:
        return SourceError(
            f"the build context {path} is not a directory", hint="give the directory, and the build file with -f"
        )
    return SourceError(f"the build context {path} cannot be opened: {error.strerror}")
