"""Who a command runs as: USER resolved in the image's own passwd and group files, which may be hostile."""

from __future__ import annotations

import os
import stat

from buildah_py.linux.paths import openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BYTES = 4 << 20
"""How much of a passwd or group file is looked at."""

_MOST_ID = 2**32 - 2


class UnknownUserError(Exception):
    """There is no such user or group in the image."""


class Identity:
    """User id, group id, supplementary groups and home directory."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: tuple[int, ...], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def read_bounded(root: int, path: str) -> bytes:
    """Read the beginning of a regular file inside a root; nothing where there is no regular file."""
    try:
        descriptor = openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # missing, a loop of links, a device without driver: to the image it is as if it were not there
        return b""
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        chunks = []
        left = MOST_BYTES
        while left:
            chunk = file.read(min(left, 1 << 16))
            if not chunk:
                break
            chunks.append(chunk)
            left -= len(chunk)
    return b"".join(chunks)


def _records(root: int, path: str, fields: int) -> Iterator[list[str]]:
    for line in read_bounded(root, path).split(b"\n"):
        parts = line.decode("utf-8", "surrogateescape").strip().split(":")
        if len(parts) >= fields and parts[2].isascii() and parts[2].isdigit() and int(parts[2]) <= _MOST_ID:
            yield parts


def resolve(root: int, user: str) -> Identity:
    """Resolve `name|id[:group|id]` as docker does; an empty text is root. Raises UnknownUserError.

    The user's own group is among the supplementary ones, so that a program that gives its group up does not get past
    files that its group is kept from (CVE-2022-36109).
    """
    name, colon, group = user.partition(":")
    uid, gid, home, login = 0, 0, "", ""
    found = False
    for record in _records(root, "/etc/passwd", 4):
        if record[0] == name or int(record[2]) == (_as_id(name or "0")):
            login, uid, home = record[0], int(record[2]), record[5] if len(record) > 5 else ""
            gid = int(record[3]) if record[3].isascii() and record[3].isdigit() and int(record[3]) <= _MOST_ID else 0
            found = True
            break
    if not found:
        numeric = _as_id(name or "0")
        if numeric is None:
            raise UnknownUserError(f"no user {name!r} in the image's /etc/passwd")
        uid, home = numeric, "" if numeric else "/root"
    groups: list[int] = []
    if colon:
        gid = _group(root, group)
    elif login:
        groups = [int(record[2]) for record in _records(root, "/etc/group", 4) if login in record[3].split(",")]
    return Identity(uid, gid, tuple(dict.fromkeys((gid, *groups))), home or "/")


def _group(root: int, group: str) -> int:
    numeric = _as_id(group)
    for record in _records(root, "/etc/group", 3):
        if record[0] == group or int(record[2]) == numeric:
            return int(record[2])
    if numeric is None:
        raise UnknownUserError(f"no group {group!r} in the image's /etc/group")
    return numeric


def _as_id(text: str) -> int | None:
    if not (text.isascii() and text.isdigit()):
        return None
    if int(text) > _MOST_ID:
        raise UnknownUserError(f"{text} is no possible user or group id")
    return int(text)
