"""The observing file system: directories that are shown to a container, and a list of all that it learned of them.

A read-only FUSE file system (linux/fuse.h, protocol 7.31) with one directory for each slot. An overlay has them among
its lower directories; so look-ups, also those in vain, listings and first reads all arrive here, once each: the kernel
keeps what it was told for ever. It is served by a process of its own, forked by the helper, that holds nothing but
descriptors of the slots' directories, and whose container cannot see it.

What a directory's size and number of links would tell of its names is not shown.
"""

from __future__ import annotations

import _thread
import errno
import gc
import os
import struct

from buildah_py.linux import process
from buildah_py.sandbox import capabilities
from buildah_py.sandbox.observed_slot import BLOCK, ObservedSlot, attributes_of
from buildah_py.sandbox.wire import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

MOST_PATHS = 20_000
"""Paths of which a container may learn something before nobody counts any more."""
EXISTS, ABSENT, LISTED, READ = 1, 2, 4, 8
"""What a container learned of a path: that it is there and what like, that it is not, its names, its content."""

_HEADER = 40  # bytes of fuse_in_header
_REQUEST = struct.Struct("<4xIQQ")  # what we want of it
_REPLY = struct.Struct("<IiQ")  # fuse_out_header
_ATTR = struct.Struct("<QQQqqqIIIIIIIIII")  # fuse_attr
_ENTRY = struct.Struct("<QQQQII")  # fuse_entry_out, without its attributes
_FOUND = struct.Struct(f"<{_ENTRY.format[1:]}{_ATTR.format[1:]}")
_KEPT = struct.Struct("<QII")  # fuse_attr_out, without its attributes
_DIRENT = struct.Struct("<QQII")
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
_LEAST_REQUEST = 8192
"""Bytes that the kernel wants to have room for; as nothing is written, no request has more."""
_OPEN_FILES = 64
_NOT_TOLD = bytes(_FOUND.size)
_GONE = _ENTRY.pack(0, 0, _FOR_EVER, 0, 0, 0) + bytes(_ATTR.size)


