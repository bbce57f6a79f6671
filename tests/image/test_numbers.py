from __future__ import annotations

import pytest

from buildah_py.image.numbers import MOST, decimal


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        (str(1 << 60), 1 << 60),
        (str(MOST), MOST),
        (str(MOST + 1), -1),
        ("9" * 19, -1),
        ("1" * 5000, -1),
        ("", -1),
        ("-1", -1),
        ("+1", -1),
        (" 1", -1),
        ("1_0", -1),
        ("\u0661", -1),
        ("1.0", -1),
    ],
)
def test_decimal(text: str, number: int) -> None:
    assert decimal(text) == number
