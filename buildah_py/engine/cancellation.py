"""The wish that a build end early."""

from __future__ import annotations

import threading

from buildah_py.errors import Interrupted


class Cancellation(threading.Event):
    """Set when a build is to end early; whoever fetches or waits for something looks at it."""

    def check(self) -> None:
        """Raise Interrupted where it is set."""
        if self.is_set():
            raise Interrupted("interrupted")
