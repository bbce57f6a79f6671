"""The connection to a Dask scheduler: which of its workers take part, orders to them, and what they tell meanwhile.

Dask is imported when there is something to be executed, and not before. It places steps (by the resources that workers
offer, and by where the steps before were done), evens out, and begins anew what ended with its worker.
"""

from __future__ import annotations

import logging
import pickle
import socket
import threading
import time
import uuid
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from buildah_py import debug
from buildah_py.cluster.crew import SAME_VERSION, Crew
from buildah_py.cluster.orders import METADATA, VERSION, Introduction, OrderReport, resource
from buildah_py.errors import Interrupted, PybuildError, UsageError
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from buildah_py.api.container import ContainerOptions
    from buildah_py.cluster.address import ClusterOptions
    from buildah_py.cluster.orders import StepOrder
    from buildah_py.image.descriptor import Descriptor
    from buildah_py.progress.events import Event

_CONNECT: Final = 5.0
"""Seconds until a scheduler that does not answer is given up."""
_FIRST: Final = 10.0
"""Seconds in which the first worker may come: it may have been started just now."""
_ANSWER: Final = 30.0
"""Seconds in which a worker has to introduce itself."""
_POLL: Final = 1.0
_PATIENCE: Final = 120.0
"""Seconds without a worker, or without the scheduler, after which a bake ends."""
_TICK: Final = 0.1
_TOPICS: Final = 4
"""The scheduler keeps what was told of late for each topic, and there is no end to bakes."""
_TOLD: Final = {"StepOutput": events.StepOutput, "Note": events.Note, "Warning": events.Warning}


class Terms(NamedTuple):
    """Terms that workers have to agree to: the shared place with a blob in it, and the restrictions of containers."""

    place: str
    probe: Descriptor
    restrictions: str
    container: ContainerOptions


