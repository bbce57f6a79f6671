from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildah_py.errors import ImageError
from buildah_py.image import timestamp


@given(st.integers(0, 250_000_000_000 * 10**9))
def test_round_trip(nanoseconds: int) -> None:
    assert timestamp.from_text(timestamp.to_text(nanoseconds)) == nanoseconds


@given(st.datetimes(dt.datetime(1970, 1, 2), timezones=st.timezones()))  # noqa: DTZ001
def test_agrees_with_datetime(when: dt.datetime) -> None:
    offset = when.utcoffset()
    assert offset is not None
    if offset.seconds % 60:
        return  # RFC 3339 knows no seconds in an offset
    expected = (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    assert timestamp.from_text(when.isoformat()) == expected * 1000


def test_text() -> None:
    assert timestamp.to_text(0) == "1970-01-01T00:00:00Z"
    assert timestamp.to_text(1_500_000_000) == "1970-01-01T00:00:01.5Z"
    assert timestamp.from_text("0001-01-01T00:00:00Z") < 0


@pytest.mark.parametrize("text", ["", "today", "2026-13-01T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ImageError, match="not a time"):
        timestamp.from_text(text)
