"""Suggestions for misspelt names."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

_LONGEST = 64
_MOST = 1000
_LIMIT = 3

if TYPE_CHECKING:
    from collections.abc import Iterable


def distance(one: str, other: str, limit: int) -> int:
    """Return how many characters have to be inserted, deleted, replaced or exchanged with the next; `limit` at most."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    before: list[int] = []
    above = list(range(len(other) + 1))
    for line, char in enumerate(one, 1):
        row = [line]
        for column, against in enumerate(other, 1):
            cost = min(above[column] + 1, row[-1] + 1, above[column - 1] + (char != against))
            if line > 1 and column > 1 and char == other[column - 2] and against == one[line - 2]:
                cost = min(cost, before[column - 2] + 1)
            row.append(cost)
        before, above = above, row
    return min(above[-1], limit)


def closest(name: str, known: Iterable[str], *, fold: bool = False) -> str:
    """Return the first of `known` that differs least from `name`, by at most two characters and half of it; else "".

    It is "", too, where `name` is known: then it was not the name that was wrong. With `fold`, case does not count.
    """
    best = ""
    if len(name) > _LONGEST:
        return best
    limit = min(_LIMIT, len(name) // 2 + 1)
    for candidate in islice(known, _MOST):
        if candidate == name:
            return ""
        far = distance(name.casefold(), candidate.casefold(), limit) if fold else distance(name, candidate, limit)
        if far < limit:
            best, limit = candidate, far
    return best


def did_you_mean(name: str, known: Iterable[str], *, prefix: str = "", fold: bool = False) -> str:
    """Return a hint for an error message, "" where nothing is close; `prefix` stands before the known names."""
    match = closest(name, known, fold=fold)
    return f"did you mean {prefix}{match}?" if match else ""
