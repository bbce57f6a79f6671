"""Spaces in a build file, and which of them part what."""

from __future__ import annotations

import re

SPACES = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Characters that Go calls spaces. Python's own notion has the ASCII separators too."""

BLANKS = re.compile(r"[\t\v\f\r ]+")
"""Separator of the arguments of most instructions."""

ITEM = re.compile(r"[^\t\v\f\r ]+")
"""An argument between blanks."""

_ODD = "[\n\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"


def has_odd_space(text: str) -> bool:
    """Whether `text` holds a space that is not a blank."""
    return "\n" in text or (not text.isascii() and re.search(_ODD, text) is not None)


def split_spaces(text: str) -> list[str]:
    """Split at runs of spaces; empty parts at the ends stay."""
    return re.split(f"[{SPACES}]+", text)


def swap_escape(text: str, escape: str) -> str:
    """`text` as the grammars want it: with a backslash as its escape character."""
    return text.translate(_SWAP) if escape == "`" else text


_SWAP = {ord("\\"): "`", ord("`"): "\\"}
