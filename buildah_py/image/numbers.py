"""Numbers that others wrote: those of protocols and options fit into 64 bits, and Python's know no end."""

from __future__ import annotations

from typing import Final

MOST: Final = (1 << 63) - 1


def decimal(text: str) -> int:
    """Read a decimal number without a sign, of at most 18 digits; -1 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
