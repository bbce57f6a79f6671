"""Functions that the client has called on workers of a Dask cluster, by name: a worker needs pybuild, no more.

Whatever a step raises comes back as data, so that Dask begins anew only what ended with its worker.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from buildah_py.cluster.orders import METADATA, VERSION, Introduction, StepOrder, lent, resource
from buildah_py.errors import PybuildError
from buildah_py.progress import events

if TYPE_CHECKING:
    from buildah_py.api.container import ContainerOptions
    from buildah_py.cluster.workshop import Ending
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.progress.events import Event

_WATCH: Final = 0.1
_FLUSH: Final = 0.05
_MOST: Final = 64 << 10
"""Bytes of a step's output that are sent at once; the scheduler remembers the last thousand events of a topic."""
_HEADROOM: Final = 1 << 20
"""More than any number of steps that a worker is given at once."""
REPORT: Final = b"report "
ERROR: Final = b"error "


async def introduce(
    place: str, probe: Descriptor, restrictions: str, container: ContainerOptions, *, dask_worker: Any
) -> bytes:
    """Look whether this worker can take part, and if so have it offer the resources that steps ask for."""
    import asyncio

    found = await asyncio.to_thread(_introduce, dask_worker.name, place, probe, restrictions, container)
    found = found._replace(threads=dask_worker.state.nthreads)
    if not found.problem:
        offered = [*map(resource, found.platforms), *lent(found.secrets, found.agents)]
        await dask_worker.set_resources(**dict.fromkeys(offered, float(_HEADROOM)))
    return pickle.dumps(tuple(found))


def _introduce(
    name: object, place: str, probe: Descriptor, restrictions: str, container: ContainerOptions
) -> Introduction:
    from buildah_py.api.opening import restrictions_of
    from buildah_py.cluster.place import SharedPlace
    from buildah_py.cluster.workshop import given
    from buildah_py.linux.identity import needs_user_namespace
    from buildah_py.sharing.backends import Backends
    from buildah_py.sharing.spec import parse_to
    from buildah_py.sources.secrets import parse_secrets

    one = Introduction(str(name), VERSION)
    if needs_user_namespace(os.environ):
        return one._replace(problem="may not make containers", hint="run `dask worker` as root, in a container or not")
    own = restrictions_of(container)
    if own != restrictions:
        said = [text or "where all can be done" for text in (own, restrictions)]
        return one._replace(
            problem=f"executes steps {said[0]}, and what is asked for are results of steps executed {said[1]}",
            hint="--cluster-workers says what workers are, root or userns: start them alike",
        )
    try:
        SharedPlace(parse_to(place), Backends(os.environ)).see(probe)
    except (PybuildError, OSError) as error:
        text = error.message if isinstance(error, PybuildError) else str(error)
        hint = error.hint if isinstance(error, PybuildError) else ""
        return one._replace(
            problem=f"cannot use the shared cache: {text}",
            hint=hint or "its environment has to name the credentials, and a directory has to be the same one there",
        )
    try:
        secrets, agents = given(os.environ)
        known = parse_secrets(secrets, os.environ)
    except PybuildError as error:
        return one._replace(problem=f"cannot use the secrets that it was given: {error.message}", hint=error.hint)
    return one._replace(
        platforms=_platforms(),
        secrets=frozenset(known),
        agents=frozenset(text.partition("=")[0] or "default" for text in agents),
    )


def _platforms() -> tuple[str, ...]:
    """Name the platforms whose programs run here without an emulator, this machine's first."""
    from buildah_py.image import platform as platforms

    host = platforms.host()
    return tuple(dict.fromkeys(str(one) for one in (host, *platforms.runnable(host))))


def emulates(platform: str) -> bool:
    """Whether this worker runs programs of a platform by an emulator."""
    from buildah_py.engine.emulation import check_runnable

    try:
        check_runnable(platform)
    except PybuildError:
        return False
    return True


async def offer(platform: str, *, dask_worker: Any) -> None:
    """Offer to execute steps for a platform."""
    await dask_worker.set_resources(**{resource(platform): float(_HEADROOM)})


