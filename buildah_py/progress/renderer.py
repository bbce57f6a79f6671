"""Base of the renderers: one event at a time, and a stream that may go away."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from buildah_py.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import TextIO

    from buildah_py.progress.events import Event


class Renderer:
    """A sink that shows events on `err`, the standard error; results go to `out`.

    It may be called from any thread. When the stream breaks, OutputError is raised once, and nothing is shown from then
    on.
    """

    def __init__(self, err: TextIO, out: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._err = err
        self._out = out
        self._clock = clock
        self._lock = threading.RLock()
        self._broken = False
        self._begin()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._guarded(lambda: self._show(event))

    def close(self) -> None:
        """Leave the terminal as it was found. May be called again."""
        self._guarded(self._finish)

    def _guarded(self, action: Callable[[], None]) -> None:
        with self._lock:
            if self._broken:
                return
            try:
                action()
            except OSError as error:
                self._broken = True
                raise OutputError(f"progress cannot be shown any more: {error.strerror}") from error

    def _begin(self) -> None:
        """Forget what was shown: a build starts. Renderers that keep something override it."""

    def _show(self, event: Event) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        """Do nothing; renderers that hold something override it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Ticking(Renderer):
    """A renderer that shows something by itself as time goes by: from `_tick_from_now_on` until `_stop_ticking`."""

    period = 1.0
    """Seconds from one tick to the next."""

    def __init__(
        self, err: TextIO, out: TextIO, *, clock: Callable[[], float] = time.monotonic, ticks: bool = True
    ) -> None:
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._ticks = ticks
        super().__init__(err, out, clock=clock)

    def tick(self) -> None:
        """Show what there is to show now. With `ticks` a thread calls it."""
        with self._lock:
            if not self._stop.is_set() and not self._broken:
                self._tick()

    def _tick(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Leave the terminal as it was found, and wait for the ticking to end."""
        self._stop_ticking()
        super().close()
        ticker = self._ticker
        if ticker is not None and ticker is not threading.current_thread():
            ticker.join()

    def _tick_from_now_on(self) -> None:
        if self._ticks and self._ticker is None and not self._stop.is_set():
            self._ticker = threading.Thread(target=self._run, name="progress", daemon=True)
            self._ticker.start()

    def _stop_ticking(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self.period):
            try:
                self.tick()
            except OSError:
                # Nobody could hear of it here: the next event meets the same error and raises it.
                return
