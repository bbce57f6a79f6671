"""Sizes as people write them."""

from __future__ import annotations

from buildah_py.errors import UsageError

_SIZES = {"": 1, "B": 1} | {
    unit: factor**power
    for power, letter in enumerate("KMGT", 1)
    for unit, factor in ((letter, 1000), (f"{letter}B", 1000), (f"{letter}IB", 1024))
}


def parse_size(text: str) -> int:
    """Bytes: `500MB`, `1.5GB`, `20GiB`. Raises UsageError."""
    number = text.strip().rstrip("kKmMgGtTiIbB")
    factor = _SIZES.get(text.strip()[len(number) :].upper())
    try:
        size = float(number)
    except ValueError:
        size = -1
    if factor is None or not 0 <= size < float("inf"):
        raise UsageError(f"`{text}` is not a size", hint="sizes look like 500MB, 1.5GB or 20GiB")
    return int(size * factor)