def perform(version: str, data: bytes, *_before: bytes) -> bytes:
    """Do the step of an order; REPORT or ERROR, with that pickled.

    What comes from steps `before` is only there so that Dask knows of them. Once the task is cancelled, which is so as
    well when its client is gone, what runs is ended.
    """
    from distributed import get_worker
    from distributed.worker import thread_state  # type: ignore[attr-defined]

    dask_worker = get_worker()
    if version != VERSION:
        return _failed(
            PybuildError(
                f"the worker {dask_worker.name} has pybuild {VERSION}, and this is {version}",
                hint="install the same version there",
            )
        )
    order: StepOrder = pickle.loads(data)  # noqa: S301 - see orders.py
    if (known := _known(dask_worker, order)) is not None:
        return known
    from buildah_py.cluster.workshop import Ending, do_step

    cancellation = Ending()
    stream = _Stream(dask_worker, order)
    ended = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(dask_worker, thread_state.key, cancellation, ended, stream), daemon=True
    )
    watch.start()
    stream.tell_begun(str(dask_worker.name))
    try:
        return REPORT + pickle.dumps(do_step(order, str(dask_worker.name), stream, cancellation))
    except PybuildError as error:
        return _failed(error)
    except Exception as error:
        # This is the edge of the program here; Dask could not hand on each exception.
        logging.getLogger("distributed.worker.pybuild").exception("a step failed")
        said = f"on the worker {dask_worker.name}: {type(error).__name__}: {error}"
        return _failed(PybuildError(said, hint="its log has more of that"))
    finally:
        ended.set()
        watch.join()
        stream.flush()


def _failed(error: PybuildError) -> bytes:
    return ERROR + pickle.dumps(error)


def _known(dask_worker: Any, order: StepOrder) -> bytes | None:
    """Find the report of a step that had been done before another worker died, which had it to give."""
    from distributed.utils import sync

    keys = [METADATA, order.bake, str(order.number)]
    known = sync(dask_worker.loop, dask_worker.scheduler.get_metadata, keys=keys, default=None)
    return known if isinstance(known, bytes) else None


def _watch(dask_worker: Any, key: object, cancellation: Ending, ended: threading.Event, stream: _Stream) -> None:
    """Send what is to be told, and look whether anybody still wants the task."""
    looked = time.monotonic()
    while not ended.wait(_FLUSH):
        stream.flush()
        if time.monotonic() - looked < _WATCH or cancellation.is_set():
            continue
        looked = time.monotonic()
        task = dask_worker.state.tasks.get(key)
        if task is None or task.state == "cancelled" or not dask_worker.status.name.startswith(("running", "paused")):
            cancellation.set()


class _Stream:
    """Sink of a step's events that sends them to the client, by way of the scheduler, a few times a second.

    Whatever a step prints at once beyond what the scheduler should carry is left out, and that is said.
    """

    def __init__(self, dask_worker: Any, order: StepOrder) -> None:
        self._worker = dask_worker
        self._order = order
        self._waiting: list[tuple[str, tuple[Any, ...]]] = []
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        name = type(event).__name__
        with self._lock:
            last = self._waiting[-1] if self._waiting else None
            if isinstance(event, events.StepOutput):
                if last is not None and last[0] == name and last[1][:2] == event[:2]:
                    self._waiting[-1] = (name, (*event[:2], last[1][2] + event.data))
                    return
            elif name == "Moved":
                same = [one for one in self._waiting if not (one[0] == name and one[1][:2] == tuple(event)[:2])]
                self._waiting = same
            self._waiting.append((name, tuple(event)))

    def tell_begun(self, worker: str) -> None:
        """Say which worker has begun."""
        self._send([("begun", (worker,))])

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        pieces: list[tuple[str, tuple[Any, ...]]] = []
        for name, fields in waiting:
            if name == "StepOutput":
                pieces.append((name, (*fields[:2], _shortened(fields[2]))))
            elif name in ("Moved", "Note", "Warning"):
                pieces.append((name, fields))
        if pieces:
            self._send(pieces)

    def _send(self, pieces: list[tuple[str, tuple[Any, ...]]]) -> None:
        self._worker.log_event(self._order.topic, [self._order.bake, self._order.number, pieces])


def _shortened(data: bytes) -> bytes:
    """Return the beginning and the end of very much output."""
    half = _MOST // 2
    if len(data) <= _MOST:
        return data
    return data[:half] + f"\n[{len(data) - 2 * half} bytes are left out]\n".encode() + data[-half:]
