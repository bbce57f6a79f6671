"""The observing file system: directories that are shown to a container, and a list of all that it learned of them.

A read-only FUSE file system (linux/fuse.h, protocol 7.31) with one directory for each slot. An overlay has them among
its lower directories; so look-ups, also those in vain, listings and first reads all arrive here, once each: the kernel
keeps what it was told for ever. It is served by a process of its own, forked by the helper, that holds nothing but
descriptors of the slots' directories, and whose container cannot see it.

What a directory's size and number of links would tell of its names is not shown.
"""

from __future__ import annotations

import errno
import os
import select
import struct

from buildah_py.linux import mounts, process
from buildah_py.linux.paths import open_beneath
from buildah_py.sandbox import capabilities
from buildah_py.sandbox.wire import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

DEVICE = "/dev/fuse"
MOST_PATHS = 20_000
"""Paths of which a container may learn something before nobody counts any more."""
EXISTS, ABSENT, LISTED, READ = 1, 2, 4, 8
"""What a container learned of a path: that it is there and what like, that it is not, its names, its content."""

_REQUEST = struct.Struct("<IIQQIIIHH")  # fuse_in_header
_REPLY = struct.Struct("<IiQ")  # fuse_out_header
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")  # fuse_attr
_ENTRY = struct.Struct("<QQQQII")  # fuse_entry_out, without its attributes
_KEPT = struct.Struct("<QII")  # fuse_attr_out, without its attributes
_DIRENT = struct.Struct("<QQII")
_TWO_LONG = struct.Struct("<QQ")
_READ_IN = struct.Struct("<QQI")
_GETXATTR_IN = struct.Struct("<II")
_INIT_IN = struct.Struct("<IIII")

_LOOKUP, _FORGET, _GETATTR, _READLINK, _OPEN, _READ, _STATFS = 1, 2, 3, 5, 14, 15, 17
_GETXATTR, _LISTXATTR, _INIT, _READDIR, _INTERRUPT, _BATCH_FORGET, _READDIRPLUS = 22, 23, 26, 28, 36, 42, 44

# Reads ahead of need, listings with look-ups, look-ups in a directory at once, large reads, links kept, neither open
# nor opendir asked.
_WANTED = 1 << 0 | 1 << 13 | 1 << 17 | 1 << 18 | 1 << 22 | 1 << 23 | 1 << 24
_FOR_EVER = 1 << 30
_PAGES = 256
_REQUESTS = 1 << 16
"""More bytes than a request can have, as nothing is written."""
_OPEN_FILES = 64
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK = 4096
_UNSIGNED = (1 << 64) - 1
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
_LINK, _DIRECTORY, _KIND = 0o120000, 0o040000, 0o170000
_NOT_TOLD = bytes(_ENTRY.size + _ATTR.size)
_GONE = _ENTRY.pack(0, 0, _FOR_EVER, 0, 0, 0) + bytes(_ATTR.size)


