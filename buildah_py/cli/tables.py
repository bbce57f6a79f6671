"""How commands print what they found: tables and sizes for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("table", "json")


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns wide enough for all that stands in them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def human(size: float) -> str:
    """Bytes in decimal units, as docker shows them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.3g}{unit}"
        size /= 1000
    return f"{size:.3g}TB"


def ago(created: str, now: float) -> str:
    """How long ago a time in RFC 3339 was, at `now` (seconds since 1970), as docker says it; other text as it is."""
    from buildah_py.errors import ImageError
    from buildah_py.image import timestamp

    try:
        seconds = now - timestamp.from_text(created) / 1e9
    except ImageError:  # of an image that others made
        return created
    if seconds < 0:
        return "in the future"
    for size, noun in _SPANS:
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {noun}s ago"
    return "just now"


_SPANS = ((31_536_000, "year"), (2_592_000, "month"), (604_800, "week"), (86_400, "day"), (3_600, "hour"),
          (60, "minute"), (1, "second"))  # fmt: skip
"""Shown from two of them on: 90 minutes are not one hour."""


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(digest: str) -> str:
    """Return a digest as people read it."""
    return digest.removeprefix("sha256:")[:12]


def one_line(text: str, width: int = 0) -> str:
    """Text on one line of a terminal, whatever is in it; cut where it is longer than `width` (0: never)."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if not width or len(shown) <= width else f"{shown[: width - 1]}…"