class ObservingServer:
    """Server of one file system: nodes are numbered as they are looked up, and each is a slot and a path in it."""

    def __init__(self, device: int, slots: list[ObservedSlot], most: int = 0, *, attributes: bool = True) -> None:
        """Note what is learned by `most` requests, 0 for any number; with more, nobody counts, and all goes faster.

        Without `attributes` the kernel is told that no file has any: overlayfs asks for one of each file that is found.
        """
        self._device = device
        self._most = most
        self.requests = 0
        self._slots = slots
        self._places: list[ObservedSlot | None] = [None, None]
        self._paths = [b"", b""]
        self._names: dict[int, list[bytes]] = {}
        self._files: dict[int, int] = {}
        self._left = MOST_PATHS
        self.begun = False
        self.whole = True
        """Whether all that a container could learn was noted."""
        self.failed = False
        """Whether something could not be answered as it is."""
        self._handlers: dict[int, Callable[[int, bytes], bytes | bytearray]] = {
            _LOOKUP: self._look_up,
            _GETATTR: self._get_attributes,
            _READLINK: self._read_link,
            _READ: self._read,
            _READDIRPLUS: self._read_names,
            _STATFS: self._statistics,
            _LISTXATTR: self._attribute_names,
            _INIT: self._begin,
        }
        if attributes:
            self._handlers[_GETXATTR] = self._attribute

    def serve(self) -> None:
        """Serve until the file system is gone."""
        while True:
            try:
                request = os.read(self._device, _LEAST_REQUEST)
            except OSError as error:
                if error.errno in {errno.EINTR, errno.ENOENT}:  # the request was interrupted
                    continue
                if error.errno == errno.ENODEV or (error.errno == errno.EPERM and not self.begun):  # never mounted
                    return
                raise
            if not request:  # the device is another one
                return
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        kind, number, node = _REQUEST.unpack_from(request)
        self.requests += 1
        if self.requests == self._most:
            self.whole = False
        handler = self._handlers.get(kind)
        fault = 0
        data: bytes | bytearray = b""
        if handler is None:
            if kind in {_FORGET, _BATCH_FORGET, _INTERRUPT}:  # nothing is forgotten, and nothing takes long
                return
            fault = errno.ENOSYS
        else:
            try:
                data = handler(node, request)
            except OSError as error:
                fault = error.errno or errno.EIO
                if fault not in {errno.ENOENT, errno.ENODATA, errno.ERANGE, errno.ENOSYS, errno.ENOTSUP}:
                    self.whole, self.failed = False, True
        try:
            os.writev(self._device, (_REPLY.pack(_REPLY.size + len(data), -fault, number), data))
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ENODEV}:  # nobody waits for it any more
                raise

    def _note(self, slot: ObservedSlot, path: bytes, flag: int) -> None:
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
        major, minor, ahead, flags = _INIT_IN.unpack_from(request, _HEADER)
        self.begun = True
        return struct.pack(
            "<IIIIHHIIHH8I", major, min(minor, 31), ahead, flags & _WANTED, 64, 48, BLOCK, 1, _PAGES, 0, *([0] * 8)
        )

    def _look_up(self, node: int, request: bytes) -> bytes:
        slot, path = self._places[node], self._paths[node]
        name = request[_HEADER:-1]
        if slot is None:
            slot = self._slots[int(name)]
        else:
            path = path + b"/" + name if path else name
        found = slot.find(path)
        if found is None:
            self._note(slot, path, ABSENT)
            return _GONE
        self._note(slot, path, EXISTS)
        return self._entry(slot, path, found[1])

    def _entry(self, slot: ObservedSlot, path: bytes, known: os.stat_result) -> bytes:
        number = slot.numbers.get(path)
        if number is None:
            number = slot.numbers[path] = len(self._paths)
            self._paths.append(path)
            self._places.append(slot)
        return _FOUND.pack(number, 0, _FOR_EVER, _FOR_EVER, 0, 0, *attributes_of(known))

    def _get_attributes(self, node: int, _request: bytes) -> bytes:
        return _KEPT.pack(_FOR_EVER, 0, 0) + _ATTR.pack(*attributes_of(self._known(node)[1]))

    def _known(self, node: int) -> tuple[int, os.stat_result]:
        slot = self._places[node]
        if slot is None:
            return self._slots[0].roots[0], os.stat(self._slots[0].roots[0])
        found = slot.find(self._paths[node])
        if found is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return found

    def _read_link(self, node: int, _request: bytes) -> bytes:
        return os.fsencode(os.readlink(self._paths[node], dir_fd=self._known(node)[0]))

    def _read(self, node: int, request: bytes) -> bytes:
        _, offset, size = _READ_IN.unpack_from(request, _HEADER)
        file = self._files.get(node)
        if file is None:
            slot, path = self._shown(node)
            self._note(slot, path, READ)
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.pop(next(iter(self._files))))
            file = self._files[node] = slot.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        return os.pread(file, size, offset)

    def _read_names(self, node: int, request: bytes) -> bytearray:
        """List a directory; look-ups come with that once nobody counts any more."""
        _, offset, size = _READ_IN.unpack_from(request, _HEADER)
        if not offset or node not in self._names:
            slot, path = self._shown(node)
            self._note(slot, path, LISTED)
            prefix = path + b"/" if path else b""
            names = slot.names(path, look=not self.whole)
            self._names[node] = [
                (_NOT_TOLD if known is None else self._entry(slot, prefix + name, known))
                + _DIRENT.pack(number, place, len(name), kind >> 12)
                + name
                + bytes(-len(name) % 8)
                for place, (name, (number, kind, known)) in enumerate(sorted(names.items()), 1)
            ]
        found = bytearray()
        for record in self._names[node][offset:]:
            if len(found) + len(record) > size:
                return found
            found += record
        if not found:
            del self._names[node]
        return found

    def _shown(self, node: int) -> tuple[ObservedSlot, bytes]:
        slot = self._places[node]
        if slot is None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return slot, self._paths[node]

    def _statistics(self, _node: int, _request: bytes) -> bytes:
        return struct.pack("<QQQQQIIII24x", 0, 0, 0, 0, 0, BLOCK, 255, BLOCK, 0)

    def _attribute(self, node: int, request: bytes) -> bytes:
        (wanted, _), name = _GETXATTR_IN.unpack_from(request, _HEADER), request[_HEADER + 8 : -1]
        if name.startswith((b"trusted.overlay.", b"user.overlay.")):
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        file = self._open(node)
        try:
            return _sized(os.getxattr(f"/proc/self/fd/{file}", name), wanted)
        finally:
            os.close(file)

    def _attribute_names(self, node: int, request: bytes) -> bytes:
        wanted, _ = _GETXATTR_IN.unpack_from(request, _HEADER)
        file = self._open(node)
        try:
            names = os.listxattr(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
        shown = [name for name in names if not name.startswith(("trusted.overlay.", "user.overlay."))]
        return _sized(b"".join(os.fsencode(name) + b"\0" for name in shown), wanted)

    def _open(self, node: int) -> int:
        """Open a node for calls that take paths alone, and not the longest."""
        slot, path = self._shown(node)
        return slot.open(path, os.O_PATH)


def _sized(data: bytes, wanted: int) -> bytes:
    """Answer how much there is, or all of it."""
    if not wanted:
        return struct.pack("<II", len(data), 0)
    if len(data) > wanted:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return data


def _serve(observer: ObservingServer, mounted: int) -> None:
    """Serve in a thread, so that nobody has to look at two descriptors for each request."""
    failed = True
    try:
        os.read(mounted, 1)
        observer.serve()
        failed = False
    finally:
        if failed:
            os._exit(125)


def main(
    device: int,
    mounted: int,
    ended: int,
    report: int,
    slots: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...],
    most: int,
    *,
    attributes: bool,
) -> NoReturn:
    """Serve `slots`, each of which is directories and what of the lower ones does not show; never returns.

    That begins when the other end of the pipe `mounted` is closed, whether it was mounted or not. What was learned is
    written to `report` once that of `ended` is: flags by paths for each slot, or the number of requests where these
    were more than `most`.
    """
    try:
        process.set_parent_death_signal(9)
        process.set_dumpable(False)
        process.set_name("pybuild-observe")
        opened = [ObservedSlot(roots, gone) for roots, gone in slots]
        kept = 1 << capabilities.number("DAC_READ_SEARCH") | 1 << capabilities.number("DAC_OVERRIDE")
        process.limit_bounding_set(0)
        _, permitted, _ = process.capget()
        process.capset(kept & permitted, kept & permitted, 0)
        process.set_no_new_privileges()
        observer = ObservingServer(device, opened, most, attributes=attributes)
        gc.disable()
        _thread.start_new_thread(_serve, (observer, mounted))
        os.read(ended, 1)
        if observer.begun and not observer.failed:
            learned = tuple(slot.seen for slot in opened) if observer.whole else observer.requests
            view = memoryview(pack(learned))
            while view:
                view = view[os.write(report, view) :]
        os._exit(0)
    finally:
        os._exit(125)
