"""Who a user is: `user[:group]` looked up in the text of an image's /etc/passwd and /etc/group.

The rules are those of the OCI runtimes: a number is an id whether or not it is listed, a name has to be listed, the
supplementary groups count only where no group is named.

A container's first process looks here too, so that nothing that is slow to import is.
"""

from __future__ import annotations

from buildah_py.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    _Account = tuple[str, int, int, str]
    """Name, uid, gid, home."""

MAX_BYTES = 4 << 20
"""Most bytes of passwd or group that are looked at (4 MiB); callers need not read more."""

_MAX_LINE = 64 << 10
_MAX_ID = 2**32 - 2  # 2**32 - 1 is (uid_t) -1: "leave it as it is"


class ExecUser:
    """The identity of a process. `name` is `""` where passwd does not list the id."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(
        self, uid: int = 0, gid: int = 0, groups: tuple[int, ...] = (), name: str = "", home: str = "/"
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.name = name
        self.home = home

    def __repr__(self) -> str:
        return f"User({self.uid}, {self.gid}, {self.groups}, {self.name!r}, {self.home!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExecUser) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def user(spec: str, passwd: bytes = b"", group: bytes = b"") -> ExecUser:
    """Who a process runs as under USER `spec`; `""` is root. Raises NotFound for a name that is not listed.

    A number that is not listed has the group 0 and the home `/`.
    """
    wanted, _, wanted_group = spec.partition(":")
    account = _account(wanted or "0", passwd)
    if account is None:
        uid = _id(wanted or "0")
        if uid is None:
            raise _missing("user", wanted, spec, "/etc/passwd")
        account = "", uid, 0, "/"
    name, uid, gid, home = account
    if wanted_group:
        return ExecUser(uid, _gid(wanted_group, spec, group), (), name, home)
    groups = tuple(dict.fromkeys(one for _, one, members in _groups(group) if name and name in members))
    return ExecUser(uid, gid, groups, name, home)


def owner(spec: str, passwd: bytes = b"", group: bytes = b"") -> tuple[int, int]:
    """Return the uid and gid that `--chown=SPEC` gives to files. Raises NotFound for a name that is not listed.

    Without a group, a number stands for both, and a name brings the group that passwd gives it.
    """
    wanted, _, wanted_group = spec.partition(":")
    uid = gid = _id(wanted or "0")
    if uid is None:
        account = _account(wanted, passwd)
        if account is None:
            raise _missing("user", wanted, spec, "/etc/passwd")
        _, uid, gid, _ = account
    if wanted_group:
        gid = _gid(wanted_group, spec, group)
    assert gid is not None
    return uid, gid


def _account(wanted: str, passwd: bytes) -> _Account | None:
    """Return the first account of that id, or of that name for text that is not a number; root needs no passwd."""
    number = _id(wanted)
    for account in _accounts(passwd):
        if (account[0] == wanted and not _is_number(wanted)) if number is None else account[1] == number:
            return account
    return ("root", 0, 0, "/root") if wanted == "root" else None


def _gid(wanted: str, spec: str, group: bytes) -> int:
    number = _id(wanted)
    if number is not None:
        return number
    for name, gid, _ in _groups(group):
        if name == wanted and not _is_number(wanted):
            return gid
    if wanted == "root":
        return 0
    raise _missing("group", wanted, spec, "/etc/group")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _id(text: str) -> int | None:
    if _is_number(text) and len(text) <= 10 and int(text) <= _MAX_ID:
        return int(text)
    return None


def _accounts(passwd: bytes) -> Iterator[_Account]:
    for fields in _lines(passwd):
        if len(fields) >= 4:
            uid, gid = _id(fields[2]), _id(fields[3])
            if fields[0] and uid is not None and gid is not None:
                yield fields[0], uid, gid, (fields[5] if len(fields) > 5 else "") or "/"


def _groups(group: bytes) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    for fields in _lines(group):
        gid = _id(fields[2]) if len(fields) >= 3 else None
        if fields[0] and gid is not None:
            members = fields[3].split(",") if len(fields) > 3 else ()
            yield fields[0], gid, tuple(name.strip() for name in members if name.strip())


def _lines(data: bytes) -> Iterator[list[str]]:
    """Yield the fields of each line; comments, NIS entries and lines of an absurd length are passed over."""
    for line in data[:MAX_BYTES].split(b"\n"):
        if line.strip() and len(line) <= _MAX_LINE and line[:1] not in (b"#", b"+", b"-"):
            yield [field.strip() for field in line.decode("utf-8", "surrogateescape").split(":")]


def _missing(kind: str, name: str, spec: str, path: str) -> NotFound:
    return NotFound(
        f"there is no {kind} `{name}` in the image's {path} (wanted for `{spec}`)",
        hint=f"add the {kind} in an earlier RUN, or write its number",
    )
