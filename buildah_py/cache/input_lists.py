"""Contents of a step's input, read back from the bytes whose digest stood for it in the key, and compared.

The bytes are those of `copy.selection`: a first line, then for each source `kind NUL name NUL count NUL time NUL` and
for each entry seven fields that end with NUL: path below the source, kind, mode, owner, content, extended attributes,
time.
"""

from __future__ import annotations

import hashlib
import re
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.errors import CacheError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MAGIC: Final = b"pybuild selection 2\n"
_FIELDS: Final = 7
_HEAD_FIELDS: Final = 4
_PART: Final = 1 << 16  # bytes that are compared at once
_HEAD: Final = re.compile(
    re.escape(_MAGIC) + rb"(?P<what>(?P<kind>[^\0]*)\0[^\0]*\0)(?P<count>[0-9]{1,12})(?P<time>\0[^\0]*\0)"
)


class Row(NamedTuple):
    """An entry: octal mode, `uid:gid` or "" where the owner is set by the step, digest or link target or device.

    `time` is in seconds since 1970, "" where it does not count.
    """

    path: str
    kind: str
    mode: str
    owner: str
    content: str
    attributes: str
    time: str = ""


class ListedSource(NamedTuple):
    """One source: `kind` is `dir` or `other`, `name` that of a file, "" for a directory; `rows` are plain `Row`s.

    `time` is that of a directory itself, as in a Row.
    """

    kind: str
    name: str
    rows: tuple[tuple[str, ...], ...]
    time: str = ""


class FileDifference(NamedTuple):
    """How one file differs. `what` is added, removed, content, mode, owner, kind, link, attributes or mtime."""

    path: str
    what: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        if self.what == "content":
            return f"{self.path} changed"
        if self.what in ("added", "removed"):
            return f"{self.path} {self.what}"
        if self.what == "attributes":
            return f"extended attributes of {self.path} changed"
        what = "target" if self.what == "link" else self.what
        return f"{what} of {self.path} {self.before} → {self.after}"


