"""Patterns for paths, as Go's filepath.Match and Docker's ignore files know them, in time that grows with the path.

`*` and `?` stay within a name, `[…]` is a class, a backslash takes the next character as it is; in ignore files `**`
crosses directories. A pattern of few stars becomes a regular expression. With more of them Python's engine tries all
ways to divide a name among the stars, so those become an automaton that reads each character once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_MOST_STARS: Final = 2
_MOST_MOVES: Final = 10_000


class Token(NamedTuple):
    """A part of a pattern as a regular expression; `kind` is `one` for one character, or a star's text."""

    kind: str
    regex: str


_STARS: Final = {
    "*": Token("*", "[^/]*"),
    "**": Token("**", ".*"),
    "**/": Token("**/", "(?:.*/)?"),
}


def malformed(pattern: str) -> str:
    """Say what is wrong with a pattern by the rules of Go's filepath.Match; empty when nothing is."""
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\":
            if position == len(pattern):
                return "nothing follows its last backslash"
            position += 1
        elif character == "[":
            position, problem = _end_of_class(pattern, position)
            if problem:
                return problem
    return ""


def read(pattern: str, *, crossing: bool) -> list[Token]:
    """Take a well-formed pattern apart; `crossing` tells whether `**` crosses directories."""
    tokens: list[Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            star = "*"
            if crossing and pattern[position : position + 1] == "*":
                position += 1
                if pattern[position : position + 1] == "/":
                    position += 1
                star = "**" if position == len(pattern) else "**/"
            if tokens[-1:] != [_STARS[star]]:
                tokens.append(_STARS[star])
        elif character == "?":
            tokens.append(Token("one", "[^/]"))
        elif character == "[":
            part, position = _class_to_regex(pattern, position)
            tokens.append(Token("one", part))
        elif character == "\\":
            tokens.append(Token("one", re.escape(pattern[position])))
            position += 1
        else:
            tokens.append(Token("one", re.escape(character)))
    return tokens


def to_regex(tokens: Sequence[Token]) -> str:
    """Give a regular expression for `fullmatch` with DOTALL; empty where it may take long: see `Automaton`."""
    if sum(token.kind != "one" for token in tokens) > _MOST_STARS:
        return ""
    return "".join(token.regex for token in tokens) or "(?:)"


def matcher(tokens: Sequence[Token]) -> Callable[[str], bool]:
    """Give a function that says whether a pattern matches the whole of a text."""
    regex = to_regex(tokens)
    if not regex:
        return Automaton(tokens).matches
    match = re.compile(regex, re.DOTALL).fullmatch
    return lambda text: match(text) is not None


class Automaton:
    """Reads a text character by character, in all places of the pattern at once.

    A state is a set of places as the bits of a number. Place 2n is in front of token n, place 2n+1 is within the
    directories that a `**/` at token n has begun. `moves` remembers where each character leads from a state.
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = [(token.kind, re.compile(token.regex, re.DOTALL).fullmatch) for token in tokens]
        self._start = self._closed(1)
        self._end = 1 << 2 * len(tokens)
        self.moves: dict[tuple[int, str], int] = {}

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole of `text`."""
        state = self._start
        moves = self.moves
        for character in text:
            found = moves.get((state, character))
            if found is None:
                found = self._move(state, character)
                if len(moves) >= _MOST_MOVES:
                    moves.clear()
                moves[state, character] = found
            if not found:
                return False
            state = found
        return bool(state & self._end)

    def _closed(self, state: int) -> int:
        """Add the places that stars which stand for nothing lead to."""
        waiting = state
        while waiting:
            place = waiting.bit_length() - 1
            waiting ^= 1 << place
            number, inside = divmod(place, 2)
            if number < len(self._tokens) and not inside and self._tokens[number][0] != "one":
                after = 1 << place + 2
                waiting |= after & ~state
                state |= after
        return state

    def _move(self, state: int, character: str) -> int:
        after = 0
        while state:
            place = state.bit_length() - 1
            state ^= 1 << place
            number = place // 2
            if number == len(self._tokens):
                continue
            kind, match = self._tokens[number]
            if kind == "**/":
                after |= 1 << (place | 1)
                if character == "/":
                    after |= 1 << 2 * (number + 1)
            elif kind == "one":
                if match(character):
                    after |= 1 << place + 2
            elif kind == "**" or character != "/":
                after |= 1 << place
        return self._closed(after)


def _end_of_class(pattern: str, position: int) -> tuple[int, str]:
    """Find what follows the class whose inside starts at `position`."""
    if pattern[position : position + 1] == "^":
        position += 1
    ranges = 0
    while True:
        if pattern[position : position + 1] == "]" and ranges:
            return position + 1, ""
        position, problem = _end_of_character(pattern, position)
        if problem:
            return position, problem
        if pattern[position : position + 1] == "-":
            position, problem = _end_of_character(pattern, position + 1)
            if problem:
                return position, problem
        ranges += 1


def _end_of_character(pattern: str, position: int) -> tuple[int, str]:
    character = pattern[position : position + 1]
    if not character:
        return position, "its [ is never closed"
    if character in "-]":
        return position, f"{character} stands where its [ wants a character"
    if character == "\\":
        position += 1
    if position + 1 >= len(pattern):
        return position, "its [ is never closed"
    return position + 1, ""


def _class_to_regex(pattern: str, position: int) -> tuple[str, int]:
    """Translate the class whose inside starts at `position`; gives the regex and where the pattern goes on."""
    negated = pattern[position] == "^"
    if negated:
        position += 1
    parts = []
    start = position
    while pattern[position] != "]" or position == start:
        low, position = _class_character(pattern, position)
        high = low
        if pattern[position] == "-":
            high, position = _class_character(pattern, position + 1)
        if low == high:
            parts.append(re.escape(low))
        elif low < high:
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
    if not parts:  # nothing but ranges that run backwards
        return ("." if negated else "(?!)"), position + 1
    return f"[{'^' if negated else ''}{''.join(parts)}]", position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position] == "\\":
        position += 1
    return pattern[position], position + 1
