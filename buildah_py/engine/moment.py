"""When a step ran, by the clock of the file system that stamps its files, which need not be this machine's."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.layers.stamps import window

if TYPE_CHECKING:
    from buildah_py.layers.stamps import Stamps


class Moment(NamedTuple):
    """A moment in nanoseconds: by the file system's clock, since 1970, and by one that nobody sets."""

    stamped: int
    steady: int

    def until(self, end: Moment) -> Stamps:
        """Give the times that the file system may have stamped from here to there."""
        return window(self.stamped, end.stamped, end.steady - self.steady)


def now_on(directory: str) -> Moment:
    """Make a directory, which stamps it."""
    os.mkdir(directory)
    return Moment(os.stat(directory).st_mtime_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