def digest_of_list(data: bytes) -> str:
    """Give the digest that stands for the bytes in a key."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def parse(data: bytes) -> list[ListedSource]:
    """Read the bytes. Raises CacheError where they are anything else."""
    if not data.startswith(_MAGIC):
        raise CacheError("this is not a list of a step's inputs, or is one of another version of pybuild")
    fields = data[len(_MAGIC) :].decode("utf-8", "surrogateescape").split("\0")
    if fields.pop():
        raise CacheError("a list of a step's inputs is cut short")
    found: list[ListedSource] = []
    at = 0
    while at < len(fields):
        if at + _HEAD_FIELDS > len(fields) or not fields[at + 2].isdecimal() or len(fields[at + 2]) > 12:
            raise CacheError("a list of a step's inputs is damaged")
        kind, name, _, time = fields[at : at + _HEAD_FIELDS]
        count = int(fields[at + 2]) - (kind == "dir")
        start = at + _HEAD_FIELDS
        at = start + count * _FIELDS
        if count < 0 or at > len(fields):
            raise CacheError("a list of a step's inputs is damaged")
        entries = iter(fields[start:at])
        found.append(ListedSource(kind, name, tuple(zip(*[entries] * _FIELDS, strict=True)), time))
    return found


def shorten(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """Leave out entries with which two lists of one source begin alike and end alike: there may be very many.

    `compare` finds the same in what is left. Lists of several sources stay as they are.
    """
    heads = _HEAD.match(old), _HEAD.match(new)
    if heads[0] is None or heads[1] is None or heads[0]["what"] != heads[1]["what"]:
        return old, new
    starts = heads[0].end(), heads[1].end()
    if any(
        data.count(b"\0", start) != _FIELDS * (int(head["count"]) - (head["kind"] == b"dir"))
        for data, start, head in zip((old, new), starts, heads, strict=True)
        if head is not None
    ):
        return old, new
    first, second = starts
    begun = max(old.rfind(b"\0", first, first + _beginning(old, first, new, second)) + 1, first)
    for _ in range(old.count(b"\0", first, begun) % _FIELDS):
        begun = max(old.rfind(b"\0", first, begun - 1) + 1, first)
    first, second = begun, second + begun - first
    # Behind the first end of a field that both have: what stands before it may be the end of a longer one in one list.
    at = old.find(b"\0", len(old) - _end(old, first, new, second)) + 1 or len(old)
    for _ in range(old.count(b"\0", at) % _FIELDS):
        at = old.find(b"\0", at) + 1
    rest = len(old) - at
    return _again(heads[0], old[first : len(old) - rest]), _again(heads[1], new[second : len(new) - rest])


def _beginning(one: bytes, first: int, other: bytes, second: int) -> int:
    """Count the bytes that are the same from two places on."""
    low, high = 0, min(len(one) - first, len(other) - second)
    while low < high and one[first + low : first + low + _PART] == other[second + low : second + low + _PART]:
        low = min(low + _PART, high)
    high = min(high, low + _PART)
    while low < high:
        middle = (low + high + 1) // 2
        if one[first + low : first + middle] == other[second + low : second + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _end(one: bytes, first: int, other: bytes, second: int) -> int:
    """Count the bytes that are the same back from the ends, at most down to two places."""
    low, high = 0, min(len(one) - first, len(other) - second)
    while low + _PART < high and one[-low - _PART : len(one) - low] == other[-low - _PART : len(other) - low]:
        low += _PART
    high = min(high, low + _PART)
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _again(head: re.Match[bytes], body: bytes) -> bytes:
    count = body.count(b"\0") // _FIELDS + (head["kind"] == b"dir")
    return _MAGIC + head["what"] + b"%d" % count + head["time"] + body


def pack(sources: Sequence[ListedSource]) -> bytes:
    """Give the bytes again: the inverse of `parse`."""
    parts: list[str] = []
    for source in sources:
        parts += (source.kind, source.name, str(len(source.rows) + (source.kind == "dir")), source.time)
        for row in source.rows:
            parts += row
    return _MAGIC + "".join(f"{part}\0" for part in parts).encode("utf-8", "surrogateescape")


def compare(
    old: Sequence[ListedSource], new: Sequence[ListedSource], old_bases: Sequence[str], new_bases: Sequence[str]
) -> list[FileDifference]:
    """Say how two inputs differ, file by file, in the order of the paths. `…_bases` are where the sources lie."""
    before, after = _identified(old, old_bases), _identified(new, new_bases)
    found: list[FileDifference] = []
    for key in dict.fromkeys([*after, *before]):
        was, is_now = before.get(key, _NOTHING), after.get(key, _NOTHING)
        if key in before and key in after and was.time != is_now.time:
            found.append(FileDifference(is_now.path("") or "/", "mtime", was.time, is_now.time))
        # Rows are compared as they are, and looked at one by one only where they differ: there may be very many.
        gone = {row[0]: Row._make(row) for row in set(was.rows).difference(is_now.rows)}
        come = {row[0]: Row._make(row) for row in set(is_now.rows).difference(was.rows)}
        for path, row in come.items():
            shown = is_now.path(path)
            if path in gone:
                found += _differences(shown, gone[path], row)
            else:
                found.append(FileDifference(shown, "added"))
        found += (FileDifference(was.path(path), "removed") for path in gone if path not in come)
    return sorted(found)


def same_for_git(differences: Sequence[FileDifference]) -> bool:
    """Whether nothing differs but modes, and these only in what git does not keep."""
    return bool(differences) and all(
        one.what == "mode" and _executable(one.before) == _executable(one.after) for one in differences
    )


def alike(old: Sequence[ListedSource], new: Sequence[ListedSource]) -> float:
    """Give the share of entries that both have, from 0 to 1, whoever's they are and whatever their modes."""
    before, after = ({_HELD(row) for source in sources for row in source.rows} for sources in (old, new))
    return len(before & after) / max(len(before), len(after), 1)


def _executable(mode: str) -> bool:
    try:
        return bool(int(mode, 8) & 0o100)
    except ValueError:
        return False


class _Placed(NamedTuple):
    base: str
    rows: tuple[tuple[str, ...], ...]
    time: str = ""

    def path(self, below: str) -> str:
        return f"{self.base}/{below}" if self.base and below else self.base or below


_NOTHING = _Placed("", ())
_HELD = itemgetter(0, 1, 4)
"""Path, kind and content of a row: checkouts under another umask hold the same."""


def _identified(sources: Sequence[ListedSource], bases: Sequence[str]) -> dict[tuple[str, str, int], _Placed]:
    """Give each source by what it is told by: a directory by its turn, as its name decides nothing; a file by its."""
    found: dict[tuple[str, str, int], _Placed] = {}
    for number, source in enumerate(sources):
        base = bases[number] if number < len(bases) else source.name
        turn = 0
        while (source.kind, source.name, turn) in found:
            turn += 1
        found[source.kind, source.name, turn] = _Placed(base, source.rows, source.time)
    return found


def _differences(path: str, old: Row, new: Row) -> Iterator[FileDifference]:
    if old.kind != new.kind:
        yield FileDifference(path, "kind", old.kind, new.kind)
        return
    if old.content != new.content:
        yield FileDifference(path, "link" if new.kind == "symlink" else "content", old.content, new.content)
    if old.mode != new.mode:
        yield FileDifference(path, "mode", old.mode, new.mode)
    if old.owner != new.owner:
        yield FileDifference(path, "owner", old.owner, new.owner)
    if old.attributes != new.attributes:
        yield FileDifference(path, "attributes", old.attributes, new.attributes)
    if old.time != new.time:
        yield FileDifference(path, "mtime", old.time, new.time)
