"""Numbers that others wrote: those of protocols and options fit into 64 bits, and Python's know no end."""

from __future__ import annotations

from typing import Final

MOST: Final = (1 << 63) - 1


def decimal(text: str) -> int:
    """Read a decimal number without a sign; -1 for anything else, and for what is larger than MOST."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else -1
    return number if number <= MOST else -1
