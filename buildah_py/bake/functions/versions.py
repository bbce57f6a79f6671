"""Function `semvercmp`: whether a version fits a constraint (semver.org, with the ranges that package managers use)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from buildah_py.bake.functions.function import Library, text
from buildah_py.bake.values import ValueFault

LIBRARY = Library()
_add = LIBRARY.add
_VERSION: Final = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?",
)
_PART: Final = re.compile(
    r"(=|!=|>=|=>|<=|=<|>|<|~>|~|\^)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?",
)


class _Version(NamedTuple):
    numbers: tuple[int, int, int]
    before: str

    def rank(self) -> tuple[object, ...]:
        identifiers = tuple(
            (0, int(one), "") if one.isdecimal() else (1, 0, one) for one in self.before.split(".") if self.before
        )
        return (*self.numbers, not self.before, identifiers)


def _read(version: str) -> _Version:
    found = _VERSION.fullmatch(version)
    if not found:
        raise ValueFault(f"`{version}` is not a version", "versions look like 1.2.3")
    return _Version((int(found[1]), int(found[2] or 0), int(found[3] or 0)), found[4] or "")


@_add("semvercmp", text("version"), text("constraint"))
def _semvercmp(version: str, constraint: str) -> bool:
    given = _read(version)
    return any(all(_fits(given, part) for part in _split(one)) for one in constraint.split("||"))


def _split(constraint: str) -> list[re.Match[str]]:
    constraint = re.sub(r"(\S+)\s+-\s+(\S+)", r">=\1, <=\2", constraint.strip())
    found: list[re.Match[str]] = []
    at = 0
    while at < len(constraint):
        part = _PART.match(constraint, at)
        if not part:
            raise ValueFault(f"`{constraint}` is not a constraint of versions", "they look like >=1.2, <2")
        found.append(part)
        at = part.end()
        while constraint[at : at + 1] in (" ", ","):
            at += 1
    if not found:
        raise ValueFault("the constraint is empty", "constraints look like >=1.2, <2")
    return found


def _fits(given: _Version, part: re.Match[str]) -> bool:
    operator = part[1] or ""
    texts = [part[2], part[3], part[4]]
    known = [text for text in texts if text and text.isdecimal()]
    count = next((at for at, text in enumerate(texts) if not text or not text.isdecimal()), 3)
    numbers = [int(text) for text in known[:count]]
    base = (*numbers, *(0,) * (3 - len(numbers)))
    low = _Version((base[0], base[1], base[2]), part[5] or "")
    if given.before and not low.before:
        return False
    rank, bottom = given.rank(), low.rank()
    if operator in ("", "=", "!="):
        if count == 3:
            return (rank == bottom) is (operator != "!=")
        inside = given.numbers[:count] == base[:count]
        return inside is (operator != "!=")
    if operator == ">":
        return rank > bottom if count == 3 else given.numbers[:count] > base[:count]
    if operator in (">=", "=>"):
        return rank >= bottom
    if operator == "<":
        return rank < bottom
    if operator in ("<=", "=<"):
        return rank <= bottom if count == 3 else given.numbers[:count] <= base[:count]
    if rank < bottom:
        return False
    if operator in ("~", "~>"):
        kept = min(count, 2) if count else 0
        return given.numbers[:kept] == base[:kept]
    kept = next((at for at, one in enumerate(base) if one), count - 1) + 1 if count else 0  # ^
    return given.numbers[:kept] == base[:kept]
