"""Functions that the buildx which the other cases were asked of does not have yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bake.test_print import answer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('semvercmp("1.2.3", ">= 1.2")', True),
        ('semvercmp("1.2.3", "< 1.2.3")', False),
        ('semvercmp("v2.0.0", "^1.0 || ^2.0")', True),
        ('semvercmp("1.2.3-rc.1", ">=1.2.0")', False),
        ('semvercmp("1.2.3-rc.1", ">=1.2.3-0")', True),
        ('semvercmp("1.3.0", "~1.2")', False),
        ('semvercmp("1.2.3", "1.x")', True),
        ('semvercmp("1.2.3", "1.0.0 - 1.5.0")', True),
        ('semvercmp("1.2.3", "!=1.2.3")', False),
        ('semvercmp("1.2", ">=1.2.0, <2")', True),
        ("unixtimestampparse(1690328596).rfc3339", "2023-07-25T23:43:16Z"),
        ('rfc3339parse("2024-05-01T10:20:30+02:00").weekday_name', "Wednesday"),
        ('formattimestamp("YYYY-MM", "2020-02-01T00:00:00Z")', "2020-02"),
    ],
)  # fmt: skip
def test_values(expression: str, value: object, tmp_path: Path) -> None:
    found, said = answer({"expression": expression}, tmp_path)
    assert found is not None, said
    assert json.loads(found) == value


def test_what_is_no_version_is_refused(tmp_path: Path) -> None:
    found, said = answer({"expression": 'semvercmp("nope", "1")'}, tmp_path)
    assert found is None
    assert "docker-bake.hcl:3:20: semvercmp" in said
