"""Packages of distributions, from the data bases of dpkg, apk and rpm."""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Final

from buildah_py.attest.packages import Package, System, Unread, purl, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from buildah_py.attest.packages import Candidate

_MOST: Final = 256 << 20
_DISTROLESS: Final = "var/lib/dpkg/status.d/"
DPKG: Final = "var/lib/dpkg/status"
APK: Final = frozenset({"lib/apk/db/installed", "usr/lib/apk/db/installed"})
RPM: Final = frozenset(
    f"{place}/{name}"
    for place in ("var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm")
    for name in ("rpmdb.sqlite", "Packages.db", "Packages")
)
OS_RELEASE: Final = ("etc/os-release", "usr/lib/os-release")
_OS_LINE: Final = re.compile(r"([A-Z_]+)=(?:\"([^\"]*)\"|'([^']*)'|(\S*))\s*")


def is_dpkg(path: str) -> bool:
    """Whether a file is dpkg's: its data base, or what images without dpkg have in place of one."""
    return path == DPKG or (path.startswith(_DISTROLESS) and not path.endswith(".md5sums"))


def read_os_release(data: bytes) -> System:
    """Read os-release(5)."""
    found = {}
    for line in text_of(data).splitlines():
        if match := _OS_LINE.fullmatch(line.strip()):
            found[match[1]] = match[2] or match[3] or match[4] or ""
    return System(found.get("ID", ""), found.get("VERSION_ID", ""), found.get("PRETTY_NAME", ""))


def dpkg(file: Candidate) -> Iterator[Package]:
    """Read dpkg's status file, deb-control(5)."""
    single = file.path.startswith(_DISTROLESS)
    for fields in _paragraphs(text_of(file.read(_MOST)), ": "):
        name, version = fields.get("Package", ""), fields.get("Version", "")
        if not name or not (single or fields.get("Status", "").endswith(" installed")):
            continue
        qualifiers = {"arch": fields.get("Architecture", ""), "distro": file.system.distro}
        if source := fields.get("Source", ""):
            own, _, other = source.partition(" ")
            qualifiers["upstream"] = own + (f"@{other.strip('()')}" if other else "")
        yield Package(
            "deb",
            name,
            version,
            purl("deb", name, version, namespace=file.system.id or "debian", qualifiers=qualifiers),
            file.path,
            supplier=fields.get("Maintainer", ""),
        )


def apk(file: Candidate) -> Iterator[Package]:
    """Read apk's installed data base: paragraphs of lines `P:name`."""
    for fields in _paragraphs(text_of(file.read(_MOST)), ":"):
        name, version = fields.get("P", ""), fields.get("V", "")
        if name:
            qualifiers = {"arch": fields.get("A", ""), "distro": file.system.distro}
            if (origin := fields.get("o", "")) and origin != name:
                qualifiers["upstream"] = origin
            yield Package(
                "apk",
                name,
                version,
                purl("apk", name, version, namespace=file.system.id or "alpine", qualifiers=qualifiers),
                file.path,
                fields.get("L", ""),
                is_expression=True,
                supplier=fields.get("m", ""),
            )


def _paragraphs(text: str, mark: str) -> Iterator[Mapping[str, str]]:
    """Give the fields of each paragraph; of one with several lines the first. Lines of lists count once."""
    fields: dict[str, str] = {}
    for line in (*text.splitlines(), ""):
        if not line:
            if fields:
                yield fields
            fields = {}
        elif not line[0].isspace():
            key, found, value = line.partition(mark)
            if found:
                fields.setdefault(key, value.strip())


# rpm

_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _ARCH, _SOURCE = 1000, 1001, 1002, 1003, 1011, 1014, 1022, 1044
_STRINGS: Final = (6, 8, 9)
_INT32: Final = 4
_MOST_TAGS: Final = 1 << 16
_MOST_STEPS: Final = 200_000_000
"""Of SQLite's virtual machine: a data base that makes it work on is no list of packages."""
_NDB: Final = 0x506D7052  # RpmP
_SLOT: Final = 0x746F6C53  # Slot
_BLOB: Final = 0x53626C42  # BlbS
_PAGE: Final = 4096


