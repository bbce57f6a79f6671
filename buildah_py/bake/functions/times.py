"""Functions of times: RFC 3339 timestamps."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final

from buildah_py.bake.functions.function import Library, num, text, whole
from buildah_py.bake.values import Value, ValueFault, number, object_value, string
from buildah_py.buildfile.durations import parse_duration

if TYPE_CHECKING:
    from fractions import Fraction

LIBRARY = Library()
_add = LIBRARY.add
_STAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)",
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _read(stamp: str) -> datetime:
    found = _STAMP.fullmatch(stamp)
    if not found:
        raise ValueFault(f"`{stamp}` is not a time", "times look like 2026-01-31T12:00:00Z")
    zone: timezone = UTC
    if found[8] != "Z":
        hours, minutes = found[8][1:].split(":")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if found[8][0] == "-" else offset)
    try:
        year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
        return datetime(year, month, day, hour, minute, second, int(f"{found[7] or '.'}000000"[1:7]), zone)
    except ValueError as error:
        raise ValueFault(f"`{stamp}` is not a time: {error}") from None


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + _offset(time, zero="Z", colon=True)


def _offset(time: datetime, *, zero: str, colon: bool) -> str:
    offset = time.utcoffset() or timedelta()
    if not offset and zero:
        return zero
    minutes = int(offset.total_seconds()) // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}{':' if colon else ''}{abs(minutes) % 60:02d}"


@_add("timestamp")
def _timestamp() -> str:
    return _written(datetime.now(UTC).replace(microsecond=0))


@_add("timeadd", text("timestamp"), text("duration"))
def _timeadd(stamp: str, duration: str) -> str:
    try:
        nanoseconds = parse_duration(duration)
    except ValueError as error:
        raise ValueFault(f"`{duration}` is not a duration: {error}", "durations look like 1h30m") from None
    try:
        return _written(_read(stamp) + timedelta(microseconds=nanoseconds // 1000))
    except OverflowError:
        raise ValueFault("that time is too far away") from None


@_add("formatdate", text("format"), text("time"))
def _formatdate(form: str, stamp: str) -> str:
    return _formatted(form, _read(stamp))


@_add("formattimestamp", text("format"), text("time"))
def _formattimestamp(form: str, stamp: str) -> str:
    return _formatted(form, _read(stamp))


def _formatted(form: str, time: datetime) -> str:
    found: list[str] = []
    for piece in _pieces(form):
        if piece[0] == "'":
            if len(piece) < 2 or piece[-1] != "'":
                raise ValueFault("the quotation marks in `format` do not end")
            found.append(piece[1:-1].replace("''", "'"))
        elif piece[0].isascii() and piece[0].isalpha():
            found.append(_piece(piece, time))
        else:
            found.append(piece)
    return "".join(found)


def _pieces(form: str) -> list[str]:
    return [one[0] for one in re.finditer(r"'(?:[^']|'')*'|'.*|([a-zA-Z])\1*|[^a-zA-Z']+", form, re.DOTALL)]


def _piece(piece: str, time: datetime) -> str:
    twelve = (time.hour - 1) % 12 + 1
    known = {
        "YYYY": f"{time.year:04d}", "YY": f"{time.year % 100:02d}",
        "MMMM": _MONTHS[time.month - 1], "MMM": _MONTHS[time.month - 1][:3],
        "MM": f"{time.month:02d}", "M": str(time.month),
        "DD": f"{time.day:02d}", "D": str(time.day),
        "EEEE": _DAYS[time.weekday()], "EEE": _DAYS[time.weekday()][:3],
        "hh": f"{time.hour:02d}", "h": str(time.hour),
        "HH": f"{twelve:02d}", "H": str(twelve),
        "AA": "PM" if time.hour >= 12 else "AM", "aa": "pm" if time.hour >= 12 else "am",
        "mm": f"{time.minute:02d}", "m": str(time.minute),
        "ss": f"{time.second:02d}", "s": str(time.second),
        "ZZZZZ": _offset(time, zero="", colon=True), "ZZZZ": _offset(time, zero="", colon=False),
        "ZZZ": _offset(time, zero="UTC", colon=False), "Z": _offset(time, zero="Z", colon=True),
    }  # fmt: skip
    if piece not in known:
        raise ValueFault(f"`{piece}` in `format` means nothing", f"write '{piece}' for the letters themselves")
    return known[piece]


def _parts(time: datetime) -> Value:
    """Give what the parsing functions give: an object."""
    iso = time.isocalendar()
    weekday = time.isoweekday() % 7
    numbers = {
        "year": time.year,
        "year_day": time.timetuple().tm_yday,
        "day": time.day,
        "month": time.month,
        "weekday": weekday,
        "hour": time.hour,
        "minute": time.minute,
        "second": time.second,
        "unix": int(time.timestamp()),
        "iso_year": iso.year,
        "iso_week": iso.week,
    }
    texts = {
        "rfc3339": _written(time),
        "month_name": _MONTHS[time.month - 1],
        "weekday_name": _DAYS[time.weekday()],
    }
    return object_value(
        {name: number(value) for name, value in numbers.items()} | {name: string(one) for name, one in texts.items()}
    )


@_add("rfc3339parse", text("timestamp"))
def _rfc3339parse(stamp: str) -> Value:
    return _parts(_read(stamp))


@_add("unixtimestampparse", num("unix_timestamp"))
def _unixtimestampparse(seconds: Fraction) -> Value:
    try:
        return _parts(datetime.fromtimestamp(whole(seconds, "unix_timestamp"), UTC))
    except (OverflowError, ValueError, OSError):
        raise ValueFault("that time is too far away") from None
