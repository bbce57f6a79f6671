"""Trying again: how often, after which waits, and when to give up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from buildah_py.errors import RegistryError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from buildah_py.registry.options import Limits

_ENOUGH: Final = 1 << 20
"""So many bytes more than before are progress: a server that cuts sooner each time is given up."""


class Trouble(Exception):
    """Something that may go better the next time. `after` is how long the registry asked us to wait, in seconds.

    `tries` bounds how often this kind of trouble is worth a try, 0 leaves it to the limits.
    """

    def __init__(self, text: str, *, status: int = 0, after: float = 0.0, tries: int = 0, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.after = after
        self.tries = tries
        self.hint = hint


class Patience:
    """Counts the troubles of one piece of work, waits between tries, and ends it with a RegistryError.

    `what` begins the error's message. `closed` ends all waiting. `tell` is told of waits of a second and more.
    """

    def __init__(
        self, limits: Limits, closed: threading.Event, what: str, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        self._limits = limits
        self._tell = tell
        self._closed = closed
        self._what = what
        self._failures = 0
        self._bytes = 0
        self._since = 0.0
        self._waited = 0.0

    def progressed(self, count: int) -> None:
        """Note that so many bytes more have gone over: enough of them, and all troubles are forgotten."""
        self._bytes += count
        if self._bytes >= _ENOUGH:
            self._bytes = 0
            self._failures = 0
            self._waited = 0.0

    def wait(self, trouble: Trouble) -> None:
        """Wait as long as is due before the next try. Raises RegistryError where there is none."""
        import random

        now = time.monotonic()
        if not self._failures:
            self._since = now
        self._failures += 1
        delay = self._limits.pause * 2 ** (self._failures - 1)
        delay = max(delay * random.uniform(0.5, 1.0), trouble.after)  # noqa: S311 - so that not all come back at once
        tries = min(self._limits.attempts, trouble.tries or self._limits.attempts)
        if self._failures >= tries or self._waited + delay > self._limits.patience:
            raise self._given_up(trouble, now - self._since)
        self._waited += delay
        if delay >= 1.0:
            self._tell(f"{self._what}: {trouble.text}; trying again in {delay:.0f} s")
        if self._closed.wait(delay):
            raise RegistryError(f"{self._what}: {trouble.text}, and the work was ended", status=trouble.status)

    def _given_up(self, trouble: Trouble, spent: float) -> RegistryError:
        times = "once" if self._failures == 1 else f"{self._failures} times in {spent:.0f} seconds"
        hint = trouble.hint
        if trouble.after > self._limits.patience:
            hint = f"it asks for {trouble.after:.0f} seconds of patience; {hint or 'try again later'}"
        return RegistryError(
            f"{self._what}: {trouble.text}", hint=hint or f"tried {times}; try again later", status=trouble.status
        )


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Give the seconds that Retry-After asks for (a number, or a date), 0 where it says nothing. `now` is Unix time."""
    from email.utils import parsedate_to_datetime

    value = (headers.get("Retry-After") or "").strip()
    if not value:
        return 0.0
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):  # not a date either
        return 0.0
