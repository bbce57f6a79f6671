"""The text of a build file, and places in it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from buildah_py.frozen import dataclass

_HEAD, _TAIL = 16, 4
"""Lines of a long instruction that a listing shows, of its beginning and its end."""


class Position(NamedTuple):
    """A character in a text: line and column, both from 1."""

    line: int
    column: int


class Span(NamedTuple):
    """A run of characters; `end` is the position behind the last one."""

    start: Position
    end: Position


class IncludedLines(NamedTuple):
    """From `line` on, a text's lines are those of the file `name` from its line `number` on."""

    line: int
    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Source:
    """A build file's name, as the user gave it, and its text, decoded and without BOM.

    Where other files were included, `text` holds their lines, and `origins` tells which lines came from where.
    """

    name: str
    text: str
    origins: tuple[IncludedLines, ...] = ()

    def place(self, line: int) -> tuple[str, int]:
        """Return the file that the line `line` of the text came from, and its number there."""
        name, number = self.name, line
        for origin in self.origins:
            if origin.line > line:
                break
            name, number = origin.name, origin.number + line - origin.line
        return name, number

    def line(self, number: int) -> str:
        """Return the physical line `number` (from 1) without its line end; empty past the end of the file."""
        lines = _lines(self.text)
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""

    def excerpt(self, span: Span) -> str:
        """Return the first line of `span` with a marker line below it, both indented for a message."""
        text = self.line(span.start.line)
        begin = span.start.column - 1
        end = span.end.column - 1 if span.end.line == span.start.line else len(text)
        lead = "".join("\t" if char == "\t" else " " for char in text[:begin])
        return f"  {text}\n  {lead}{'^' * max(1, end - begin)}"

    def listing(self, span: Span, around: int = 1) -> str:
        """Return the lines of `span` with their numbers and `>>>`, and `around` them as many as that of the same file.

        Of an instruction with very many lines some in the middle are left out.
        """
        first, last = span.start.line, max(span.start.line, span.end.line)
        name = self.place(first)[0]
        count = len(_lines(self.text)) - self.text.endswith("\n")
        numbers = [
            number
            for number in range(max(1, first - around), min(count, last + around) + 1)
            if self.place(number)[0] == name
        ]
        width = len(str(self.place(numbers[-1])[1])) if numbers else 1
        shown = []
        for number in numbers:
            if first + _HEAD <= number <= last - _TAIL:
                if number == first + _HEAD:
                    shown.append(f"  {'':{width}} | ... {last - _TAIL - number + 1} more lines")
                continue
            mark = ">>>" if first <= number <= last else "   "
            shown.append(f"  {self.place(number)[1]:{width}} | {mark} {self.line(number)}".rstrip())
        return "\n".join(shown)


class Where(NamedTuple):
    """Place of an instruction in the text that it was read from."""

    source: Source
    span: Span

    def listing(self) -> str:
        """Return its lines, numbered and marked, with one before and one behind them."""
        return self.source.listing(self.span)


@lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return text.split("\n")


def decode(text: str | bytes) -> str:
    """Return a file's text: bytes that are not UTF-8 become replacement characters; a byte-order mark falls away."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return text.removeprefix("\ufeff")
