"""Who a user is: `user[:group]` looked up in the text of an image's /etc/passwd and /etc/group.

The rules are those of the OCI runtimes: a number is an id whether or not it is listed, a name has to be listed, the
supplementary groups count only where no group is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 4 << 20
"""What lies behind the first 4 MiB of passwd or group is not looked at; callers need not read more."""

_MAX_LINE = 64 << 10
_MAX_ID = 2**32 - 2  # 2**32 - 1 is (uid_t) -1: "leave it as it is"


class User(NamedTuple):
    """The identity of a process. `name` is `""` where passwd does not list the id."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    name: str = ""
    home: str = "/"


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


def user(spec: str, passwd: bytes = b"", group: bytes = b"") -> User:
    """Who a process runs as under USER `spec`; `""` is root. Raises NotFound for a name that is not listed.

    A number that is not listed has the group 0 and the home `/`.
    """
    wanted, _, wanted_group = spec.partition(":")
    account = _account(wanted or "0", passwd)
    uid = account.uid if account else _id(wanted or "0")
    if uid is None:
        raise _missing("user", wanted, spec, "/etc/passwd")
    name, home = (account.name, account.home) if account else ("", "/")
    if wanted_group:
        return User(uid, _gid(wanted_group, spec, group), (), name, home)
    groups = tuple(dict.fromkeys(one.gid for one in _groups(group) if name and name in one.members))
    return User(uid, account.gid if account else 0, groups, name, home)


def owner(spec: str, passwd: bytes = b"", group: bytes = b"") -> tuple[int, int]:
    """The uid and gid that `--chown=SPEC` gives to files. Raises NotFound for a name that is not listed.

    Without a group, a number stands for both, and a name brings the group that passwd gives it.
    """
    wanted, _, wanted_group = spec.partition(":")
    uid = _id(wanted or "0")
    gid = uid
    if uid is None:
        account = _account(wanted, passwd)
        if account is None and wanted == "root":
            account = _Account("root", 0, 0, "/root")
        if account is None:
            raise _missing("user", wanted, spec, "/etc/passwd")
        uid, gid = account.uid, account.gid
    if wanted_group:
        gid = _gid(wanted_group, spec, group)
    assert gid is not None
    return uid, gid


def _account(wanted: str, passwd: bytes) -> _Account | None:
    """The first account of that id, or that name where `wanted` is no number; root is known without a passwd."""
    uid = _id(wanted)
    for account in _accounts(passwd):
        if account.name == wanted if uid is None else account.uid == uid:
            return account
    return _Account("root", 0, 0, "/root") if wanted == "root" else None


def _gid(wanted: str, spec: str, group: bytes) -> int:
    gid = _id(wanted)
    if gid is not None:
        return gid
    for one in _groups(group):
        if one.name == wanted:
            return one.gid
    if wanted == "root":
        return 0
    raise _missing("group", wanted, spec, "/etc/group")


def _id(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID:
        return int(text)
    return None


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _lines(passwd):
        if len(fields) >= 4:
            uid, gid = _id(fields[2]), _id(fields[3])
            if fields[0] and uid is not None and gid is not None:
                yield _Account(fields[0], uid, gid, (fields[5] if len(fields) > 5 else "") or "/")


def _groups(group: bytes) -> Iterator[_Group]:
    for fields in _lines(group):
        gid = _id(fields[2]) if len(fields) >= 3 else None
        if fields[0] and gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else ()
            yield _Group(fields[0], gid, tuple(name.strip() for name in members if name.strip()))


def _lines(data: bytes) -> Iterator[list[str]]:
    """The fields of each line; comments, NIS entries and lines of an absurd length are passed over."""
    for line in data[:MAX_BYTES].split(b"\n"):
        if line.strip() and len(line) <= _MAX_LINE and line[:1] not in (b"#", b"+", b"-"):
            yield [field.strip() for field in line.decode("utf-8", "surrogateescape").split(":")]


def _missing(kind: str, name: str, spec: str, path: str) -> NotFound:
    return NotFound(
        f"there is no {kind} `{name}` in the image's {path} (wanted for `{spec}`)",
        hint=f"add the {kind} in an earlier RUN, or write its number",
    )
