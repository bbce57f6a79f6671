"""Values of --chmod: an octal number up to 7777, or the symbols of chmod(1)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_CLAUSE: Final = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION: Final = re.compile(r"([-+=])([ugo]|[rwxXst]*)")


class Clause(NamedTuple):
    """A change of a mode: for whom (letters of `ugo`), `+`, `-` or `=`, and the permissions or whose they are."""

    who: str
    operator: str
    permissions: str


def read_mode(text: str) -> int | tuple[Clause, ...]:
    """Give an octal mode as a number, a symbolic one as its clauses.

    The umask has no say: `+x` without a letter before it means everybody.

    Raises:
        ValueError: with a message for people.

    """
    if re.fullmatch(r"0*[0-7]{1,4}", text):
        return int(text, 8)
    clauses: list[Clause] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise ValueError(
                f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, "
                "or like u=rwX,go=rX"
            )
        who = "ugo" if not found[1] or "a" in found[1] else found[1]
        clauses += [Clause(who, operator, permissions) for operator, permissions in _ACTION.findall(found[2])]
    return tuple(clauses)
