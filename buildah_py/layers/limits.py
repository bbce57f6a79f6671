"""How much an archive may make us do."""

from __future__ import annotations

from typing import Final, NamedTuple


class ArchiveLimits(NamedTuple):
    """How much an archive may make us do.

    `size` is in bytes, of the uncompressed stream and of the files that it says there are, whatever of them are holes;
    `entries` counts headers; `header` bounds one extended header and `headers` all of them, for they are what names,
    link targets and attributes in memory can grow from. `hint` says how more is allowed.
    """

    size: int = 256 << 30
    entries: int = 2_000_000
    header: int = 1 << 20
    headers: int = 1 << 28
    hint: str = ""


DEFAULT_LIMITS: Final = ArchiveLimits()
