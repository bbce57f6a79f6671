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


def count(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def short(digest: str) -> str:
    """A digest as people read it."""
    return digest.removeprefix("sha256:")[:12]


def one_line(text: str, width: int = 0) -> str:
    """Text on one line of a terminal, whatever is in it; cut where it is longer than `width` (0: never)."""
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    return shown if not width or len(shown) <= width else f"{shown[: width - 1]}…"
