"""Which records may be used: what the command line says of the cache."""

from __future__ import annotations

import time
from typing import NamedTuple


class CachePolicy(NamedTuple):
    """None count with `no_cache`, none in `stages`, none made longer than `ttl` nanoseconds ago.

    `ttl_text` is how the user wrote that.
    """

    no_cache: bool = False
    stages: frozenset[str] = frozenset()
    ttl: int | None = None
    ttl_text: str = ""

    def forbids(self, stage: str) -> bool:
        """Whether every step of a stage is to be executed."""
        return self.no_cache or (bool(self.stages) and stage.partition("#")[0] in self.stages)

    def is_too_old(self, made: int) -> bool:
        """Whether what was made then (ns since 1970) no longer counts."""
        return self.ttl is not None and made < time.time_ns() - self.ttl


ALL = CachePolicy()
"""Every record counts."""
