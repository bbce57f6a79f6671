"""Retry policy: which failures are worth another attempt, how long to wait before it, and when to give up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from buildah_py.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_T = TypeVar("_T")

RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed."""

_ENOUGH: Final = 1 << 20
"""So many bytes more than before are progress: a server that cuts sooner each time is given up."""


class Policy(NamedTuple):
    """How long to wait, in seconds, and how often to try.

    `connect` bounds the connection to one address. `silence` is how long a server that is connected may say nothing,
    `commit` how long it may take over an upload that it has whole. `attempts` is how many attempts there are that get
    nowhere; the waits between them begin with `pause` and double, and are no longer than `patience` together.
    """

    connect: float = 10.0
    silence: float = 60.0
    commit: float = 300.0
    patience: float = 120.0
    attempts: int = 5
    pause: float = 0.5


DEFAULT: Final = Policy()


class Waiter(NamedTuple):
    """Whoever waits for a server: `tell` hears of waits of a second and more, `cancelled` ends all waiting."""

    tell: Callable[[str], object] = lambda _: None
    cancelled: Callable[[], bool] | None = None


NOBODY: Final = Waiter()


class RetryableError(Exception):
    """A failure that may pass. `after` is how long the server asked us to wait, in seconds.

    `attempts` bounds how often a failure of this kind is worth an attempt, 0 leaves it to the policy.
    """

    def __init__(self, text: str, *, status: int = 0, after: float = 0.0, attempts: int = 0, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.after = after
        self.attempts = attempts
        self.hint = hint


class Retries:
    """Counts the failures of one piece of work, waits between attempts, and gives up.

    `pause` waits for so many seconds, or raises Interrupted. `error` makes what is raised in the end, from a message
    that begins with `what`, a hint and the status of the answer. `tell` is told of waits of a second and more.
    """

    def __init__(
        self,
        policy: Policy,
        pause: Callable[[float], object],
        what: str,
        error: Callable[[str, str, int], Exception],
        tell: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._policy = policy
        self._pause = pause
        self._what = what
        self._error = error
        self._tell = tell
        self._failures = 0
        self._bytes = 0
        self._since = 0.0
        self._waited = 0.0

    def run(self, attempt: Callable[[], _T]) -> _T:
        """Call `attempt` until it neither raises RetryableError nor is given up."""
        while True:
            try:
                return attempt()
            except RetryableError as failure:
                self.wait(failure)
            except HttpError as error:
                raise self._error(f"{self._what}: {error.message}", error.hint, error.status) from error

    def progressed(self, count: int) -> None:
        """Note that so many bytes more have gone over: enough of them, and all failures are forgotten."""
        self._bytes += count
        if self._bytes >= _ENOUGH:
            self._bytes = 0
            self._failures = 0
            self._waited = 0.0

    def wait(self, failure: RetryableError) -> None:
        """Wait as long as is due before the next attempt. Raises what `error` makes where there is none."""
        import random

        now = time.monotonic()
        if not self._failures:
            self._since = now
        self._failures += 1
        delay = self._policy.pause * 2 ** (self._failures - 1)
        delay = max(delay * random.uniform(0.5, 1.0), failure.after)  # noqa: S311 - so that not all come back at once
        attempts = min(self._policy.attempts, failure.attempts or self._policy.attempts)
        if self._failures >= attempts or self._waited + delay > self._policy.patience:
            raise self._given_up(failure, now - self._since) from failure
        self._waited += delay
        if delay >= 1.0:
            self._tell(f"{self._what}: {failure.text}; trying again in {delay:.0f} s")
        self._pause(delay)

    def _given_up(self, failure: RetryableError, spent: float) -> Exception:
        times = {1: "once", 2: "twice"}.get(self._failures, f"{self._failures} times")
        hint = f"tried {times}{f' in {spent:.0f} seconds' if spent >= 1 else ''}; {failure.hint or 'try again later'}"
        if failure.after > self._policy.patience:
            hint = f"it asks for {failure.after:.0f} seconds of patience; {failure.hint or 'try again later'}"
        return self._error(f"{self._what}: {failure.text}", hint, failure.status)


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
