"""Taking the flags off an instruction's arguments."""

from __future__ import annotations

from typing import NamedTuple

from buildah_py.buildfile.driver import driver
from buildah_py.buildfile.spaces import BLANKS, ITEM, SPACES, has_odd_space, swap_escape


class Flag(NamedTuple):
    """`--name` or `--name=value`, quotes and escapes removed; the offsets are those of the logical line."""

    name: str
    value: str | None
    start: int
    end: int
    value_start: int


def split_flags(text: str, offset: int, escape: str) -> tuple[tuple[Flag, ...], str, int]:
    """Take the flags off `text`, which stands at `offset`: the flags, what is left, and where that begins."""
    if not text.startswith("--"):
        lead = len(text) - len(text.lstrip(SPACES))
        if not text.startswith("--", lead):
            return (), text[lead:], offset + lead
        text = text[lead:]
        offset += lead
    simple = split_simple(text, offset, escape)
    if simple is not None:
        return simple
    _, nodes = driver("arguments").parse(swap_escape(text, escape), "flags")
    flags = []
    rest = ""
    rest_offset = offset + len(text)
    position = 0
    for kind, *where in nodes:
        if kind == "flag":
            flags.append(_flag(text, where[0], text.index("--", position), offset, escape))
            position = flags[-1].end - offset
        else:
            rest = text[where[0] : where[1]]
            lead = len(rest) - len(rest.lstrip(SPACES))
            rest = rest[lead:]
            rest_offset = offset + where[0] + lead
    return tuple(flags), rest, rest_offset


def split_simple(text: str, offset: int, escape: str) -> tuple[tuple[Flag, ...], str, int] | None:
    """Split as the grammar would where there are no quotes and escapes in the flags; return None where there are."""
    flags = []
    position = 0
    while text.startswith("--", position):
        found = ITEM.match(text, position)
        assert found is not None
        word = found.group()
        if "'" in word or '"' in word or escape in word or has_odd_space(word):
            return None
        end = found.end()
        position = end
        blank = BLANKS.match(text, position)
        position = blank.end() if blank else end
        if word == "--":
            break
        name, equals, value = word[2:].partition("=")
        value_start = end - len(value) if equals else end
        flags.append(Flag(name, value if equals else None, found.start() + offset, end + offset, value_start + offset))
    if has_odd_space(text[position : position + 1]):
        return None
    return tuple(flags), text[position:], offset + position


def _flag(text: str, pieces: list[tuple[str, int, int]], start: int, offset: int, escape: str) -> Flag:
    parts = []
    for kind, begin, end in pieces:
        piece = text[begin:end]
        if kind == "FLAG_TEXT":
            parts.append(piece)
        elif kind == "FLAG_ESCAPED":
            parts.append(piece[1:])
        else:
            parts.append(_unquote(piece, escape))
    word = "".join(parts)
    name, equals, value = word.partition("=")
    end = pieces[-1][2] if pieces else start + 2
    written = text.find("=", start, end)
    value_start = written + 1 if written >= 0 else end
    return Flag(name, value if equals else None, start + offset, end + offset, value_start + offset)


def _unquote(piece: str, escape: str) -> str:
    quote = piece[0]
    out = []
    position = 1
    while position < len(piece):
        char = piece[position]
        if char == quote:
            break
        if char == escape:
            position += 1
            char = piece[position : position + 1]
        out.append(char)
        position += 1
    return "".join(out)
