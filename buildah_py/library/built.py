"""Results of builds for programs that use the library: the image, its steps, and the events while it is built."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from buildah_py.library.child import call_as_needed, environ_of
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from buildah_py.errors import StepFailed
    from buildah_py.progress.events import Event

_TAIL: Final = 64 << 10
"""Bytes of a step's output that its failure holds."""


class BuildStep(NamedTuple):
    """A step of a build: its `number` in its `stage` (from 1), the instruction's `text`, and what became of it.

    `outcome` is `hit`, `ran`, `failed` or `cancelled`, and `reason` why it was executed. `seconds` and `cpu` are wall
    and CPU time, `memory` bytes; both of the latter are 0 where no command ran.
    """

    stage: str
    number: int
    text: str
    outcome: str
    reason: str
    seconds: float
    cpu: float
    memory: int


class Built(NamedTuple):
    """An image that was built: its id, its full names, how many steps were hits, and how many were executed.

    `digest` is what the first output called it by, "" where it was only kept in the store. `steps` are all that the
    build needed, in the order in which they began. `root` is the state directory that was given, None for the user's.
    `history` is the file of the build's record (docs/reports.md), "" where none is. A notebook shows its timeline.
    """

    id: str
    names: tuple[str, ...]
    hits: int
    ran: int
    digest: str = ""
    steps: tuple[BuildStep, ...] = ()
    root: str | None = None
    history: str = ""

    def _repr_html_(self) -> str:
        """Give what a notebook shows: the timeline, as long as the store remembers the build."""
        from html import escape

        from buildah_py.errors import NotFound
        from buildah_py.history.builds import read_build
        from buildah_py.pages.report import timeline_part

        try:
            return timeline_part(read_build(self.history))
        except NotFound:
            return f"<code>{escape(' '.join([*self.names, self.id]))}</code>"

    def save(
        self,
        path: str,
        *,
        form: str = "docker-archive",
        compression: str | None = None,
        on_event: Callable[[Event], object] = lambda _: None,
    ) -> None:
        """Write the image to a file, or a directory with `form="oci-dir"`; see `buildah_py.save`."""
        names = [*self.names] or [self.id]
        save(names, path, form=form, compression=compression, root=self.root, on_event=on_event)


def save(
    names: str | Iterable[str],
    path: str | os.PathLike[str],
    *,
    form: str = "docker-archive",
    compression: str | None = None,
    root: str | None = None,
    on_event: Callable[[Event], object] = lambda _: None,
) -> None:
    """Write images of the store to a file, or with `form="oci-dir"` to a directory, as `pybuild save` does.

    `form` may be `oci-archive` too. Layers that were made here are compressed with `gzip`, or as `compression` says:
    `zstd`, `uncompressed`. `on_event` is called with transfers (`Moved`) as they go on. Raises NotFound, UsageError,
    OutputError.
    """
    environ = environ_of(root)
    request = ([names] if isinstance(names, str) else list(names), os.fspath(path), form, compression, environ)
    call_as_needed("buildah_py.library.built:_save", request, environ, on_event)


def _save(
    request: tuple[list[str], str, str, str | None, Mapping[str, str]], on_event: Callable[[Event], object]
) -> None:
    from buildah_py.api.state import open_store
    from buildah_py.meter import Listening
    from buildah_py.registry import RegistryOptions
    from buildah_py.transfer.provider import Registries
    from buildah_py.transfer.save import save as write

    names, path, form, compression, environ = request
    options = RegistryOptions.from_environment(environ)
    with Listening(on_event), open_store(environ, Registries(environ, lambda: options)) as store:
        write(store, names, path, options, form=form, compression=compression)


class StepCollector:
    """Hears the events of a build, from many threads, and passes them on to `then`."""

    def __init__(self, then: Callable[[Event], object]) -> None:
        self._then = then
        self._lock = threading.Lock()
        self._begun: dict[int, events.StepStarted] = {}
        self._done: dict[int, events.StepDone] = {}
        self._tails: dict[int, bytearray] = {}

    def __call__(self, event: Event) -> None:
        """Hear of an event."""
        with self._lock:
            if isinstance(event, events.StepStarted):
                self._begun[event.id] = event
            elif isinstance(event, events.StepOutput):
                tail = self._tails.setdefault(event.id, bytearray())
                tail += event.data
                del tail[:-_TAIL]
            elif isinstance(event, events.StepDone):
                self._done[event.id] = event
                if event.outcome != events.FAILED:
                    self._tails.pop(event.id, None)
        self._then(event)

    def steps(self) -> tuple[BuildStep, ...]:
        """Give the steps that have ended."""
        return tuple(_step(begun, self._done[id_]) for id_, begun in self._begun.items() if id_ in self._done)

    def complete(self, error: StepFailed) -> None:
        """Tell the error of which step it is, and the end of its output."""
        for id_, done in self._done.items():
            if done.outcome == events.FAILED and id_ in self._begun:
                error.step = _step(self._begun[id_], done)
                error.output = bytes(self._tails.get(id_, b"")).decode("utf-8", "replace")


def _step(begun: events.StepStarted, done: events.StepDone) -> BuildStep:
    ended = (done.outcome, done.reason, done.seconds, done.cpu, done.memory)
    return BuildStep(begun.stage, begun.number, begun.text, *ended)


class Building:
    """A build under way in a child process: iterate over its events, also with `async for`, then ask for its `result`.

    A context manager that ends the build with the block, whatever has become of it by then.
    """

    def __init__(self, build: Callable[[Callable[[Event], None], Callable[[int], None]], Built]) -> None:
        """Begin; `build` is called with what hears of events, and of the child's process id."""
        from queue import SimpleQueue

        self._events: SimpleQueue[Event | None] = SimpleQueue()
        self._child = 0
        self._ended = False
        self._lock = threading.Lock()
        self._result: Built | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, args=(build,), name="building", daemon=True)
        self._thread.start()

    def _work(self, build: Callable[[Callable[[Event], None], Callable[[int], None]], Built]) -> None:
        try:
            self._result = build(self._events.put, self._started)
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error
        finally:
            self._events.put(None)

    def _started(self, pid: int) -> None:
        with self._lock:
            self._child = pid
            if self._ended:
                self._interrupt()

    def _interrupt(self) -> None:
        import signal

        if self._child and self._thread.is_alive():
            os.kill(self._child, signal.SIGTERM)

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the events as they come, to the end of the build."""
        while (event := self._events.get()) is not None:
            yield event
        self._events.put(None)

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate over the events, without keeping other tasks from running."""
        from asyncio import to_thread

        while (event := await to_thread(self._events.get)) is not None:
            yield event
        self._events.put(None)

    def result(self) -> Built:
        """Wait for the end of the build. Raises what `build` raises, and Interrupted where it was stopped."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def stop(self) -> None:
        """End the build, as ^C does, and wait until nothing of it is left."""
        with self._lock:
            self._ended = True
            self._interrupt()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
