"""The way to a shared place: requests are tried again for a while, then left out until the place answers again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from buildah_py.errors import CacheAway, CacheError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_LONGEST: Final = 2.0
_TICK: Final = 0.1


class Link:
    """Asks a place, from several threads, for as long as it is worth it.

    One that cannot be reached for `patience` seconds is lost: nobody waits for it until `probe` finds that it answers
    again. One that refuses is off for good. `note` and `warn` are told of both, once each time.
    """

    def __init__(
        self,
        name: str,
        patience: float,
        note: Callable[[str], object],
        warn: Callable[[str], object],
        cancelled: Callable[[], bool] = lambda: False,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._name = name
        self._patience = patience
        self._note = note
        self._warn = warn
        self._cancelled = cancelled
        self._clock = clock
        self._sleep = sleep
        self._since: float | None = None
        self._lost = False
        self._off = ""
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether it is worth asking."""
        return not self._lost and not self._off

    @property
    def is_off(self) -> bool:
        """Whether it refuses."""
        return bool(self._off)

    def close(self, why: str, hint: str = "") -> None:
        """Ask no more, and say why; `hint` is what to do about it."""
        with self._lock:
            first, self._off = not self._off, self._off or why
        if first:
            self._warn(f"{why}: steps are executed without claims from here on, and not shared")
            if hint:
                self._note(hint)

    def probe(self, request: Callable[[], _T]) -> _T:
        """Ask once, of a place that may be lost."""
        try:
            found = request()
        except CacheError as error:
            if not isinstance(error, CacheAway):
                self.close(error.message, error.hint)
            raise
        self._answered()
        return found

    def ask(self, request: Callable[[], _T]) -> _T:
        """Return what a request gives. Raises CacheAway for a place that is lost, CacheError where it refuses."""
        pause = _TICK
        while True:
            if self._off:
                raise CacheError(self._off)
            if self._lost:
                raise CacheAway(f"{self._name} cannot be reached")
            try:
                return self.probe(request)
            except CacheAway as error:
                if not self._is_worth_it(error):
                    raise
            self._wait(pause)
            pause = min(2 * pause, _LONGEST)

    def _answered(self) -> None:
        with self._lock:
            was_lost, self._lost, self._since = self._lost, False, None
        if was_lost:
            self._note(f"{self._name} answers again")

    def _is_worth_it(self, error: CacheAway) -> bool:
        now = self._clock()
        with self._lock:
            begins = self._since is None
            if self._since is None:
                self._since = now
            if self._lost:
                return False
            self._lost = ends = now - self._since >= self._patience
        if ends:
            text = f"{self._name} was not to be reached for {self._patience:.0f} s"
            self._warn(f"{text}: until it answers, steps are executed without claims")
        elif begins:
            self._note(f"{error.message}; trying again for {self._patience:.0f} s")
        return not ends

    def _wait(self, seconds: float) -> None:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if self._cancelled():
                raise Interrupted("interrupted while a shared cache was waited for")
            self._sleep(min(left, _TICK))
