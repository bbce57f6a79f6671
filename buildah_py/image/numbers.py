"""Numbers and truth values that others wrote: numbers of protocols fit into 64 bits, and Python's know no end."""

from __future__ import annotations

from typing import Final

MOST: Final = (1 << 63) - 1


def decimal(text: str) -> int:
    """Read a decimal number without a sign; -1 for anything else, and for what is larger than MOST."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else -1
    return number if number <= MOST else -1


def boolean(text: str) -> bool | None:
    """Read a truth value in the spellings of Go's strconv.ParseBool; None for anything else."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    return None
