"""The command of a RUN: its container, its output, and what it wrote."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from buildah_py.engine.ops.op import Usage
from buildah_py.engine.ops.step_log import StepLog, open_log
from buildah_py.errors import PybuildError, StepFailed
from buildah_py.image import platform as platforms
from buildah_py.layers.entry import DIR, Entry
from buildah_py.layers.stamps import NO_STAMPS, window
from buildah_py.progress import events
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from buildah_py.cache.observations import Observation
    from buildah_py.engine.ops.observe import Observing
    from buildah_py.engine.ops.op import Task
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan.steps import RunStep
    from buildah_py.sandbox import ContainerSpec, ExitStatus, Operation
    from buildah_py.sandbox.roots import TracedRoot
    from buildah_py.sandbox.spec import ObservedLayers

_NOT_KEPT = {"/etc/hosts": "--add-host adds lines", "/etc/resolv.conf": "--dns names servers"}
"""Files that are a container's own, and what to do instead of changing them."""
_PIECE = 64 << 10
_CAPACITY = 1 << 20
_KEPT = 16 << 10
_SHOWN = 50
"""Bytes and lines of the last output that an error knows."""
_SINGLE_ID = "if it was about another user: only root exists here, and `pybuild doctor` tells what is missing"


def _pipe() -> tuple[int, int]:
    """Make a pipe that takes much at once, so that a command which writes in bursts need not wait for its reader."""
    import fcntl

    read, write = os.pipe2(os.O_CLOEXEC)
    with suppress(PermissionError):  # pipe(7): the machine's limit is lower, or this user has many; the usual size does
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, _CAPACITY)
    return read, write


def now_on(directory: str) -> tuple[int, int]:
    """Make a directory; when that was in nanoseconds, by the clock that stamps files and by one that nobody sets.

    The former, since 1970, is the file system's, which need not be this machine's.
    """
    os.mkdir(directory)
    return os.stat(directory).st_mtime_ns, time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class UnobservedError(PybuildError):
    """What showed a container its files has ended before it: whatever came of the command means nothing."""