class _Slot:
    """A layer: its directories, top-most first, and what of the lower ones does not show. `seen` are flags by paths."""

    __slots__ = ("gone", "roots", "seen")

    def __init__(self, roots: tuple[str, ...], gone: tuple[str, ...]) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self.roots = [os.open(root, flags) for root in roots]
        self.gone = frozenset(map(os.fsencode, gone))
        self.seen: dict[bytes, int] = {}

    def find(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """Give the directory that shows a path, and what is there."""
        if path in self.gone:
            return None
        for place, root in enumerate(self.roots):
            try:
                if not place:
                    return root, os.stat(path or b".", dir_fd=root, follow_symlinks=False)
                # What is a directory here may be a link there.
                file = open_beneath(root, path, os.O_PATH | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                continue
            try:
                return root, os.fstat(file)
            finally:
                os.close(file)
        return None

    def names(self, path: bytes) -> dict[bytes, os.stat_result]:
        """Give what is in a directory."""
        found: dict[bytes, os.stat_result] = {}
        for root in self.roots:
            try:
                directory = open_beneath(root, path, _DIRECTORY_FLAGS)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                continue
            try:
                for text in os.listdir(directory):
                    name = os.fsencode(text)
                    inside = path + b"/" + name if path else name
                    if name not in found and inside not in self.gone:
                        found[name] = os.stat(name, dir_fd=directory, follow_symlinks=False)
            finally:
                os.close(directory)
        return found


def _attributes(known: os.stat_result) -> bytes:
    mode, size = known.st_mode, known.st_size
    if mode & _KIND == _DIRECTORY:
        size, links = _BLOCK, 1
    else:
        links = known.st_nlink
    blocks = 0 if mode & _KIND == _LINK else -(-size // _BLOCK)
    atime, mtime, ctime = known.st_atime_ns, known.st_mtime_ns, known.st_ctime_ns
    return _ATTR.pack(
        known.st_ino,
        size,
        blocks * (_BLOCK // 512),
        atime // 10**9 & _UNSIGNED,
        mtime // 10**9 & _UNSIGNED,
        ctime // 10**9 & _UNSIGNED,
        atime % 10**9,
        mtime % 10**9,
        ctime % 10**9,
        mode,
        links,
        known.st_uid,
        known.st_gid,
        0,
        _BLOCK,
        0,
    )


class Observer:
    """Server of one file system: nodes are numbered as they are looked up, and each is a slot and a path in it."""

    def __init__(self, device: int, slots: list[_Slot], most: int = 0) -> None:
        """Note what is learned by `most` requests, 0 for any number; with more, nobody counts, and all goes faster."""
        self._device = device
        self._requests = most
        self._slots = slots
        self._nodes: list[tuple[_Slot | None, bytes]] = [(None, b""), (None, b"")]
        self._numbers: dict[tuple[int, bytes], int] = {}
        self._names: dict[int, list[bytes]] = {}
        self._files: dict[int, int] = {}
        self._left = MOST_PATHS
        self.begun = False
        self.whole = True
        """Whether all that a container could learn was noted."""
        self._handlers: dict[int, Callable[[int, bytes], bytes | bytearray]] = {
            _LOOKUP: self._look_up,
            _GETATTR: self._get_attributes,
            _READLINK: self._read_link,
            _READ: self._read,
            _READDIRPLUS: self._read_names,
            _STATFS: self._statistics,
            _GETXATTR: self._attribute,
            _LISTXATTR: self._attribute_names,
            _INIT: self._begin,
        }

    def serve(self, ended: int) -> None:
        """Serve until the other end of the pipe `ended` is closed, or the file system is gone."""
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(ended, select.POLLIN)
        while True:
            try:
                request = os.read(self._device, _REQUESTS)
            except BlockingIOError:
                if any(descriptor == ended for descriptor, _ in poll.poll()):
                    return
                continue
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT}:  # the request was interrupted
                    continue
                if error.errno == errno.ENODEV or (error.errno == errno.EPERM and not self.begun):  # never mounted
                    return
                raise
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        _, kind, number, node, *_ = _REQUEST.unpack_from(request)
        if self.whole:
            self._requests -= 1
            self.whole = self._requests != 0
        if kind in {_FORGET, _BATCH_FORGET, _INTERRUPT}:  # nothing is forgotten, and nothing takes long
            return
        handler = self._handlers.get(kind)
        fault = 0
        data: bytes | bytearray = b""
        if handler is None:
            fault = errno.ENOSYS
        else:
            try:
                data = handler(node, request)
            except OSError as error:
                fault = error.errno or errno.EIO
                if fault not in {errno.ENOENT, errno.ENODATA, errno.ERANGE, errno.ENOSYS, errno.ENOTSUP}:
                    self.whole = False
        try:
            os.writev(self._device, (_REPLY.pack(_REPLY.size + len(data), -fault, number), data))
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV}:  # nobody waits for it any more
                raise

    def _note(self, slot: _Slot, path: bytes, flag: int) -> None:
        known = slot.seen.get(path)
        if known is None:
            self._left -= 1
            if self._left < 0:
                self.whole = False
                return
            slot.seen[path] = flag
        elif not known & flag:
            slot.seen[path] = known | flag

    def _begin(self, _node: int, request: bytes) -> bytes:
        major, minor, ahead, flags = _INIT_IN.unpack_from(request, _REQUEST.size)
        self.begun = True
        return struct.pack(
            "<IIIIHHIIHH8I", major, min(minor, 31), ahead, flags & _WANTED, 64, 48, _BLOCK, 1, _PAGES, 0, *([0] * 8)
        )

    def _node(self, slot: _Slot, path: bytes) -> int:
        key = id(slot), path
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._nodes)
            self._nodes.append((slot, path))
        return number

    def _look_up(self, node: int, request: bytes) -> bytes:
        slot, path = self._nodes[node]
        name = request[_REQUEST.size : -1]
        if slot is None:
            slot, path = self._slots[int(name)], b""
        else:
            path = path + b"/" + name if path else name
        found = slot.find(path)
        self._note(slot, path, ABSENT if found is None else EXISTS)
        if found is None:
            return _GONE
        return self._entry(slot, path, found[1])

    def _entry(self, slot: _Slot, path: bytes, known: os.stat_result) -> bytes:
        return _ENTRY.pack(self._node(slot, path), 0, _FOR_EVER, _FOR_EVER, 0, 0) + _attributes(known)

    def _get_attributes(self, node: int, _request: bytes) -> bytes:
        return _KEPT.pack(_FOR_EVER, 0, 0) + _attributes(self._known(node)[1])

    def _known(self, node: int) -> tuple[int, os.stat_result]:
        slot, path = self._nodes[node]
        if slot is None:
            return self._slots[0].roots[0], os.stat(self._slots[0].roots[0])
        found = slot.find(path)
        if found is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found

    def _read_link(self, node: int, _request: bytes) -> bytes:
        return os.fsencode(os.readlink(self._nodes[node][1], dir_fd=self._known(node)[0]))

    def _read(self, node: int, request: bytes) -> bytes:
        _, offset, size = _READ_IN.unpack_from(request, _REQUEST.size)
        file = self._files.get(node)
        if file is None:
            slot, path = self._nodes[node]
            assert slot is not None
            self._note(slot, path, READ)
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            file = self._files[node] = os.open(path, flags, dir_fd=self._known(node)[0])
        return os.pread(file, size, offset)

    def _read_names(self, node: int, request: bytes) -> bytearray:
        """List a directory; look-ups come with that once nobody counts any more."""
        _, offset, size = _READ_IN.unpack_from(request, _REQUEST.size)
        slot, path = self._nodes[node]
        if slot is None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if not offset or node not in self._names:
            self._note(slot, path, LISTED)
            prefix = path + b"/" if path else b""
            self._names[node] = [
                (_NOT_TOLD if self.whole else self._entry(slot, prefix + name, known))
                + _DIRENT.pack(known.st_ino, place, len(name), (known.st_mode & _KIND) >> 12)
                + name
                + bytes(-len(name) % 8)
                for place, (name, known) in enumerate(sorted(slot.names(path).items()), 1)
            ]
        found = bytearray()
        for record in self._names[node][offset:]:
            if len(found) + len(record) > size:
                return found
            found += record
        if not found:
            del self._names[node]
        return found

    def _statistics(self, _node: int, _request: bytes) -> bytes:
        return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, _BLOCK, 255, _BLOCK, 0)

    def _attribute(self, node: int, request: bytes) -> bytes:
        (wanted, _), name = _GETXATTR_IN.unpack_from(request, _REQUEST.size), request[_REQUEST.size + 8 : -1]
        if name.startswith((b"trusted.overlay.", b"user.overlay.")):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        file = self._open(node)
        try:
            return _sized(os.getxattr(f"/proc/self/fd/{file}", name), wanted)
        finally:
            os.close(file)

    def _attribute_names(self, node: int, request: bytes) -> bytes:
        wanted, _ = _GETXATTR_IN.unpack_from(request, _REQUEST.size)
        file = self._open(node)
        try:
            names = os.listxattr(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        shown = [name for name in names if not name.startswith(("trusted.overlay.", "user.overlay."))]
        return _sized(b"".join(os.fsencode(name) + b"\0" for name in shown), wanted)

    def _open(self, node: int) -> int:
        """Open a node for calls that take paths alone, and not the longest; for a link itself, not where it leads."""
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._nodes[node][1] or b".", flags, dir_fd=self._known(node)[0])


