"""How commands print what they found: tables and sizes for people, JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMATS = ("table", "json")
WIDTH = 80
"""Columns of tables that are not for a terminal, where something may be cut short."""
_GAP = "   "
_LEAST = 12
"""Columns that a column keeps however narrow a terminal is."""


def is_template(text: str) -> bool:
    """Whether a value of --format is a Go template."""
    return "{{" in text


def check_format(text: str) -> None:
    """Refuse what is neither in FORMATS nor a template. Raises UsageError."""
    if text not in FORMATS and not is_template(text):
        from buildah_py.errors import UsageError
        from buildah_py.suggest import did_you_mean

        hint = did_you_mean(text, FORMATS) or "there are table, json and templates such as '{{.ID}}'"
        raise UsageError(f"--format {text} means nothing", hint=hint)


def table(rows: Sequence[tuple[str, ...]], *, cut: int | None = None, width: int = 0, tail: bool = False) -> str:
    """Columns wide enough for all that stands in them.

    The column `cut` is made narrower where the table would be wider than `width` (0: never); its cells keep their
    beginnings, with `tail` their ends.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = _GAP
    if width and sum(widths) + len(gap) * (len(widths) - 1) > width:
        gap = gap[1:]
    excess = sum(widths) + len(gap) * (len(widths) - 1) - width
    if cut is not None and width and excess > 0:
        narrow = widths[cut] = max(widths[cut] - excess, min(widths[cut], _LEAST))
        rows = [(*row[:cut], _cut(row[cut], narrow, tail=tail), *row[cut + 1 :]) for row in rows]
    return "\n".join(
        gap.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cut(text: str, width: int, *, tail: bool) -> str:
    if len(text) <= width:
        return text
    return f"…{text[len(text) - width + 1 :]}" if tail else f"{text[: width - 1]}…"


def room(otherwise: int = 0) -> int:
    """Return how many columns a line has on the terminal that the standard output is; `otherwise` where it is none."""
    import os
    import sys

    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return otherwise
    return columns or otherwise or 80


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
        return since(timestamp.from_text(created), now)
    except ImageError:  # of an image that others made
        return created


def since(moment: int, now: float) -> str:
    """How long ago a moment was, in nanoseconds since 1970."""
    seconds = now - moment / 1e9
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
