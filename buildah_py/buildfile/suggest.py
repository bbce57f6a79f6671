"""What a misspelt name was probably meant to be."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

_LONGEST = 64
_MOST = 1000

if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(one: str, other: str, limit: int) -> int:
    """How many characters have to be inserted, deleted or replaced; `limit` when it is that many or more."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    row = list(range(len(other) + 1))
    for line, char in enumerate(one, 1):
        previous, row[0] = row[0], line
        for column, against in enumerate(other, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, previous + (char != against))
            previous, row[column] = row[column], cost
    return min(row[-1], limit)


def closest(name: str, known: Iterable[str], *, limit: int = 3) -> str:
    """The first of `known` that differs least from `name`, if by fewer than `limit` characters; else empty.

    Empty, too, where `name` is known: then it was not the name that was wrong.
    """
    best = ""
    if len(name) > _LONGEST:
        return best
    for candidate in islice(known, _MOST):
        if candidate == name:
            return ""
        far = distance(name, candidate, limit)
        if far < limit:
            best, limit = candidate, far
    return best


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an error message, empty where nothing is close."""
    match = closest(name, known)
    return f"did you mean {match}?" if match else ""
