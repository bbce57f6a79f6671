"""Files for tests that look through an image: what package managers and linkers would have left."""

from __future__ import annotations

import io
import sqlite3
import struct
import zipfile
from typing import TYPE_CHECKING

from buildah_py.attest.scan import scan
from buildah_py.sources.directory import DirectoryContext

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from buildah_py.attest.scan import Scanned

INDEX_START = b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"
INDEX_END = b"\xf92C1\x86\x18 r\x00\x82B\x10A\x16\xd8\xf2"


def scanned(root: Path, files: Mapping[str, bytes | str]) -> Scanned:
    """Write files below `root`, and look through them; what ends with ! may be executed."""
    for name, content in files.items():
        path = root / name.rstrip("!")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o755 if name.endswith("!") else 0o644)
    return scan(DirectoryContext(str(root), None, None, name="the image"))


def rpm_header(tags: Mapping[int, str | int]) -> bytes:
    """Give a header of rpm's with strings and 32-bit numbers."""
    entries, store = b"", b""
    for tag, value in tags.items():
        if isinstance(value, int):
            store += bytes(-len(store) % 4)
            entries += struct.pack(">IIII", tag, 4, len(store), 1)
            store += struct.pack(">I", value)
        else:
            entries += struct.pack(">IIII", tag, 6, len(store), 1)
            store += value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(store)) + entries + store


def rpm_sqlite(path: Path, headers: list[bytes]) -> bytes:
    """Give a data base of rpm's in SQLite's form."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
        connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(one,) for one in headers])
    connection.close()
    data = path.read_bytes()
    path.unlink()
    return data


def rpm_ndb(headers: list[bytes]) -> bytes:
    """Give a data base of rpm's in its own form: one page of slots, then the blobs, each in whole blocks."""
    slots, blobs = b"", b""
    for index, header in enumerate(headers, 1):
        blob = struct.pack("<IIII", 0x53626C42, index, 1, len(header)) + header
        blob += bytes(-len(blob) % 16)
        slots += struct.pack("<IIII", 0x746F6C53, index, (4096 + len(blobs)) // 16, len(blob) // 16)
        blobs += blob
    free = struct.pack("<IIII", 0x746F6C53, 0, 0, 0)
    page = struct.pack("<IIII", 0x506D7052, 0, 1, 1) + bytes(16) + slots
    return page + free * ((4096 - len(page)) // 16) + blobs


def jar(files: Mapping[str, bytes | str]) -> bytes:
    """Give an archive of Java's."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def go_program(version: str, modules: str, *, inline: bool = True) -> bytes:
    """Give a program for amd64 that does nothing but carry what Go's linker writes; `inline` as since Go 1.18."""
    address, at = 0x400000, 64 + 56 + 8
    told = INDEX_START + modules.encode() + INDEX_END
    magic = b"\xff Go buildinf:\x08" + (b"\x02" if inline else b"\x00")
    if inline:
        info = magic + bytes(16) + _counted(version.encode()) + _counted(told)
    else:
        strings = at + 64
        first = address + strings
        headers = struct.pack("<QQQQ", first, len(version), first + len(version), len(told))
        info = magic + struct.pack("<QQ", address + at + 32, address + at + 48) + headers + version.encode() + told
    size = max(at + len(info), 200 << 10)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, address, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 6, 0, address, address, size, size, 0x1000)
    return (header + segment + bytes(8) + info).ljust(size, b"\0")


def _counted(data: bytes) -> bytes:
    length, found = len(data), b""
    while length >= 0x80:
        found += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return found + bytes((length,)) + data