def rpm(file: Candidate) -> Iterator[Package]:
    """Read rpm's data base: SQLite's, or ndb (rpm's lib/backend/ndb). Raises Unread for a Berkeley DB."""
    kind = file.path.rpartition("/")[2]
    if kind == "Packages":
        raise Unread(f"/{file.path} is a Berkeley DB, as rpm made them before 4.16: its packages are not listed")
    headers: Iterable[bytes] = _of_sqlite(file) if kind == "rpmdb.sqlite" else _of_ndb(file.read(_MOST), file.path)
    for data in headers:
        tags = _header(data)
        name, version = str(tags.get(_NAME, "")), str(tags.get(_VERSION, ""))
        if not name or name == "gpg-pubkey":
            continue
        release, epoch = str(tags.get(_RELEASE, "")), tags.get(_EPOCH)
        whole = f"{version}-{release}" if release else version
        qualifiers = {
            "arch": str(tags.get(_ARCH, "")),
            "epoch": "" if epoch is None else str(epoch),
            "upstream": str(tags.get(_SOURCE, "")),
            "distro": file.system.distro,
        }
        yield Package(
            "rpm",
            name,
            whole,
            purl("rpm", name, whole, namespace=file.system.id, qualifiers=qualifiers),
            file.path,
            str(tags.get(_LICENSE, "")),
            supplier=str(tags.get(_VENDOR, "")),
        )


def _of_sqlite(file: Candidate) -> Iterator[bytes]:
    import sqlite3

    if file.entry.size > _MOST:
        raise Unread(f"/{file.path} is larger than {_MOST >> 20} MiB")
    descriptor = file.tree.open(file.path)
    try:
        connection = sqlite3.connect(f"file:/proc/self/fd/{descriptor}?mode=ro&immutable=1", uri=True)
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA cell_size_check=ON")
            connection.set_progress_handler(lambda: 1, _MOST_STEPS)
            for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
                if isinstance(blob, bytes):
                    yield blob
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise Unread(f"/{file.path} cannot be read: {error}") from error
    finally:
        os.close(descriptor)


def _of_ndb(data: bytes, path: str) -> Iterator[bytes]:
    """Give the blobs of rpm's own data base: slots of 16 bytes in pages, which lead to blocks of 16 bytes."""
    if len(data) < 32 or struct.unpack_from("<I", data)[0] != _NDB:
        raise Unread(f"/{path} is not rpm's own data base")
    (pages,) = struct.unpack_from("<I", data, 12)
    for place in range(32, min(pages * _PAGE, len(data) - 15), 16):
        magic, index, offset, count = struct.unpack_from("<IIII", data, place)
        if magic != _SLOT:
            raise Unread(f"/{path} is damaged")
        start = offset * 16
        if not index or not count or start + 16 > len(data):
            continue
        magic, own, _, size = struct.unpack_from("<IIII", data, start)
        if magic == _BLOB and own == index:
            yield data[start + 16 : start + 16 + size]


def _header(data: bytes) -> dict[int, str | int]:
    """Read the tags of rpm's header that are wanted: lengths, entries of 16 bytes, then what they point to."""
    wanted = {_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENSE, _ARCH, _SOURCE}
    found: dict[int, str | int] = {}
    if len(data) < 8:
        return found
    entries, length = struct.unpack_from(">II", data)
    store = 8 + entries * 16
    if entries > _MOST_TAGS or store + length > len(data):
        return found
    for place in range(8, store, 16):
        tag, kind, offset, _ = struct.unpack_from(">IIII", data, place)
        at = store + offset
        if tag not in wanted or at >= len(data):
            continue
        if kind in _STRINGS:
            end = data.find(b"\0", at)
            found[tag] = text_of(data[at : end if end >= 0 else len(data)])
        elif kind == _INT32 and at + 4 <= len(data):
            found[tag] = struct.unpack_from(">I", data, at)[0]
    return found
