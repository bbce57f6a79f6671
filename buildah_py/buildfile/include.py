"""INCLUDE (an extension): put other files' lines where the instruction stands, and remember where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.lines import LineReader
from buildah_py.buildfile.statement import Statement
from buildah_py.errors import BuildFileError, NotFound
from buildah_py.source_text import IncludedLines, Source, Span, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    IncludeReader = Callable[[str], tuple[str, str | bytes]]
    """Given the path of an INCLUDE, gives the name to show in errors and the text."""

MAX_DEPTH = 16
MAX_LINES = 200_000


def splice(source: Source, read: IncludeReader) -> Source:
    """`source` with the text of all included files in it.

    Raises:
        BuildFileError: a file cannot be read, or includes itself.

    """
    lines: list[str] = []
    origins: list[IncludedLines] = []
    _splice(source, read, lines, origins, (source.name,))
    return Source(source.name, "\n".join(lines) + "\n", tuple(origins))


def _splice(
    source: Source, read: IncludeReader, lines: list[str], origins: list[IncludedLines], chain: tuple[str, ...]
) -> None:
    reader = LineReader(source)
    physical = source.text.split("\n")
    if physical[-1] == "":
        physical.pop()
    done = 0
    origins.append(IncludedLines(len(lines) + 1, source.name, 1))
    while True:
        line = reader.next_line()
        if line is None:
            break
        statement = Statement(source, line, reader.escape)
        if statement.name != "INCLUDE":
            if "<<" in line.text and statement.takes_heredocs():
                try:
                    reader.heredocs(line)
                except BuildFileError:
                    break  # the parser finds this, too, and says it at its place
            continue
        first, last = line.pieces[0].line, reader.line_number
        lines += physical[done : first - 1]
        done = last
        text = _read(statement, source, read, chain)
        if len(lines) > MAX_LINES:
            raise statement.error("the included files are too long")
        _splice(text, read, lines, origins, (*chain, text.name))
        origins.append(IncludedLines(len(lines) + 1, source.name, last + 1))
    lines += physical[done:]


def _read(statement: Statement, source: Source, read: IncludeReader, chain: tuple[str, ...]) -> Source:
    path = statement.whole()
    if not path.text:
        raise statement.error("INCLUDE requires exactly one argument", hint="write INCLUDE PATH")
    try:
        name, text = read(path.text)
    except (OSError, NotFound) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        raise _error(f"cannot read {path.text}: {reason}", source, path.span) from error
    if name in chain:
        raise _error(f"{name} includes itself", source, path.span)
    if len(chain) >= MAX_DEPTH:
        raise _error("files are included too deeply", source, path.span)
    return Source(name, decode(text))


def _error(message: str, source: Source, span: Span) -> BuildFileError:
    return BuildFileError(message, source, span, hint="the path is relative to the build file's directory")