class Cluster:
    """The scheduler of a bake. Connects when the first step is to be executed. May be used from several threads."""

    def __init__(self, options: ClusterOptions, emit: Callable[[Event], None], ended: threading.Event) -> None:
        self.options = options
        self.bake = uuid.uuid4().hex
        self.topic = f"pybuild-{int(self.bake[:4], 16) % _TOPICS}"
        self._emit = emit
        self._ended = ended
        self._workers = Crew(emit)
        self._client: Any = None
        self._connecting = threading.Lock()
        self._closed = threading.Event()
        self._changed = threading.Lock()
        self._running: dict[int, _Running] = {}
        self._begun: dict[int, str] = {}
        self._takers: dict[int, Callable[[bytes], object]] = {}
        self._futures: dict[int, Any] = {}
        self._distrusted: set[str] = set()
        self._count = 0
        self._terms: Terms | None = None
        self._alone_since: float | None = None
        self._failure: PybuildError | None = None
        self._emulators: dict[str, bool] = {}

    @property
    def threads(self) -> int:
        """How many steps are executed at once there."""
        return self._workers.threads

    @property
    def workers(self) -> Sequence[Introduction]:
        """Return what the workers that take part say of themselves."""
        return list(self._workers.known.values())

    def connect(self, terms: Callable[[], Terms]) -> None:
        """Have a connection, and workers that agree to `terms`. Raises PybuildError where there is none."""
        with self._connecting:
            if self._failure is not None:
                raise self._failure
            if self._client is None:
                try:
                    self._client = self._connected()
                    self._terms = terms()
                    self._meet_first()
                except PybuildError as error:
                    self._failure = error
                    self.close()
                    raise
                names = ", ".join(one.name for one in self._workers.known.values())
                self._emit(
                    events.Note(
                        f"steps are executed by {len(self._workers.known)} workers of {self.options.address}, "
                        f"{self._workers.threads} at once: {names}"
                    )
                )
                threading.Thread(target=self._watch, name="cluster", daemon=True).start()

    def check_platform(self, platform: str) -> str:
        """Return the resource that a step for a platform needs. Raises PybuildError where no worker runs it."""
        if any(platform in one.platforms for one in self._workers.known.values()):
            return resource(platform)
        from buildah_py.cluster import worker

        with self._connecting:
            if platform not in self._emulators:
                able = self._ask(worker.emulates, platform)
                there = [address for address, answer in able.items() if answer is True]
                if there:
                    self._ask(worker.offer, platform, workers=there)
                    self._emit(events.Note(f"no worker is {platform}: its steps go to those that have an emulator"))
                self._emulators[platform] = bool(there)
        if self._emulators[platform]:
            return resource(platform)
        own = ", ".join(sorted({one.platforms[0] for one in self._workers.known.values()}))
        raise PybuildError(
            f"a command for {platform} cannot run on any worker of {self.options.address}, which are {own}",
            hint=f"start a worker on such a machine, or install an emulator on a worker ({platform})",
        )

    def number(self) -> int:
        """Give an order its number."""
        with self._changed:
            self._count += 1
            return self._count

    def perform(
        self, order: StepOrder, resources: Mapping[str, float], priority: float, before: Iterable[int], kind: str
    ) -> OrderReport:
        """Have an order done; its report. `before` are the numbers of orders for the steps that it needs.

        Raises what the step raised, Interrupted, or PybuildError where nobody can do it any more.
        """
        from buildah_py.cluster import worker

        data = pickle.dumps(order)
        tries = 0
        after = list(before)
        while True:
            if self._ended.is_set():
                raise Interrupted("interrupted")
            tries += 1
            running = self._submit(worker.perform, order, data, resources, priority, after, f"{kind}-{tries}")
            answer = self._wait(order, running)
            if answer is not None:
                break
            # Neither done nor failed: the connection was lost, or a worker with what a step before had reported.
            self._emit(events.Note("the scheduler was lost: the step is begun again", order.node.index + 1))
            after = []
            self._await_scheduler()
        if answer.startswith(worker.ERROR):
            raise _read(answer[len(worker.ERROR) :])
        report: OrderReport = _read(answer[len(worker.REPORT) :])
        self._remember(order, running, answer)
        return report

    def distrust(self, name: str, diff_ids: Sequence[str]) -> None:
        """Give a worker no more steps: what it said of layers is not so."""
        with self._changed:
            new = name not in self._distrusted
            self._distrusted.add(name)
        if new:
            self._emit(
                events.Warning(f"the worker {name} gets no more steps: the layer {diff_ids[0]} is not what it said")
            )

    def cancel(self) -> None:
        """Have all that runs there end."""
        with self._changed:
            running = list(self._running.values())
        if self._client is not None and running:
            with suppress(Exception):  # whoever ends has no use for what is in the way of that
                self._client.sync(
                    self._client._cancel,  # noqa: SLF001 - `cancel` waits without end
                    [one.future for one in running],
                    force=True,
                    callback_timeout=_CONNECT,
                )
        for one in running:
            one.done.set()

    def close(self) -> None:
        """End the connection."""
        self._closed.set()
        client, self._client = self._client, None
        if client is None:
            return
        self.cancel()
        with suppress(Exception):  # the scheduler may be gone; nothing depends on its memory any more
            client.sync(client.scheduler.set_metadata, keys=[METADATA, self.bake], value=None, callback_timeout=1)
        with suppress(Exception):
            client.close(timeout=_CONNECT)

    # connecting

    def _connected(self) -> Any:
        try:
            from distributed import Client
        except ImportError as error:
            raise UsageError(
                f"--cluster needs Dask: {error}", hint="install it: pip install 'buildah_py[cluster]'"
            ) from error
        if not debug.is_on():
            for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        address = self.options.address
        parts, security = urlsplit(address), self._security()
        try:
            # Dask would try again and again where nobody listens.
            socket.create_connection((parts.hostname or "", parts.port or 0), _CONNECT).close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as of versions of packages that no step needs
                client = Client(  # type: ignore[no-untyped-call]
                    address,
                    timeout=_CONNECT,
                    security=security,
                    set_as_default=False,
                    name="pybuild",
                    heartbeat_interval=2000,
                )
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise PybuildError(
                f"the scheduler {address} cannot be reached: {_reason(error)}",
                hint="is `dask scheduler` running there, and is its certificate of the authority that was given?",
            ) from error
        client._timeout = _PATIENCE  # noqa: SLF001 - from now on it is that of coming back
        client.subscribe_topic(self.topic, self._told)  # type: ignore[no-untyped-call]
        return client

    def _security(self) -> Any:
        if not self.options.address.startswith("tls:"):
            return None
        from distributed.security import Security

        options = self.options
        given = {
            "tls_ca_file": options.ca,
            "tls_client_cert": options.certificate,
            "tls_client_key": options.key,
        }
        named = {name: value for name, value in given.items() if value}
        found: Any = Security(require_encryption=True, **named)  # type: ignore[no-untyped-call]
        if not found.tls_ca_file:
            raise UsageError(
                "tls:// needs the authority that has signed the scheduler's certificate",
                hint="give --cluster-ca, --cluster-cert and --cluster-key, or set distributed.comm.tls in Dask's "
                "configuration",
            )
        return found

    def _ask(self, function: Any, *arguments: object, workers: Sequence[str] | None = None) -> dict[str, Any]:
        """Call a function on workers that take part, or on those that are named; their answers, or exceptions."""
        there = list(self._workers.known) if workers is None else list(workers)
        if not there:
            return {}
        client = self._client
        try:
            found: dict[str, Any] = client.sync(
                client._run,  # noqa: SLF001 - `run` waits without end
                function,
                *arguments,
                workers=there,
                on_error="return",
                callback_timeout=_ANSWER,
            )
        except (OSError, TimeoutError) as error:
            return dict.fromkeys(there, error)
        return found

    def _meet_first(self) -> None:
        """Meet the workers that are there, or come soon. Raises PybuildError where none takes part."""
        until = time.monotonic() + _FIRST
        try:
            self._meet()
            while not (self._workers.known or self._workers.left) and time.monotonic() < until:
                if self._ended.wait(_TICK):
                    raise Interrupted("interrupted")
                self._meet()
        except (OSError, TimeoutError) as error:
            raise PybuildError(
                f"the scheduler {self.options.address} has stopped to answer: {_reason(error)}", hint="see its log"
            ) from error
        if not self._workers.known:
            raise self._workers.lacking(self.options.address)

    def _meet(self) -> None:
        """Meet the workers that are new, and forget those that are gone."""
        from buildah_py.cluster import worker

        terms = self._terms
        assert terms is not None
        client = self._client
        there = set(client.sync(client.scheduler.ncores, callback_timeout=_CONNECT))
        for name in self._workers.forget(there):
            self._emit(events.Warning(f"the worker {name} is gone: what it executed is begun again elsewhere"))
        new = sorted(there - self._workers.known.keys() - self._workers.left.keys())
        for address, answer in self._ask(worker.introduce, *terms, workers=new).items():
            self._workers.add(address, answer)
        for one in [one for one, name in self._workers.known.items() if name.name in self._distrusted]:
            del self._workers.known[one]

    def _watch(self) -> None:
        """Look for workers that come and go; end the bake where there has been none for long."""
        while not self._closed.wait(_POLL):
            try:
                self._meet()
            except (OSError, TimeoutError, AttributeError) as error:  # perform sees to a scheduler that is gone
                debug.log("cluster: %s", error)
                continue
            if self._workers.known:
                self._alone_since = None
            elif self._alone_since is None:
                self._alone_since = time.monotonic()
                self._emit(events.Note(f"no worker of {self.options.address} is left: waiting for one"))
            elif time.monotonic() - self._alone_since > _PATIENCE:
                self._give_up(self._workers.lacking(self.options.address))
                return

    def _give_up(self, error: PybuildError) -> None:
        with self._changed:
            self._failure = error
            for one in self._running.values():
                one.done.set()

    # orders

    def _submit(
        self,
        function: Any,
        order: StepOrder,
        data: bytes,
        resources: Mapping[str, float],
        priority: float,
        before: Iterable[int],
        kind: str,
    ) -> _Running:
        with self._changed:
            done = [self._futures[number] for number in before if number in self._futures]
            trusted = [address for address, one in self._workers.known.items() if one.name not in self._distrusted]
            if self._distrusted and not trusted:
                names = ", ".join(sorted(self._distrusted))
                raise PybuildError(
                    f"no worker is left that is believed: {names} said of layers what is not so",
                    hint="see their logs, and those of the shared cache",
                )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                future = self._client.submit(
                    function,
                    VERSION,
                    data,
                    *(one for one in done if one.status == "finished"),
                    key=f"{kind}-{self.bake[:8]}-{order.number}",
                    resources=dict(resources),
                    workers=trusted if self._distrusted else None,
                    priority=priority,
                    pure=False,
                )
            running = self._running[order.number] = _Running(future, threading.Event(), order.node.index + 1)
        future.add_done_callback(lambda _: running.done.set())
        return running

    def _wait(self, order: StepOrder, running: _Running) -> bytes | None:
        """Wait for an answer; None where there will be none, and the order has to be given again."""
        try:
            while not running.done.wait(_TICK):
                if self._ended.is_set():
                    running.future.cancel(force=True)
                    raise Interrupted("interrupted")
            if self._ended.is_set():
                raise Interrupted("interrupted")
            if self._failure is not None:
                raise self._failure
            if running.future.status == "finished":
                answer = running.future.result(timeout=_ANSWER)
                return answer if isinstance(answer, bytes) else None
            if running.future.status == "error":
                raise self._killed(running.future.exception(timeout=_ANSWER))
        except (OSError, TimeoutError) as error:
            debug.log("cluster: %s", error)
        finally:
            with self._changed:
                self._running.pop(order.number, None)
        return None

    def _killed(self, error: BaseException) -> PybuildError:
        if type(error).__name__ == "KilledWorker":
            return PybuildError(
                "each worker that executed the step has died",
                hint="does it take more memory than they have? `--cluster-resource` asks for more",
            )
        return PybuildError(f"on the cluster: {type(error).__name__}: {error}", hint="see the worker's log")

    def _remember(self, order: StepOrder, running: _Running, answer: bytes) -> None:
        """Let the scheduler know the report: whoever does the step again has it from there."""
        with self._changed:
            self._futures[order.number] = running.future
        with suppress(OSError, TimeoutError):  # then the step would be executed again, which is no more than slow
            client = self._client
            client.sync(
                client.scheduler.set_metadata,
                keys=[METADATA, self.bake, str(order.number)],
                value=answer,
                callback_timeout=_CONNECT,
            )

    def _await_scheduler(self) -> None:
        """Wait for the connection to come back. Raises PybuildError where it does not."""
        began = time.monotonic()
        while not self._closed.is_set() and (self._client is None or self._client.status != "running"):
            if time.monotonic() - began > _PATIENCE or (self._client is not None and self._client.status == "closed"):
                raise PybuildError(
                    f"the scheduler {self.options.address} is gone", hint="what was done is in the cache: bake again"
                )
            if self._ended.wait(_TICK):
                raise Interrupted("interrupted")

    # what workers tell

    def _told(self, event: tuple[float, Any]) -> None:
        """Pass on what a worker tells of a step."""
        bake, number, pieces = event[1]
        if bake != self.bake:
            return
        with self._changed:
            wanted = number in self._running
            take = self._takers.get(self._running[number].step) if wanted else None
        for name, fields in pieces if wanted else ():
            if name == "StepOutput" and take is not None:
                take(fields[2])
            if name == "begun":
                self._tell_begun(number, *fields)
            elif name == "Moved":
                from buildah_py.meter import Moved

                self._emit(Moved(*fields))
            elif name in _TOLD:
                self._emit(_TOLD[name](*fields))

    def _tell_begun(self, number: int, name: str) -> None:
        with self._changed:
            before = self._begun.get(number)
            self._begun[number] = name
            step = self._running[number].step if number in self._running else 0
        debug.log("cluster: order %d begins on the worker %s", number, name)
        if before is not None and before != name:
            self._emit(events.Note(f"begun again on the worker {name}: {before} did not end it", step))

    @contextmanager
    def heard(self, step: int, take: Callable[[bytes], object]) -> Iterator[None]:
        """Have `take` given what a step prints."""
        with self._changed:
            self._takers[step] = take
        try:
            yield
        finally:
            with self._changed:
                del self._takers[step]


def _read(data: bytes) -> Any:
    """Read what a worker says. Raises PybuildError for what this pybuild does not know."""
    try:
        return pickle.loads(data)  # noqa: S301 - of a worker that may run anything for us anyway
    except (AttributeError, ImportError, EOFError, IndexError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise PybuildError(f"a worker's answer is not understood: {error}", hint=SAME_VERSION) from error


def _reason(error: BaseException) -> str:
    """Say what stands behind an error of Dask's."""
    found: BaseException | None = error
    while found is not None:
        error, found = found, found.__cause__
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return said or "it does not answer" if not isinstance(error, TimeoutError) else "it does not answer"


class _Running(NamedTuple):
    """An order that was given: Dask's future, what is set once something came of it, and the step's id."""

    future: Any
    done: threading.Event
    step: int
