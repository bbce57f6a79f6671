"""Modules that a Go program was built of, as the linker has written them into it (Go's debug/buildinfo)."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.attest.packages import Package, purl, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.attest.packages import Candidate

_MAGIC: Final = b"\xff Go buildinf:"
_HEADER: Final = 32
_INLINE: Final = 2
_BIG: Final = 1
_MOST: Final = 16 << 20
_SEARCHED: Final = 1 << 20
_WRITABLE: Final = 2
_LOAD: Final = 1
_SMALLEST: Final = 100 << 10
"""No Go program is smaller."""


class _Segment(NamedTuple):
    offset: int
    address: int
    size: int
    flags: int


def may_be_program(mode: int, size: int) -> bool:
    """Whether it is worth a look: something that is executed, and large enough for a Go program."""
    return bool(mode & 0o111) and size >= _SMALLEST


def go(file: Candidate) -> Iterator[Package]:
    """Read the main module, its dependencies and Go's own library; nothing of what is not a Go program."""
    descriptor = file.tree.open(file.path)
    try:
        told = _build_info(descriptor)
    finally:
        os.close(descriptor)
    if told is None:
        return
    version, modules = told
    if version.startswith("go"):
        number = version.removeprefix("go").partition(" ")[0]
        yield Package("golang", "stdlib", number, purl("golang", "stdlib", number), file.path)
    rows = [line.split("\t") for line in modules.splitlines()]
    if all(row[0] != "mod" for row in rows):  # built without modules, as distributions do
        for path in (
            row[1] for row in rows if row[0] == "path" and len(row) > 1 and row[1] != "command-line-arguments"
        ):
            namespace, _, name = path.rpartition("/")
            yield Package("golang", path, "", purl("golang", name, "", namespace=namespace), file.path)
    for place, row in enumerate(rows):
        if row[0] not in ("mod", "dep") or len(row) < 3:
            continue
        replaced = rows[place + 1] if place + 1 < len(rows) and rows[place + 1][0] == "=>" else row
        path, number = replaced[1], replaced[2] if len(replaced) > 2 else ""
        number = "" if number == "(devel)" else number
        if path.startswith((".", "/")):  # replaced by a directory, whose version nobody knows
            path, number = row[1], row[2]
        namespace, _, name = path.rpartition("/")
        yield Package("golang", path, number, purl("golang", name, number, namespace=namespace), file.path)


def _build_info(descriptor: int) -> tuple[str, str] | None:
    """Return the version of Go and the lines about modules; None for what has none."""
    head = _read(descriptor, 64, 0)
    if len(head) < 64 or not head.startswith(b"\x7fELF") or head[4] not in (1, 2) or head[5] not in (1, 2):
        return None
    wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    segments = _segments(descriptor, head, wide, order)
    for segment in segments:
        if not segment.flags & _WRITABLE:
            continue
        data = _read(descriptor, min(segment.size, _SEARCHED), segment.offset)
        at = data.find(_MAGIC)
        while at >= 0 and (segment.address + at) % 16:
            at = data.find(_MAGIC, at + 1)
        if at >= 0:
            return _told(descriptor, segments, segment.offset + at, data[at : at + _HEADER])
    return None


def _segments(descriptor: int, head: bytes, wide: bool, order: str) -> list[_Segment]:
    """Read the program headers, elf(5)."""
    if wide:
        (offset,) = struct.unpack_from(f"{order}Q", head, 32)
        size, count = struct.unpack_from(f"{order}HH", head, 54)
    else:
        (offset,) = struct.unpack_from(f"{order}I", head, 28)
        size, count = struct.unpack_from(f"{order}HH", head, 42)
    table = _read(descriptor, size * count, offset)
    found = []
    for place in range(0, len(table) - (56 if wide else 32) + 1, size or 1):
        if wide:
            kind, flags, where, address, _, length = struct.unpack_from(f"{order}IIQQQQ", table, place)
        else:
            kind, where, address, _, length, _, flags = struct.unpack_from(f"{order}IIIIIII", table, place)
        if kind == _LOAD:
            found.append(_Segment(where, address, length, flags))
    return found


def _told(descriptor: int, segments: list[_Segment], at: int, header: bytes) -> tuple[str, str] | None:
    if len(header) < _HEADER:
        return None
    pointer, flags = header[14], header[15]
    if flags & _INLINE:
        data = _read(descriptor, _MOST, at + _HEADER)
        version, rest = _counted(data)
        modules, _ = _counted(rest)
    else:
        order = ">" if flags & _BIG else "<"
        word = f"{order}{'Q' if pointer == 8 else 'I'}"
        if pointer not in (4, 8):
            return None
        version, modules = (
            _pointed(descriptor, segments, word, struct.unpack_from(word, header, 16 + pointer * place)[0])
            for place in range(2)
        )
    if len(modules) >= 33 and modules[-17:-16] == b"\n":  # between two marks of 16 bytes
        modules = modules[16:-16]
    return text_of(version), text_of(modules)


def _read(descriptor: int, size: int, offset: int) -> bytes:
    """Return bytes of the file, fewer at its end; none where a number in it leads out of it."""
    return os.pread(descriptor, min(size, _MOST), offset) if offset < 1 << 62 else b""


def _counted(data: bytes) -> tuple[bytes, bytes]:
    """Split bytes off that stand behind their length, a varint."""
    length = shift = 0
    for place, byte in enumerate(data[:10]):
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return data[place + 1 : place + 1 + length], data[place + 1 + length :]
    return b"", b""


def _pointed(descriptor: int, segments: list[_Segment], word: str, address: int) -> bytes:
    """Return the string whose header, an address and a length, is at an address of the program."""
    size = struct.calcsize(word)
    header = _memory(descriptor, segments, address, 2 * size)
    if len(header) < 2 * size:
        return b""
    where, length = (struct.unpack_from(word, header, size * place)[0] for place in range(2))
    return _memory(descriptor, segments, where, min(length, _MOST))


def _memory(descriptor: int, segments: list[_Segment], address: int, length: int) -> bytes:
    for segment in segments:
        if segment.address <= address < segment.address + segment.size:
            inside = address - segment.address
            return _read(descriptor, min(length, segment.size - inside), segment.offset + inside)
    return b""
