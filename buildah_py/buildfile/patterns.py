"""Shell patterns of `*` and `?` in time that grows with the text, not with the ways to divide it among the stars.

The patterns are those of Go's regular expressions that BuildKit makes of them, which know no backtracking: a star does
not cross a line end, and a match begins as far left as it can.
"""

from __future__ import annotations

import re


class PatternError(ValueError):
    """A pattern with an escape that means nothing."""


class TooLongError(ValueError):
    """Replacing makes a text longer than is allowed."""


class Pattern:
    """A pattern cut at its stars; what is between them has a fixed length."""

    __slots__ = ("_pieces",)

    def __init__(self, text: str) -> None:
        r"""Read `text`. Escapes are `\*`, `\?`, `\\`; a backslash before `/` or `}` falls away."""
        pieces = [""]
        position = 0
        while position < len(text):
            char = text[position]
            position += 1
            if char == "*":
                pieces.append("")
                continue
            if char == "\\":
                char = text[position : position + 1]
                if not char or char not in "*?\\/}":
                    raise PatternError(f"invalid escape \\{char}")
                position += 1
            elif char == "?":
                pieces[-1] += "."
                continue
            pieces[-1] += re.escape(char)
        self._pieces = [re.compile(piece) for piece in pieces]

    def end(self, text: str, start: int, *, longest: bool) -> int | None:
        """Where the match that begins at `start` ends, the shortest or the longest one; None where there is none."""
        first, *others = self._pieces
        found = first.match(text, start)
        if found is None:
            return None
        position = found.end()
        for number, piece in enumerate(others, 1):
            if number == len(others) and longest:
                return _last(piece, text, position)
            line_end = text.find("\n", position)
            found = piece.search(text, position)
            if found is None or 0 <= line_end < found.start():
                return None
            position = found.end()
        return position

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """Return the leftmost match from `start` on, as long as it can be."""
        while start <= len(text):
            found = self._pieces[0].search(text, start)
            if found is None:
                return None
            end = self.end(text, found.start(), longest=True)
            if end is not None:
                return found.start(), end
            # No star reaches the next line, and what comes after the first piece is not in the rest of this one.
            line_end = text.find("\n", found.start())
            if line_end < 0:
                return None
            start = max(line_end + 1 - self._first_line_ends(), found.start() + 1)
        return None

    def _first_line_ends(self) -> int:
        """How many characters of the first piece may stand in front of the line end that it crosses."""
        return len(self._pieces[0].pattern)


def _last(piece: re.Pattern[str], text: str, position: int) -> int | None:
    """Return the end of the last match of a piece of fixed length that a star from `position` on reaches."""
    line_end = text.find("\n", position)
    start = len(text) if line_end < 0 else line_end
    while start >= position:
        found = piece.match(text, start)
        if found is not None:
            return found.end()
        start -= 1
    return None


def replace(value: str, pattern: Pattern, replacement: str, *, everywhere: bool, limit: int) -> str:
    """Replace the first match, or all of them; Go's templates (`$0` is the match) mean something for all only.

    Raises TooLongError for replacements of more than `limit` characters together.
    """
    if not everywhere:
        found = pattern.find(value, 0)
        return value[: found[0]] + replacement + value[found[1] :] if found else value
    out = []
    end = 0
    position = 0
    length = 0
    while position <= len(value):
        found = pattern.find(value, position)
        if found is None:
            break
        length += len(replacement) + replacement.count("$") * (found[1] - found[0])
        if length > limit:
            raise TooLongError
        out.append(value[end : found[0]])
        # An empty match right behind another one does not count.
        if found[1] > end or found[0] == 0:
            out.append(_template(replacement, value[found[0] : found[1]]))
        end = found[1]
        position = max(position + 1, end)
    return "".join(out) + value[end:]


def trim_front(value: str, pattern: Pattern, *, longest: bool) -> str:
    """Take the shortest or longest match off the beginning."""
    end = pattern.end(value, 0, longest=longest)
    return value if end is None else value[end:]


def reversed_pattern(text: str) -> str:
    """Return the pattern that matches what `text` matches, read backwards."""
    return "".join(re.findall(r"(?s)\\.|.", text)[::-1]) if "\\" in text else text[::-1]


def _template(replacement: str, whole: str) -> str:
    """Expand `$0` and `${0}` to the match, any other `$name` to nothing, `$$` to a dollar."""
    if "$" not in replacement:
        return replacement

    def value(found: re.Match[str]) -> str:
        if found.group() == "$$":
            return "$"
        return whole if (found.group(1) or found.group(2)) == "0" else ""

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", value, replacement)
