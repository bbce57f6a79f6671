"""Durations as HEALTHCHECK takes them: `1m30s`, `1.5h`, `500ms`; and moments that are named by them."""

from __future__ import annotations

import re

from buildah_py.errors import ImageError, UsageError
from buildah_py.image import timestamp

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_LIMIT = 1 << 63


def parse_duration(text: str) -> int:
    """Parse a duration; return nanoseconds.

    Raises:
        ValueError: with a message for people.

    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total = 0
    position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or not (part.group(1) or part.group(2)):
            break
        unit = _UNITS[part.group(3)]
        digits = part.group(2) or ""
        if len(part.group(1)) + len(digits) > 40:
            raise ValueError(f"invalid duration {text!r}, it is too long")
        total += int(part.group(1) or 0) * unit + int(digits or 0) * unit // 10 ** len(digits)
        position = part.end()
    if not rest or position < len(rest):
        missing = re.fullmatch(r"[0-9]*\.?[0-9]+", rest[position:]) is not None
        why = "missing unit in duration" if missing else "invalid duration"
        raise ValueError(f"{why} {text!r}, write something like 30s or 1m30s")
    if total >= _LIMIT:
        raise ValueError(f"invalid duration {text!r}, it is too long")
    return -total if text[0] == "-" else total


def parse_moment(text: str, now: int, option: str) -> int:
    """Parse what options take for a moment: how long ago (`24h`, `7d`), a time, or seconds since 1970; gives ns.

    Raises UsageError, about the option.
    """
    if text.isdigit():
        return int(text) * 1_000_000_000
    try:
        days, day, rest = text.partition("d")
        if day and days.isdigit():
            return now - int(days) * 86_400_000_000_000 - (parse_duration(rest) if rest else 0)
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return timestamp.from_text(text if len(text) > 10 else f"{text}T00:00:00Z")
    except ImageError as error:
        raise UsageError(
            f"{option}: that is neither a duration nor a time",
            hint="write something like 24h, 7d or 2026-01-31T12:00:00Z",
        ) from error