def _sized(data: bytes, wanted: int) -> bytes:
    """Answer how much there is, or all of it."""
    if not wanted:
        return struct.pack("<II", len(data), 0)
    if len(data) > wanted:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return data


def open_device() -> int:
    """Open the device that a file system is served over; -1 where there is none, or none for us."""
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1


def mount(device: int) -> int:
    """Make the file system that is served over an open device and give its detached mount. Raises OSError."""
    context = mounts.fsopen("fuse")
    try:
        mounts.fsconfig(context, "source", "pybuild")
        for key, value in (("fd", str(device)), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")):
            mounts.fsconfig(context, key, value)
        mounts.fsconfig(context, "default_permissions")
        mounts.fsconfig(context, "allow_other")
        return mounts.fsmount(context, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV)
    finally:
        os.close(context)


def main(
    device: int,
    mounted: int,
    ended: int,
    report: int,
    slots: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...],
    most: int,
) -> NoReturn:
    """Serve `slots`, each of which is directories and what of the lower ones does not show; never returns.

    That begins when the other end of the pipe `mounted` is closed, whether it was mounted or not. What was learned is
    written to `report` once that of `ended` is: nothing, unless all of it was noted, in at most `most` requests.
    """
    try:
        process.set_parent_death_signal(9)
        process.set_dumpable(False)
        process.set_name("pybuild-observe")
        opened = [_Slot(roots, gone) for roots, gone in slots]
        kept = 1 << capabilities.number("DAC_READ_SEARCH") | 1 << capabilities.number("DAC_OVERRIDE")
        process.limit_bounding_set(0)
        _, permitted, _ = process.capget()
        process.capset(kept & permitted, kept & permitted, 0)
        process.set_no_new_privileges()
        observer = Observer(device, opened, most)
        os.read(mounted, 1)
        observer.serve(ended)
        if observer.begun and observer.whole:
            view = memoryview(pack(tuple(slot.seen for slot in opened)))
            while view:
                view = view[os.write(report, view) :]
        os._exit(0)
    finally:
        os._exit(125)
