"""Characters as people see them: the grapheme clusters of Unicode's annex 29, as far as the usual rules go."""

from __future__ import annotations

import unicodedata

_JOINER = "\u200d"


def clusters(text: str) -> list[str]:
    """Split a text into its characters with all that combines with them."""
    if text.isascii() and "\r" not in text:
        return list(text)
    found: list[str] = []
    flags = 0  # regional indicators in a row
    for char in text:
        before = found[-1] if found else ""
        is_flag = "\U0001f1e6" <= char <= "\U0001f1ff"
        joins = bool(before) and (
            (before == "\r" and char == "\n")
            or _extends(char)
            or (before.endswith(_JOINER) and _is_picture(char) and any(map(_is_picture, before)))
            or (is_flag and flags % 2 == 1)
            or _hangul_joins(before[-1], char)
        )
        if joins and (before not in ("\r", "\n") or char == "\n"):
            found[-1] += char
        else:
            found.append(char)
        flags = flags + 1 if is_flag else 0
    return found


def _extends(char: str) -> bool:
    return (
        char in (_JOINER, "\u200c")
        or unicodedata.category(char) in ("Mn", "Me", "Mc")
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
    )


def _is_picture(char: str) -> bool:
    return "\U0001f000" <= char <= "\U0001faff" or "\u2190" <= char <= "\u2bff" or char in "\u00a9\u00ae"


def _hangul_joins(before: str, char: str) -> bool:
    code, after = ord(before), ord(char)
    leads = 0x1100 <= code <= 0x115F
    syllable = 0xAC00 <= code <= 0xD7A3
    vowel = 0x1160 <= code <= 0x11A7 or (syllable and (code - 0xAC00) % 28 == 0)
    trails = 0x11A8 <= code <= 0x11FF or syllable
    if leads:
        return 0x1100 <= after <= 0x11A7 or 0xAC00 <= after <= 0xD7A3
    return (vowel and 0x1160 <= after <= 0x11FF) or (trails and 0x11A8 <= after <= 0x11FF)