class Command:
    """The command of `step` in the empty directory `staged`; what it needs meanwhile is there while this is entered.

    With `observed`, its plain key, what it learns of the files of COPY steps is noted.
    """

    def __init__(self, task: Task, step: RunStep, staged: str, *, observed: str = "") -> None:
        self._task = task
        self._worker = task.worker
        self._node = task.node
        self._step = step
        self._staged = staged
        self._held = ExitStack()
        self._secrets: list[bytes] = []
        self._last = bytearray()
        self._observing: Observing | None = None
        self._traced: TracedRoot | None = None
        if observed:
            from buildah_py.engine.ops.observe import Observing

            self._observing = Observing(task, staged, observed)
            self._held.callback(self._observing.close)

    def __enter__(self) -> Self:
        if self._step.platform != str(platforms.host()):
            from buildah_py.engine.emulation import check_runnable

            check_runnable(self._step.platform)
        if not self._worker.file_systems.owners:
            self._worker.reporter.warn(
                "there are no subordinate ids here: owners that a RUN gives to files are lost, and what it makes is "
                "not a hit for builds that have all ids (`pybuild doctor` tells how to get some)"
            )
        upper, work, init = (os.path.join(self._staged, name) for name in ("upper", "work", "init"))
        self._root = self._worker.file_systems.make_root(upper, self._task.parent.layers)
        self._began = now_on(work)
        os.mkdir(init)
        with self._held:
            self._spec = self._make_spec(upper, work, init)
            self._held = self._held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, value, trace)

    def _make_spec(self, upper: str, work: str, init: str) -> ContainerSpec:
        from buildah_py.sandbox import ContainerSpec, FileMount
        from buildah_py.store.lowers import lowers

        step = self._step
        mounts: list[Operation] = [
            FileMount(target=f"/dev/pipes/{file.name}", content=file.content, mode=file.mode) for file in step.files
        ]
        environment = dict(step.env) | dict(step.proxies)
        secrets = [name for name, _ in step.proxies]  # in whose addresses may be passwords
        if step.mounts:
            from buildah_py.engine.ops.run_mounts import make_mounts

            for made in make_mounts(self._task, step.mounts, self._staged, self._held):
                mounts += made.operations
                if made.copy is not None and self._observing is not None:
                    self._observing.add_mount(made.operations[0].target, *made.copy)
                environment.update(made.variables)
                if made.secret:
                    self._secrets += (one.content for one in made.operations if isinstance(one, FileMount))
                    self._secrets += (value.encode("utf-8", "surrogateescape") for _, value in made.variables)
                    secrets += (operation.target for operation in made.operations)
                    secrets += (name for name, _ in made.variables)
        self._stack = self._worker.store.stack(self._task.parent.layers)
        return ContainerSpec(
            lowers=lowers(self._stack),
            upper=upper,
            work=work,
            init=init,
            argv=step.args,
            env=tuple(f"{name}={value}" for name, value in environment.items()),
            cwd=step.cwd,
            user=step.user,
            hostname=step.hostname,
            network=step.network,
            security=step.security,
            mounts=tuple(mounts),
            name=str(self._node.index + 1),
            secrets=tuple(secrets),
        )

    def run(self, keep: Callable[[bytes], None] | None = None) -> Usage:
        """Run it to its end. Its output is shown in its order; with `keep`, which gets it, only errors are shown.

        Raises StepFailed with its status where that is not 0.
        """
        worker, pipes = self._worker, [_pipe() for _ in range(2 if keep else 1)]
        try:
            try:
                container = worker.containers.start(
                    self._spec,
                    stdin=None,
                    stdout=pipes[0][1],
                    stderr=pipes[-1][1],
                    shaped=self._note,
                    observed=self._observed,
                )
            finally:
                for _, write in pipes:
                    os.close(write)
            with worker.containers.held(container):
                shown = {events.STDOUT: keep or self._show(events.STDOUT), events.STDERR: self._show(events.STDERR)}
                self._pump({pipes[-1][0]: shown[events.STDERR], pipes[0][0]: shown[events.STDOUT]})
                status = container.wait(seal=True)
        finally:
            for read, _ in pipes:
                os.close(read)
        worker.cancellation.check()
        if container.unobserved:
            raise UnobservedError("the process that notes what the command reads has ended before it")
        self._traced = container.traced
        for warning in container.warnings:
            worker.reporter.warn(warning)
        if status.status != 0:
            from buildah_py.engine.failed_state import keep as keep_state

            failed = self._failed(status)
            failed.kept = keep_state(self._task, self._step, self._shaped, self._staged, status.status)
            raise failed
        return Usage(status.user_seconds + status.system_seconds, status.peak_memory or status.max_rss)

    def _note(self, shaped: ContainerSpec) -> None:
        self._shaped = shaped

    def _observed(self, shaped: ContainerSpec) -> ObservedLayers | None:
        return None if self._observing is None else self._observing.of(shaped, self._stack)

    def _failed(self, ended: ExitStatus) -> StepFailed:
        """Give the error that says how it ended, where it stands, and why that may be."""
        from buildah_py.engine.ops.failure import Failure, explain, status_text
        from buildah_py.layers.looking import ShownRoot

        node, file_systems = self._node, self._worker.file_systems
        said = self._last.decode("utf-8", "backslashreplace")
        roots = (self._spec.upper, *self._spec.lowers)
        cause = explain(
            Failure(self._step, ended, said, node.where), lambda: ShownRoot(roots, userxattr=file_systems.userxattr)
        )
        how = f"ended with status {ended.status}" if ended.signal is None else f"was ended by {status_text(ended)}"
        name, _, line = node.place.rpartition(":")
        return StepFailed(
            f"{node.place}: the command {how}{f': {cause.what}' if cause.what else ''}",
            ended.status,
            hint=cause.hint or ("" if file_systems.owners else _SINGLE_ID),
            short=status_text(ended),
            number=node.index + 1,
            place=(name, int(line)) if line.isdecimal() else (node.place, 0),
            excerpt=f"  {_first_line(node.text)}" if node.where is None else redact(node.where.listing()),
            last_lines=tuple(said.splitlines()[-_SHOWN:]),
        )

    def _show(self, stream: int) -> Callable[[bytes], None]:
        return lambda data: self._worker.reporter.emit(events.StepOutput(self._node.index + 1, stream, data))

    def _pump(self, streams: Mapping[int, Callable[[bytes], None]]) -> None:
        """Pass output on, and keep it in the log, until all writers are gone."""
        import select

        poll = select.poll()
        for descriptor in streams:
            poll.register(descriptor, select.POLLIN)
        left = len(streams)
        with StepLog(lambda: open_log(self._worker.store, self._node.index + 1), secrets=self._secrets) as log:
            while left:
                for descriptor, _ in poll.poll():
                    data = os.read(descriptor, _PIECE)
                    if not data:
                        poll.unregister(descriptor)
                        left -= 1
                        continue
                    log.add(data)
                    self._last += data[-_KEPT:]
                    del self._last[:-_KEPT]
                    streams[descriptor](data)

    def captured(self) -> tuple[Captured, str]:
        """Give what it wrote as a layer, and the tree that holds it, once it has ended."""
        from buildah_py.layers.capture import capture
        from buildah_py.layers.tidy import take_out, tidy

        spec, warn, place = self._spec, self._worker.reporter.warn, self._node.place
        take_out(spec.upper, spec.init, "/etc/hostname", changed=False)
        for path, instead in _NOT_KEPT.items():
            if take_out(spec.upper, spec.init, path, changed=True):
                warn(f"{place}: what the step did to {path} is not kept: each container gets its own; {instead}")
        began, ended = self._began, now_on(os.path.join(self._staged, "ended"))
        captured = capture(
            spec.upper,
            spec.lowers,
            stubs=spec.init,
            userxattr=self._worker.file_systems.userxattr,
            root=Entry("", DIR, *self._root),
            stamped=window(began[0], ended[0], ended[1] - began[1]),
            below=self._below(),
            owned=self._owned(),
        )
        tidy(spec.upper, captured)
        for path in captured.skipped:
            warn(f"{place}: the socket /{path} is left out, as no layer can hold one")
        return captured, spec.upper

    def _owned(self) -> Callable[[Entry], Entry]:
        """Give what says whose a file is, where all are the builder's: what was there before keeps its owner."""
        traced, file_systems = self._traced, self._worker.file_systems
        if traced is None or file_systems.owners:
            return lambda entry: entry
        view = file_systems.view(self._task.parent.layers, self._task.parent.stamps)

        def owned(entry: Entry) -> Entry:
            if not entry.path:
                return entry._replace(uid=self._root.uid, gid=self._root.gid)
            origin = traced.origins.get(entry.path) if entry.path in traced.changed else entry.path
            known = None if origin is None else view.entry(origin)
            uid, gid = traced.user if known is None else (known.uid, known.gid)
            return entry._replace(uid=uid, gid=gid)

        return owned

    def learned(self, captured: Captured) -> Observation | None:
        """Give what the command learned of files, once it has ended; None where that is not known."""
        return None if self._observing is None else self._observing.result(captured)

    def _below(self) -> Callable[[str], Entry | None]:
        """Give what the layers show that steps have made; nothing of a base image has a time that is not content."""
        layers, stamps = self._task.parent.layers, self._task.parent.stamps
        own = next((place for place, one in enumerate(stamps) if one != NO_STAMPS), None)
        if own is None:
            return lambda _: None
        # Few steps need a look.
        return lambda path: self._worker.file_systems.view(layers[own:], stamps[own:]).entry(path)


def _first_line(text: str) -> str:
    line, newline, _ = text.partition("\n")
    return f"{line} …" if newline else line
