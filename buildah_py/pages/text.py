"""Text on pages: what comes from build files, images and records is escaped here, numbers are as people read them."""

from __future__ import annotations

import re
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_MARKED: Final = 4000


def safe(value: str) -> str:
    """Escape for a page, line by line: control characters and bytes that are not text are written out."""
    return escape("\n".join(map(_plain, value.split("\n"))))


def line(value: str, width: int = 0) -> str:
    """Escape text as one line, cut where it is longer than `width` (0: never)."""
    shown = _plain(" ".join(value.split()))
    return escape(shown if not width or len(shown) <= width else f"{shown[: width - 1]}…")


def with_code(value: str) -> str:
    """Escape text for people in which code stands between back-quotes: that is shown as code."""
    parts = value.split("`")
    if len(parts) % 2 == 0:
        return safe(value)
    return "".join(f"<code>{safe(part)}</code>" if place % 2 else safe(part) for place, part in enumerate(parts))


def marked(before: str, after: str) -> tuple[str, str]:
    """Escape two values with the words marked in which they differ; neither is where nothing is the same."""
    if max(len(before), len(after)) > _MOST_MARKED:
        return safe(before), safe(after)
    from difflib import SequenceMatcher

    old, new = (re.findall(r"\w+|\s+|.", value) for value in (before, after))
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    if not any(word.strip() for block in blocks for word in old[block.a : block.a + block.size]):
        return safe(before), safe(after)
    found: tuple[list[str], list[str]] = ([], [])
    at = [0, 0]
    for block in blocks:
        for side, (words, start) in enumerate(((old, block.a), (new, block.b))):
            if gone := "".join(words[at[side] : start]):
                found[side].append(f"<mark>{safe(gone)}</mark>")
            found[side].append(safe("".join(words[start : start + block.size])))
            at[side] = start + block.size
    return "".join(found[0]), "".join(found[1])


def size(number: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def seconds(number: float) -> str:
    """Give a span of time."""
    if number < 0.9995:
        return f"{number * 1000:.0f} ms"
    if number < 59.95:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min {rest:02} s"


def moment(number: float) -> str:
    """Give a time, in seconds since 1970, as an element."""
    from datetime import UTC, datetime

    when = datetime.fromtimestamp(number, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d %H:%M} UTC</time>'


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", "\u202f")


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Give a list of facts, whose values are HTML; those without one are left out."""
    items = "".join(f"<div><dt>{safe(name)}</dt><dd>{value}</dd></div>" for name, value in pairs if value)
    return f'<dl class="facts">{items}</dl>\n' if items else ""


def rows(*columns: Iterable[str]) -> str:
    """Give the rows of a table, whose cells are HTML, by its columns."""
    return "".join(
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n" for cells in zip_longest(*columns)
    )


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
