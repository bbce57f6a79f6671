"""The text of a build file, and places in it."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from buildah_py.frozen import dataclass


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


@lru_cache(maxsize=4)
def _lines(text: str) -> list[str]:
    return text.split("\n")


def decode(text: str | bytes) -> str:
    """Return a file's text: bytes that are not UTF-8 become replacement characters; a byte-order mark falls away."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return text.removeprefix("\ufeff")
