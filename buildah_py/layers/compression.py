"""Recognise a compressed stream by its first bytes and decompress it, within flat memory."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final, Protocol

from buildah_py.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.image.blob import Readable

_PIECE: Final = 1 << 18
_XZ_MEMORY: Final = 1 << 28
_ZSTD_WINDOW: Final = 1 << 27  # what `zstd --long` writes and every decompressor accepts
_MAGIC: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


def detect(start: bytes) -> str:
    """Name the compression of a stream that begins with `start` (6 bytes are enough): "" for none."""
    for magic, name in _MAGIC:
        if start.startswith(magic):
            return name
    if len(start) >= 4 and start[1:4] == b"\x2a\x4d\x18" and 0x50 <= start[0] <= 0x5F:
        return "zstd"  # a skippable frame in front
    return ""


def decompress(stream: Readable) -> Readable:
    """Return a reader of the uncompressed bytes of `stream`: gzip, bzip2, xz, zstd, or as it is.

    Several compressed parts one after the other are one stream, as their tools have it. Damage raises ArchiveError.
    """
    start = b""
    while len(start) < 6 and (more := stream.read(_PIECE)):
        start += more
    name = detect(start)
    if not name:
        return _Plain(start, stream.read)
    return _Decompressed(name, start, stream.read)


class _Plain:
    def __init__(self, start: bytes, read: Callable[[int], bytes]) -> None:
        self._start = start
        self._read = read

    def read(self, length: int, /) -> bytes:
        if self._start:
            data, self._start = self._start[:length], self._start[length:]
            return data
        return self._read(length)


class _Decoder(Protocol):
    """One compressed part, as bz2 and lzma shape it."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Decompressed:
    """Decompresses at most a piece at a time: a bomb meets the limits of whoever reads before it meets memory."""

    def __init__(self, name: str, start: bytes, read: Callable[[int], bytes]) -> None:
        self._name = name
        self._input = start
        self._read = read
        self._decoder: _Decoder | None = _decoder(name)
        self._output = b""
        self._taken = 0

    def read(self, length: int, /) -> bytes:
        if self._taken >= len(self._output):
            self._output = self._more()
            self._taken = 0
        data = (
            self._output[self._taken : self._taken + length]
            if self._taken or length < len(self._output)
            else self._output
        )
        self._taken += len(data)
        return data

    def _more(self) -> bytes:
        while (decoder := self._decoder) is not None:
            if decoder.eof:
                self._next_part(decoder.unused_data)
                continue
            if decoder.needs_input and not self._input:
                self._input = self._read(_PIECE)
                if not self._input:
                    raise self._damaged("it ends too early")
            given, self._input = self._input, b""
            try:
                data = decoder.decompress(given, _PIECE)
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise self._damaged(str(error)) from error
            except Exception as error:
                if type(error).__name__ in (
                    "IsalError",
                    "LZMAError",
                    "ZstdError",
                ):  # their modules are imported where needed
                    raise self._damaged(str(error)) from error
                raise
            if data:
                return data
        return b""

    def _next_part(self, rest: bytes) -> None:
        """Go on with the next part; zeros behind the last are padding, anything else is damage."""
        while True:
            rest = rest.lstrip(b"\0") if self._name != "zstd" else rest
            if rest:
                while len(rest) < 6 and (more := self._read(_PIECE)):
                    rest += more
                if detect(rest) != self._name:
                    raise self._damaged("something else follows it")
                self._decoder = _decoder(self._name)
                self._input = rest
                return
            rest = self._read(_PIECE)
            if not rest:
                self._decoder = None
                return

    def _damaged(self, why: str) -> ArchiveError:
        return ArchiveError(f"the {self._name} stream is damaged: {why}")


def _decoder(name: str) -> _Decoder:
    if name == "gzip":
        return _Zlib()
    if name == "bzip2":
        import bz2

        return bz2.BZ2Decompressor()
    if name == "xz":
        import lzma

        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return _Zstd()


class _Zlib:
    """gzip; with the package isal, where it is installed, in a third of the time."""

    def __init__(self) -> None:
        try:
            from isal import isal_zlib
        except ImportError:
            self._inner: Any = zlib.decompressobj(wbits=31)
        else:
            self._inner = isal_zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        return bytes(self._inner.decompress(self._inner.unconsumed_tail + data, max_length))


class _Zstd:
    """One frame, given to zstandard block by block.

    Its decompressor returns at once all that its input holds, which for 4 bytes can be 128 KiB: cut at the borders of
    blocks (RFC 8878, 3.1.1.2), no call gives more than one block. The cutting also shows where a frame ends.
    """

    def __init__(self) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise ArchiveError(
                "this is compressed with zstd, and the Python package zstandard is not installed",
                hint="pip install zstandard",
            ) from error
        self._inner = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._waiting = b""
        self._state = "frame"
        self._skip = 0
        self._checksum = False
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._state == "end"

    @property
    def unused_data(self) -> bytes:
        return self._waiting

    def decompress(self, data: bytes, _: int = -1, /) -> bytes:
        self._waiting += data
        while self._state != "end":
            length = self._unit()
            if not length or len(self._waiting) < length:
                self.needs_input = True
                return b""
            unit, self._waiting = self._waiting[:length], self._waiting[length:]
            self.needs_input = False
            if self._state == "skip":
                self._skip -= length
                if not self._skip:
                    self._state = "end"
                continue
            out = self._feed(unit)
            if out:
                return out
        return b""

    def _unit(self) -> int:
        """Return how many bytes come next, 0 while that cannot be told."""
        have = self._waiting
        if self._state == "checksum":
            return 4
        if self._state == "skip":
            return min(self._skip, len(have))
        if self._state == "block":
            if len(have) < 3:
                return 0
            head = int.from_bytes(have[:3], "little")
            return 3 + (1 if head >> 1 & 3 == 1 else head >> 3)
        if len(have) < 8:
            return 0
        if have[1:4] == b"\x2a\x4d\x18":
            return 8
        flags = have[4]
        single = flags >> 5 & 1
        size_field = (single, 2, 4, 8)[flags >> 6]
        return 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + size_field

    def _feed(self, unit: bytes) -> bytes:
        state = self._state
        if state == "frame":
            if unit[1:4] == b"\x2a\x4d\x18":
                self._skip = int.from_bytes(unit[4:8], "little")
                self._state = "skip" if self._skip else "end"
                return b""
            self._checksum = bool(unit[4] & 4)
            self._state = "block"
        elif state == "checksum":
            self._state = "end"
        elif unit[0] & 1:
            self._state = "checksum" if self._checksum else "end"
        return self._inner.decompress(unit)
