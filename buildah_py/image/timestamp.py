"""Points in time between nanoseconds since 1970 and the RFC 3339 text that image configs hold."""

from __future__ import annotations

import re
import time

from buildah_py.errors import ImageError

_RFC3339 = r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))"
_SECOND = 1_000_000_000
_EPOCH = 719_163  # of 1970-01-01, counted from 0001-01-01 as 1
_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # days of a year before its months


def to_text(nanoseconds: int) -> str:
    """RFC 3339 in UTC, with as many digits after the second as are needed."""
    seconds, fraction = divmod(nanoseconds, _SECOND)
    year, month, day, hour, minute, second, *_ = time.gmtime(seconds)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}{digits}Z"


def from_text(text: str) -> int:
    """Nanoseconds since 1970. Raises ImageError where `text` is not RFC 3339."""
    match = re.fullmatch(_RFC3339, text, re.ASCII)
    if match is None:
        raise ImageError(f"`{text}` is not a time", hint="times look like 2026-01-31T12:00:00Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
        raise ImageError(f"`{text}` is not a time: a part of it is out of range")
    days = _ordinal(year, month) - _EPOCH + day - 1
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds += offset if match[8] == "-" else -offset
    return seconds * _SECOND + int((match[7] or "").ljust(9, "0")[:9])


def _ordinal(year: int, month: int) -> int:
    """Count the days to a month's first, as date.toordinal() does; `datetime` takes a millisecond to import."""
    past = year - 1
    leaps = past // 4 - past // 100 + past // 400
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return past * 365 + leaps + _BEFORE[month - 1] + (is_leap and month > 2) + 1
