"""The tar header of an entry in canonical form: ustar, with a PAX header in front only where ustar cannot say it."""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

from buildah_py.errors import ArchiveError
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SYMLINK, WHITEOUT

if TYPE_CHECKING:
    from buildah_py.layers.entry import Entry

BLOCK_SIZE: Final = 512
END: Final = bytes(2 * BLOCK_SIZE)
WHITEOUT_PREFIX: Final = ".wh."
OPAQUE_NAME: Final = ".wh..wh..opq"

_TYPE: Final = {FILE: b"0", HARDLINK: b"1", SYMLINK: b"2", CHAR: b"3", BLOCK: b"4", DIR: b"5", FIFO: b"6"}
# name mode uid gid size mtime checksum type linkname magic+version uname gname devmajor devminor prefix
_LAYOUT: Final = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MAGIC: Final = b"ustar\x0000"
_PATH_MAX: Final = 4095
_MAX_ID: Final = 0o7777777
_MAX_SIZE: Final = 0o77777777777
_NO_SUM: Final = b" " * 8
_PADDING: Final = [bytes(-length % BLOCK_SIZE) for length in range(BLOCK_SIZE)]
_PLAIN_TAIL: Final = bytes(100) + _MAGIC + bytes(64) + b"0000000\x000000000\x00" + bytes(167)


def check_path(path: str, name: str) -> None:
    """Raise ArchiveError for a path, whose last component is `name`, that no layer can hold."""
    if len(path) * 4 > _PATH_MAX and len(os.fsencode(path)) > _PATH_MAX:
        raise ArchiveError(f"/{path[:80]}…: a path of more than {_PATH_MAX} bytes does not fit into a layer")
    if name.startswith(WHITEOUT_PREFIX):
        raise ArchiveError(f"/{path}: in an image, a name that begins with .wh. deletes the file named after it")
    if not name or name in (".", ".."):
        raise ArchiveError(f"{path!r} is not a path of a layer")


def header(entry: Entry, seconds: int) -> bytes:
    """Return the header blocks of `entry` with the mtime `seconds`; a file's bytes and their padding follow them."""
    kind = entry.kind
    if kind == WHITEOUT:
        parent, slash, name = entry.path.rpartition("/")
        return _marker(f"{parent}{slash}{WHITEOUT_PREFIX}{name}")
    path = entry.path.encode("utf-8", "surrogateescape")
    if kind == FILE and len(path) <= 100 and not entry.xattrs:
        uid, gid, size = entry.uid, entry.gid, entry.size
        if path.isascii() and uid <= _MAX_ID and gid <= _MAX_ID and size <= _MAX_SIZE and 0 <= seconds <= _MAX_SIZE:
            start = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
                path.ljust(100, b"\0"),
                entry.mode,
                uid,
                gid,
                size,
                seconds,
            )
            # adler32's lower half is the sum of all bytes plus one, modulo 65521: exact for 512 bytes of ASCII.
            checksum = (zlib.adler32(start) + zlib.adler32(_PLAIN_TAIL) - 2 & 0xFFFF) + 256 + 48
            return b"%b%06o\0 0%b" % (start, checksum, _PLAIN_TAIL)
    return _general(entry, path, seconds)


def header_size(entry: Entry, seconds: int) -> int:
    """Return the length of what `header` gives: one block where ustar can say all of it."""
    path, kind, _, uid, gid, size, _, link, _, xattrs, *_ = entry
    if (
        len(path) < 100  # a directory's slash is still to come
        and not xattrs
        and kind != WHITEOUT
        and path.isascii()
        and uid <= _MAX_ID
        and gid <= _MAX_ID
        and size <= _MAX_SIZE
        and 0 <= seconds <= _MAX_SIZE
        and (not link or (len(link) <= 100 and link.isascii()))
    ):
        return BLOCK_SIZE
    return len(header(entry, seconds))


def opaque_marker(path: str) -> bytes:
    """Return the header that makes the directory `path` opaque."""
    return _marker(f"{path}/{OPAQUE_NAME}" if path else OPAQUE_NAME)


