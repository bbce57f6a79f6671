"""Read tar archives of any origin, member by member, with bounds on everything that an archive can claim.

ustar, GNU (long names and links, base-256 numbers, sparse files) and PAX (POSIX.1-2001), from a stream that is only
read forwards. The standard library's tarfile is lenient where an image must not be, and slower.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import ArchiveError
from buildah_py.layers.compression import decompress
from buildah_py.layers.entry import BLOCK, CHAR, DIR, FIFO, FILE, HARDLINK, SECOND, SYMLINK
from buildah_py.layers.header import BLOCK_SIZE
from buildah_py.layers.limits import DEFAULT_LIMITS, ArchiveLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from buildah_py.image.blob import Readable

# how much is taken from the stream at once
PIECE: Final = 1 << 20
_MAX_ID: Final = 0xFFFFFFFE  # one more means "leave it" to chown
_MAX_TIME: Final = SECOND << 40
_ZERO: Final = bytes(BLOCK_SIZE)
_KINDS: Final = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,
    b"S": FILE,
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHAR,
    b"4": BLOCK,
    b"5": DIR,
    b"6": FIFO,
}
_XATTR: Final = b"SCHILY.xattr."


class Member(NamedTuple):
    """One member: what its headers say. `sparse` lists (offset, length) of the data that is there of `size` bytes."""

    name: bytes
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    device: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    sparse: tuple[tuple[int, int], ...] | None = None


class TarReader:
    """Iterate over the members of a stream; `read` gives the bytes of the current one.

    The unread rest of a member is skipped. Raises ArchiveError, with the offset, for whatever is not a tar. `check` is
    called often, and may raise what ends the reading.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        limits: ArchiveLimits = DEFAULT_LIMITS,
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._source = read
        self._limits = limits
        self.check = check
        self._buffer = b""
        self._start = 0  # of what is left in the buffer
        self._offset = 0  # in the stream
        self._left = 0  # of the current member's data
        self._padding = 0
        self._count = 0
        self._extended = 0
        self._files = 0  # bytes of all files, with their holes

    @property
    def offset(self) -> int:
        """How many bytes of the stream have been taken."""
        return self._offset

    def __iter__(self) -> Iterator[Member]:
        while True:
            member = self._next()
            if member is None:
                return
            self.check()
            if member.kind == FILE:
                self._files += member.size
                if self._files > self._limits.size:
                    raise self._too_large()
            yield member

    def read(self, length: int) -> bytes:
        """Return up to `length` bytes of the current member's stored data, b"" at its end."""
        length = min(length, self._left)
        if not length:
            return b""
        if self._start >= len(self._buffer):
            self.check()
            self._buffer, self._start = self._source(PIECE), 0
            if not self._buffer:
                raise self._error("it ends in the middle of a file")
        data = self._buffer[self._start : self._start + length]
        self._start += len(data)
        self._left -= len(data)
        self._took(len(data))
        return data

    def drain(self) -> None:
        """Read the stream to its end: a digest covers what stands behind the archive too."""
        self._took(len(self._buffer) - self._start)
        self._buffer, self._start = b"", 0
        while data := self._source(PIECE):
            self.check()
            self._took(len(data))

    # Below: the stream.

    def _took(self, length: int) -> None:
        self._offset += length
        if self._offset > self._limits.size:
            raise self._too_large()

    def _too_large(self) -> ArchiveError:
        return ArchiveError(
            f"the archive unpacks to more than the allowed {self._limits.size} bytes", hint=self._limits.hint
        )

    def _exactly(self, length: int) -> bytes:
        """Return `length` bytes, fewer only where the stream ends."""
        start = self._start
        data = self._buffer[start : start + length]
        if len(data) == length:
            self._start = start + length
            self._took(length)
            return data
        parts = [data]
        have = len(data)
        self._buffer, self._start = b"", 0
        while have < length:
            more = self._source(PIECE)
            if not more:
                break
            if have + len(more) > length:
                self._buffer, self._start = more, length - have
                more = more[: length - have]
            parts.append(more)
            have += len(more)
        self._took(have)
        return b"".join(parts)

    def _skip(self) -> None:
        while self._left:
            self.read(PIECE)
        if self._padding:
            self._exactly(self._padding)
            self._padding = 0

    def _data_follows(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK_SIZE

    def _error(self, what: str) -> ArchiveError:
        return ArchiveError(f"the tar archive is damaged at byte {self._offset}: {what}")

    # Below: headers.

    def _next(self) -> Member | None:
        records: dict[bytes, bytes] = {}
        long_name = long_link = None
        while True:
            self._skip()
            block = self._exactly(BLOCK_SIZE)
            if len(block) < BLOCK_SIZE:
                if block or records or long_name or long_link:
                    raise self._error("it ends in the middle of a header")
                return None
            if block == _ZERO:
                block = self._exactly(BLOCK_SIZE)
                if block not in (_ZERO, b""):
                    raise self._error("there is something behind the block of zeros that ends an archive")
                return None
            self._count += 1
            if self._count > self._limits.entries:
                raise ArchiveError(f"the archive has more than the allowed {self._limits.entries} entries")
            self._verify(block)
            kind = block[156:157]
            size = self._number(block[124:136])
            if kind not in b"xgLKX":
                return self._member(block, kind, size, records, long_name, long_link)
            if size > self._limits.header or size < 0:
                raise self._error(f"an extended header of {size} bytes")
            self._extended += size
            if self._extended > self._limits.headers:
                raise ArchiveError(f"the archive has more than the allowed {self._limits.headers} bytes of headers")
            data = self._exactly(size)
            if len(data) < size:
                raise self._error("it ends in the middle of an extended header")
            self._padding = -size % BLOCK_SIZE
            if kind in b"xX":
                self._records(data, records)
            elif kind == b"L":
                long_name = data.rstrip(b"\0")
            elif kind == b"K":
                long_link = data.rstrip(b"\0")
            # A global header ("g") is what git archive writes its commit into; like Go's reader we apply none.

    def _verify(self, block: bytes) -> None:
        stated = self._number(block[148:156])
        rest = block[:148] + b"        " + block[156:]
        # adler32's lower half is the sum of all bytes plus one, modulo 65521: exact for 512 bytes of ASCII.
        total = (zlib.adler32(rest) & 0xFFFF) - 1 if rest.isascii() else sum(rest)
        if stated != total and stated != total - 256 * sum(byte > 127 for byte in rest):
            raise self._error("the checksum of a header is wrong")

    def _number(self, field: bytes) -> int:
        if field[0] & 0x80:
            value = int.from_bytes(field, "big")
            if field[0] & 0x40:
                return value - (1 << 8 * len(field))
            return value & (1 << (8 * len(field) - 1)) - 1
        text = field.strip(b" \0").partition(b"\0")[0].strip(b" ")
        if not text:
            return 0
        if not text.isdigit():
            raise self._error(f"{field!r} is not a number")
        try:
            return int(text, 8)
        except ValueError:
            raise self._error(f"{field!r} is not a number") from None

    def _records(self, data: bytes, records: dict[bytes, bytes]) -> None:
        position = 0
        while position < len(data):
            space = data.find(b" ", position, position + 20)
            digits = data[position:space] if space > 0 else b""
            length = int(digits) if digits.isdigit() else 0
            record = data[space + 1 : position + length]
            key, equals, value = record[:-1].partition(b"=")
            if position + length > len(data) or record[-1:] != b"\n" or not key or not equals:
                raise self._error("an extended header is malformed")
            if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                # Format 0.0 repeats its keys: gather them as the later format 0.1 writes them.
                earlier = records.get(b"GNU.sparse.map")
                records[b"GNU.sparse.map"] = value if earlier is None else earlier + b"," + value
            else:
                records[key] = value
            position += length

    def _member(
        self,
        block: bytes,
        flag: bytes,
        size: int,
        records: dict[bytes, bytes],
        long_name: bytes | None,
        long_link: bytes | None,
    ) -> Member:
        kind = _KINDS.get(flag)
        if kind is None:
            raise self._error(f"an entry of the unknown type {flag!r}")
        name = _text(block[:100])
        magic = block[257:265]
        if magic[:6] == b"ustar\0":
            prefix = _text(block[345:500])
            if prefix:
                name = prefix + b"/" + name
        link = _text(block[157:257])
        mode, uid, gid = self._number(block[100:108]), self._number(block[108:116]), self._number(block[116:124])
        mtime = self._number(block[136:148]) * SECOND
        device = (0, 0)
        if kind in (CHAR, BLOCK):
            device = (self._number(block[329:337]), self._number(block[337:345]))
        if long_name is not None:
            name = long_name
        if long_link is not None:
            link = long_link
        sparse = None
        xattrs: tuple[tuple[str, bytes], ...] = ()
        if records:
            name = records.get(b"path") or name
            link = records.get(b"linkpath") or link
            uid = self._decimal(records, b"uid", uid)
            gid = self._decimal(records, b"gid", gid)
            size = self._decimal(records, b"size", size)
            if b"mtime" in records:
                mtime = self._time(records[b"mtime"])
            xattrs = tuple(
                (key[len(_XATTR) :].decode("utf-8", "surrogateescape"), value)
                for key, value in records.items()
                if key.startswith(_XATTR)
            )
        if min(size, uid, gid, *device) < 0:
            raise self._error("a negative number where none can be")
        if max(uid, gid) > _MAX_ID or abs(mtime) > _MAX_TIME or device[0] > 0xFFF or device[1] > 0xFFFFF:
            raise self._error("a number larger than any system has")
        if kind == FILE and name.endswith(b"/") and flag in b"0\0":
            kind = DIR  # as archives from before ustar say it
        if kind != FILE:
            size = 0
        self._data_follows(size)
        if flag == b"S":
            sparse, size = self._old_sparse(block)
        elif records and kind == FILE:
            name, sparse, size = self._pax_sparse(records, name, size)
        return Member(name, kind, mode & 0o7777, uid, gid, size, mtime, link, device, xattrs, sparse)

    def _decimal(self, records: dict[bytes, bytes], key: bytes, default: int) -> int:
        value = records.get(key)
        if not value:
            return default
        if not value.isdigit() or len(value) > 20:
            raise self._error(f"{key.decode()}={value[:40]!r} in an extended header")
        return int(value)

    def _time(self, value: bytes) -> int:
        """Return nanoseconds of a decimal number of seconds, exactly, rounded down."""
        sign = -1 if value.startswith(b"-") else 1
        whole, point, fraction = value.removeprefix(b"-").partition(b".")
        if not whole.isdigit() or len(whole) > 15 or (point and fraction and not fraction.isdigit()):
            raise self._error(f"mtime={value[:40]!r} in an extended header")
        return sign * (int(whole) * SECOND + int(fraction[:9].ljust(9, b"0") or b"0"))

    # Below: sparse files. The map says which parts are there; the parts stand one behind the other in the archive.

    def _old_sparse(self, block: bytes) -> tuple[tuple[tuple[int, int], ...], int]:
        size = self._number(block[483:495])
        pairs: list[tuple[int, int]] = []
        self._old_pairs(block[386:482], pairs)
        more = block[482]
        while more:
            block = self._exactly(BLOCK_SIZE)
            if len(block) < BLOCK_SIZE or len(pairs) > self._limits.header // 24:
                raise self._error("the map of a sparse file does not end")
            self._old_pairs(block[:504], pairs)
            more = block[504]
        return self._map(pairs, size), size

    def _old_pairs(self, data: bytes, pairs: list[tuple[int, int]]) -> None:
        for start in range(0, len(data), 24):
            if not data[start]:
                return
            pairs.append((self._number(data[start : start + 12]), self._number(data[start + 12 : start + 24])))

    def _pax_sparse(
        self, records: dict[bytes, bytes], name: bytes, size: int
    ) -> tuple[bytes, tuple[tuple[int, int], ...] | None, int]:
        name = records.get(b"GNU.sparse.name") or name
        major = records.get(b"GNU.sparse.major")
        if major is not None:
            if (major, records.get(b"GNU.sparse.minor")) != (b"1", b"0"):
                raise self._error("a sparse file of an unknown format")
            size = self._decimal(records, b"GNU.sparse.realsize", size)
            numbers = self._numbers_before_data()
        elif b"GNU.sparse.map" in records:
            size = self._decimal(records, b"GNU.sparse.size", size)
            fields = records[b"GNU.sparse.map"].split(b",")
            numbers = [self._decimal({b"map": field}, b"map", -1) for field in fields] if fields != [b""] else []
        else:
            return name, None, size
        if len(numbers) % 2:
            raise self._error("the map of a sparse file is malformed")
        return name, self._map(list(zip(numbers[::2], numbers[1::2], strict=True)), size), size

    def _numbers_before_data(self) -> list[int]:
        """Read the map of format 1.0: decimal lines in front of the data, padded to whole blocks."""
        numbers: list[int] = []
        wanted = -1
        rest = b""
        while wanted < 0 or len(numbers) < wanted:
            block = b""
            while len(block) < BLOCK_SIZE:
                more = self.read(BLOCK_SIZE - len(block))
                if not more:
                    raise self._error("the map of a sparse file does not end")
                block += more
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if 0 <= wanted <= len(numbers):
                    break
                if not line.isdigit() or len(line) > 20:
                    raise self._error("the map of a sparse file is malformed")
                if wanted < 0:
                    wanted = 2 * int(line)
                    if wanted > self._limits.header:
                        raise self._error("the map of a sparse file is too long")
                else:
                    numbers.append(int(line))
            if len(rest) > 20 and (wanted < 0 or len(numbers) < wanted):
                raise self._error("the map of a sparse file is malformed")
        return numbers

    def _map(self, pairs: list[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
        end = stored = 0
        for offset, length in pairs:
            if offset < end or length < 0 or offset + length > size:
                raise self._error("the map of a sparse file is malformed")
            end = offset + length
            stored += length
        if stored != self._left:
            raise self._error("the map of a sparse file does not fit its data")
        return tuple(pairs)


def begins_as_tar(stream: Readable) -> bool:
    """Whether a stream, plain or compressed, begins with a member of a tar.

    Whatever size that member claims: this is looked at where it is unpacked, and is an error there.
    """
    limits = DEFAULT_LIMITS._replace(size=sys.maxsize)
    try:
        return next(iter(TarReader(decompress(stream).read, limits)), None) is not None
    except ArchiveError:
        return False


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
