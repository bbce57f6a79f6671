"""Lines of a RUN, as far as they tell which of its lines runs a command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.source_text import Where

_INSTRUCTION: Final = re.compile(r"(?i)\s*(?:onbuild\s+)?run\b(?:\s+--\S+)*\s*")
_SEPARATOR: Final = re.compile(r"&&|\|\|?|;|&|\n|[(){}]")
_NO_COMMAND: Final = frozenset(
    ("!", "{", "(", "if", "then", "else", "elif", "while", "until", "do", "time", "exec", "command", "env", "sudo")
)
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=\S*")


def line_of(where: Where, command: str) -> int | None:
    """Return the line of the file on which a RUN runs `command`; None where it does so on several, or on none."""
    lines = [number for number, word in _commands(where) if word == command]
    return where.source.place(lines[0])[1] if len(lines) == 1 else None


def _commands(where: Where) -> Iterator[tuple[int, str]]:
    """Give the first word of each simple command with the number of the line that it begins on."""
    source, (start, end) = where
    text = "\n".join(map(source.line, range(start.line, end.line + 1)))
    head = _INSTRUCTION.match(text)
    masked = _masked(text)
    at = head.end() if head is not None else 0
    while at < len(text):
        found = _SEPARATOR.search(masked, at)
        stop = found.start() if found is not None else len(text)
        word = _first_word(text, masked, at, stop)
        if word is not None:
            yield start.line + text.count("\n", 0, word[0]), word[1]
        at = found.end() if found is not None else len(text)


def _masked(text: str) -> str:
    """Give the text with quoted parts, comments and continued line ends as other characters, so that none separates."""
    shown = list(text)
    quote = ""
    place = 0
    while place < len(text):
        char = text[place]
        if not quote and char == "#" and not text[text.rfind("\n", 0, place) + 1 : place].strip():
            stop = text.find("\n", place)
            stop = len(text) if stop < 0 else stop + 1
            shown[place:stop] = " " * (stop - place)
            place = stop
            continue
        if char == "\\" and quote != "'":
            shown[place : place + 2] = "  " if text[place + 1 : place + 2] == "\n" else "__"[: len(text) - place]
            place += 2
            continue
        if quote:
            quote = "" if char == quote else quote
            shown[place] = "_"
        elif char in "'\"":
            quote = char
            shown[place] = "_"
        place += 1
    return "".join(shown)


def _first_word(text: str, masked: str, at: int, stop: int) -> tuple[int, str] | None:
    for word in re.finditer(r"\S+", masked[at:stop]):
        begin, end = at + word.start(), at + word.end()
        written = text[begin:end].strip("'\"")
        if written not in _NO_COMMAND and not _ASSIGNMENT.fullmatch(written):
            return begin, written
    return None