def plain_header(name: str, size: int = 0) -> bytes:
    """Return the one block of a regular file or, with a slash at the end, a directory, of root and without a time.

    Sizes from 8 GiB on are binary, as GNU's.
    """
    mode, kind = (0o755, DIR) if name.endswith("/") else (0o644, FILE)
    return _block(name.encode(), b"", mode, 0, 0, size, 0, _TYPE[kind], b"", (0, 0))


def padding(size: int) -> bytes:
    """Return the zeros that follow a file of that size."""
    return _PADDING[size % BLOCK_SIZE]


def _marker(path: str) -> bytes:
    from buildah_py.layers.entry import Entry

    return header(Entry(path, FILE), 0)


def _general(entry: Entry, path: bytes, seconds: int) -> bytes:
    records: list[tuple[bytes, bytes]] = []
    kind = entry.kind
    name = path
    if kind == DIR:
        name = path + b"/" if path else b"./"
    name, prefix = _name(name, records)
    link = entry.link.encode("utf-8", "surrogateescape") if kind in (SYMLINK, HARDLINK) else b""
    if len(link) > 100 or _is_foreign_text(link):
        records.append((b"linkpath", link))
        link = link[:100]
    uid = _number(b"uid", entry.uid, _MAX_ID, records)
    gid = _number(b"gid", entry.gid, _MAX_ID, records)
    size = _number(b"size", entry.size if kind == FILE else 0, _MAX_SIZE, records)
    time = _number(b"mtime", seconds, _MAX_SIZE, records)
    for key, value in entry.xattrs:
        raw = key.encode("utf-8", "surrogateescape")
        if b"=" in raw:
            raise ArchiveError(f"/{entry.path}: the extended attribute {key!r} has '=' in its name: no tar can hold it")
        records.append((b"SCHILY.xattr." + raw, value))
    block = _block(name, prefix, entry.mode, uid, gid, size, time, _TYPE[kind], link, entry.device)
    return _pax(path, records) + block if records else block


def _name(name: bytes, records: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """Fit a path into name and prefix; a PAX record where it does not fit or is UTF-8 beyond ASCII."""
    if not _is_foreign_text(name):
        if len(name) <= 100:
            return name, b""
        slash = name.rfind(b"/", 0, min(156, len(name) - 1))
        if slash > 0 and len(name) - slash - 1 <= 100:
            return name[slash + 1 :], name[:slash]
    records.append((b"path", name))
    return name[:100], b""


def _is_foreign_text(text: bytes) -> bool:
    """Tell UTF-8 beyond ASCII, which PAX spells out, from bytes of no known encoding, which stay raw in the header."""
    if text.isascii():
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _number(key: bytes, value: int, largest: int, records: list[tuple[bytes, bytes]]) -> int:
    if 0 <= value <= largest:
        return value
    records.append((key, b"%d" % value))
    return 0


def _pax(path: bytes, records: list[tuple[bytes, bytes]]) -> bytes:
    records.sort()
    if any(key in (b"path", b"linkpath") and not _is_utf8(value) for key, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    body = b"".join(_record(key, value) for key, value in records)
    name = b"PaxHeaders/" + path.rpartition(b"/")[2][:80]
    block = _block(name, b"", 0o644, 0, 0, len(body), 0, b"x", b"", (0, 0))
    return block + body + padding(len(body))


def _is_utf8(value: bytes) -> bool:
    return value.isascii() or _is_foreign_text(value)


def _record(key: bytes, value: bytes) -> bytes:
    """Return one PAX record; its decimal length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _block(
    name: bytes,
    prefix: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    seconds: int,
    kind: bytes,
    link: bytes,
    device: tuple[int, int],
) -> bytes:
    fields = (
        name,
        b"%07o" % mode,
        b"%07o" % uid,
        b"%07o" % gid,
        b"%011o" % size if size <= _MAX_SIZE else b"\x80" + size.to_bytes(11, "big"),
        b"%011o" % seconds,
        _NO_SUM,
        kind,
        link,
        _MAGIC,
        b"",
        b"",
        b"%07o" % device[0],
        b"%07o" % device[1],
        prefix,
    )
    block = _LAYOUT.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
