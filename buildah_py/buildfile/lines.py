"""From physical lines to logical ones: directives, comments, continuation, bodies of here-documents."""

from __future__ import annotations

import re
from typing import NamedTuple

from buildah_py.buildfile.expand import ExpansionError, split_delimiter, split_raw
from buildah_py.buildfile.spaces import SPACES
from buildah_py.buildfile.tree import Heredoc
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Source, Span

DIRECTIVES = ("syntax", "escape", "check")
_DIRECTIVE = r"#%s*([a-zA-Z][a-zA-Z0-9]*)[ \t\n\f\r]*=[ \t\n\f\r]*(.+?)[ \t\n\f\r]*$"
_HEREDOC = r"([0-9]*)<<(-?)([^<]*)"


class PhysicalLine(NamedTuple):
    """Where a physical line begins in a logical one: offset there; line and column here."""

    offset: int
    line: int
    column: int


class LogicalLine(NamedTuple):
    """An instruction's text after joining, and the way back to the file."""

    text: str
    pieces: tuple[PhysicalLine, ...]
    doc: tuple[str, ...]
    last_line: int
    has_blank: bool

    def position(self, offset: int) -> Position:
        """Where the character `offset` of the logical line stands in the file."""
        found = self.pieces[0]
        for piece in self.pieces:
            if piece.offset > offset:
                break
            found = piece
        return Position(found.line, found.column + offset - found.offset)

    def span(self, start: int, end: int) -> Span:
        """Return the span of the characters from `start` up to `end`."""
        if end > start:
            last = self.position(end - 1)
            return Span(self.position(start), Position(last.line, last.column + 1))
        position = self.position(start)
        return Span(position, position)


class LineReader:
    """Takes a file apart, one logical line after the other."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.comments: list[tuple[int, str]] = []
        self.errors: list[BuildFileError] = []
        self._lines = source.text.split("\n")
        if self._lines[-1] == "":
            self._lines.pop()
        self._next = 0
        self._in_directives = True

    def error(self, message: str, line: int, start: int = 0, end: int | None = None, hint: str = "") -> BuildFileError:
        """Return an error for the physical line `line`, counted from 1."""
        stop = len(self._lines[line - 1].rstrip("\r")) if end is None else end
        return BuildFileError(
            message, self.source, Span(Position(line, start + 1), Position(line, max(start, stop) + 1)), hint=hint
        )

    def next_line(self) -> LogicalLine | None:
        """Return the next instruction's text; None at the end of the file."""
        doc: list[str] = []
        lines = self._lines
        while self._next < len(lines):
            number = self._next + 1
            line = lines[self._next].rstrip("\r")
            self._next += 1
            stripped = line.lstrip(SPACES)
            if self._in_directives and self._directive(stripped, number):
                continue
            if not stripped:
                doc.clear()
                continue
            if stripped[0] == "#":
                self.comments.append((number, stripped))
                comment = stripped[1:].strip(SPACES)
                if comment:
                    doc.append(comment)
                else:
                    doc.clear()
                continue
            return self._join(number, stripped, len(line) - len(stripped), tuple(doc))
        return None

    def _directive(self, line: str, number: int) -> bool:
        found = re.match(_DIRECTIVE % f"[{SPACES}]", line) if line.startswith("#") and "=" in line else None
        name = found.group(1).lower() if found else ""
        if found is None or name not in DIRECTIVES:
            self._in_directives = False
            return False
        value = found.group(2)
        if name in self.directives:
            self.errors.append(self.error(f"only one {name} parser directive can be used", number))
            return True
        self.directives[name] = value
        if name == "escape":
            if value not in ("\\", "`"):
                self.errors.append(self.error(f"invalid escape token '{value}' does not match ` or \\", number))
            else:
                self.escape = value
        return True

    def _continued(self, line: str) -> int:
        """Where the escape character stands that continues `line`; -1 where none does."""
        bare = line.rstrip(" \t")
        if bare[-1:] != self.escape or bare[-2:-1] == self.escape:
            return -1
        return len(bare) - 1

    def _join(self, number: int, first: str, column: int, doc: tuple[str, ...]) -> LogicalLine | None:
        end = self._continued(first)
        if end < 0:
            return LogicalLine(first, (PhysicalLine(0, number, column + 1),), doc, number, has_blank=False)
        lines = self._lines
        texts = [first[:end]]
        length = len(texts[0])
        pieces = [PhysicalLine(0, number, column + 1)]
        has_blank = False
        while self._next < len(lines):
            line = lines[self._next].rstrip("\r")
            self._next += 1
            stripped = line.lstrip(SPACES)
            if not stripped:
                has_blank = True
                continue
            if stripped[0] == "#":
                self.comments.append((self._next, stripped))
                continue
            pieces.append(PhysicalLine(length, self._next, 1))
            end = self._continued(line)
            if end >= 0:
                line = line[:end]
            texts.append(line)
            length += len(line)
            if end < 0:
                break
        return LogicalLine("".join(texts), tuple(pieces), doc, self._next, has_blank)

    def physical(self, number: int) -> str:
        """Return the physical line `number`, counted from 1, without its line end."""
        return self._lines[number - 1].rstrip("\r")

    @property
    def line_number(self) -> int:
        """How many physical lines have been read."""
        return self._next

    def heredocs(self, line: LogicalLine) -> tuple[Heredoc, ...]:
        """Read the bodies of the here-documents that `line` announces.

        Raises:
            BuildFileError: a delimiter makes no sense, or its end is not there.

        """
        if "<<" not in line.text:
            return ()
        documents = []
        offset = 0
        for word in split_raw(line.text) or ():
            at = line.text.find(word, offset)
            if at < 0:
                at = offset
            else:
                offset = at + len(word)
            try:
                document = read_delimiter(word)
            except ExpansionError as error:
                raise BuildFileError(error.message, self.source, line.span(at, at + len(word))) from None
            if document is not None:
                documents.append(self._body(document, line.span(at, at + len(word))))
        return tuple(documents)

    def _body(self, document: Heredoc, span: Span) -> Heredoc:
        lines = self._lines
        start = self._next
        while self._next < len(lines):
            end = lines[self._next].rstrip("\r")
            self._next += 1
            if document.strip_tabs:
                end = end.lstrip("\t")
            if end == document.name:
                body = "".join(f"{line}\n" for line in lines[start : self._next - 1])
                return Heredoc(document.name, document.fd, document.expand, document.strip_tabs, body, span)
        raise BuildFileError(
            "unterminated heredoc",
            self.source,
            span,
            hint=f"a line that holds nothing but {document.name} has to end it",
        )


_NOWHERE = Span(Position(0, 0), Position(0, 0))


def read_delimiter(word: str) -> Heredoc | None:
    """Return the here-document, without its body, that `word` announces; None where it announces none.

    Raises:
        ExpansionError: the delimiter's quotes do not match.

    """
    found = re.fullmatch(_HEREDOC, word)
    if found is None or not found.group(3):
        return None
    rest = found.group(3)
    names = split_delimiter(rest, keep_quotes=False)
    if len(names) != 1:
        return None
    raw = split_delimiter(rest, keep_quotes=True)
    if len(raw) != 1:
        raise ExpansionError(f"the delimiter {rest} of a heredoc makes no sense")
    quotes = sum(names[0].count(quote) for quote in "'\"")
    expand = quotes == sum(raw[0].count(quote) for quote in "'\"")
    return Heredoc(names[0], int(found.group(1)[:18] or 0), expand, found.group(2) == "-", "", _NOWHERE)
