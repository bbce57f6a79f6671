"""What --chmod takes: an octal number up to 7777, or the symbols of chmod(1)."""

from __future__ import annotations

import re

_CLAUSE = r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+"
_SYMBOLIC = re.compile(rf"{_CLAUSE}(?:,{_CLAUSE})*")


def check_mode(text: str) -> None:
    """Accept a mode.

    Raises:
        ValueError: with a message for people.

    """
    if re.fullmatch(r"0*[0-7]{1,4}", text):
        return
    if not _SYMBOLIC.fullmatch(text):
        raise ValueError(_message(text))


def _message(text: str) -> str:
    return f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or like u=rwX,go=rX"
