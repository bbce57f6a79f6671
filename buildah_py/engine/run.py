"""RUN: a command in a container on the parent's layers; what it wrote is the layer."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from buildah_py.cache.keys import BEFORE
from buildah_py.cache.selections import selection_key
from buildah_py.engine.executions import InputList, Usage, keep_selection
from buildah_py.engine.foreign import check_runnable
from buildah_py.engine.moment import Moment, now_on
from buildah_py.engine.results import before
from buildah_py.engine.step_log import StepLog
from buildah_py.engine.workshop import ONE_ID, RootAttributes
from buildah_py.errors import PybuildError, StepFailed
from buildah_py.layers.entry import DIR, Entry
from buildah_py.layers.stamps import NO_STAMPS
from buildah_py.plan.steps import OUTPUT
from buildah_py.progress import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.engine.results import Result
    from buildah_py.engine.workshop import Workshop
    from buildah_py.layers.inventory import Captured
    from buildah_py.plan import Node
    from buildah_py.plan.steps import MountStep, RunStep
    from buildah_py.sandbox import ContainerSpec, ExitStatus, Operation

_NOT_KEPT = {"/etc/hosts": "--add-host adds lines", "/etc/resolv.conf": "--dns names servers"}
"""Files that are a container's own, and what to do instead of changing them."""
_PIECE = 64 * 1024
MAX_OUTPUT = 64 * 1024
"""What a command may print to become a variable."""
_SINGLE_ID = "if it was about another user: only root exists here, and `pybuild doctor` tells what is missing"


class RunExecution:
    """A RUN on the file system `parent`."""

    def __init__(
        self, workshop: Workshop, node: Node, step: RunStep, parent: Result, inputs: Sequence[Result | None]
    ) -> None:
        self._workshop = workshop
        self._node = node
        self._step = step
        self._parent = parent
        self._trees = inputs
        self._digests: dict[str, str] | None = None
        self._lists: dict[str, InputList] = {}
        self.usage = Usage()
        self._held = ExitStack()
        self._root = RootAttributes()
        self._began = Moment(0, 0)

    def inputs(self) -> Mapping[str, str]:
        """The content that bind mounts show; of secrets and agents that may be missing, whether they are there.

        Of a step that sees what others have left outside of the file system, all steps before it count; on a machine
        that cannot do all that others can, what it cannot do.
        """
        if self._digests is None:
            self._digests = {"machine": ", ".join(limits)} if (limits := self._workshop.limits) else {}
            if self._step.reads_state:
                self._digests[BEFORE] = before(self._parent, filter(None, self._trees)) or ""
            for mount in self._step.mounts:
                if mount.input is not None:
                    self._digests[f"mount {mount.target}"] = self._shown_digest(mount)
                elif mount.type == "secret" and (lent := self._workshop.lent(mount.id, required=mount.required)):
                    self._digests[f"secret {mount.id}"] = lent
                elif mount.type == "ssh" and not mount.required:
                    name = mount.id or "default"
                    self._digests[f"ssh {name}"] = "given" if name in self._workshop.agents else "not given"
        return self._digests

    def lists(self) -> Mapping[str, InputList]:
        """What bind mounts show."""
        for mount in self._step.mounts:
            if mount.input is not None and f"mount {mount.target}" not in self._lists:
                self._look(mount)
        return self._lists

    def _shown_digest(self, mount: MountStep) -> str:
        """The digest of what a mount shows, without a look where the answer is known."""
        key = self._question(mount)
        return (self._workshop.cache.selections.find(key) if key else None) or self._look(mount)

    def _look(self, mount: MountStep) -> str:
        from buildah_py.engine.mounts import shown

        assert mount.input is not None
        tree = self._trees[mount.input]
        selection = shown(self._workshop, self._node, mount, tree)
        digest = selection.digest()
        self._lists[f"mount {mount.target}"] = InputList(
            selection.where, tree is None, selection.bases(), selection.packed
        )
        if key := self._question(mount):
            keep_selection(self._workshop.cache.selections, key, digest, selection.where)
        return digest

    def _question(self, mount: MountStep) -> str:
        """Name what a mount shows; "" for a build context, which is what it is now."""
        tree = None if mount.input is None else self._trees[mount.input]
        return selection_key(tree.chain, [mount.source or "/"]) if tree is not None else ""

    def execute(self, staged: str, _near: str | None = None) -> tuple[Captured, str]:
        """Run the command. Raises StepFailed with its status where that is not 0."""
        from buildah_py.layers.capture import capture
        from buildah_py.layers.tidy import take_out, tidy

        self._confirm()
        with self._held:
            spec = self._prepare(staged)
            self._run(spec, self._show)
        take_out(spec.upper, spec.init, "/etc/hostname", changed=False)
        for path, instead in _NOT_KEPT.items():
            if take_out(spec.upper, spec.init, path, changed=True):
                text = f"{self._node.place}: what the step did to {path} is not kept: each container gets its own"
                self._workshop.warn(f"{text}; {instead}")
        captured = capture(
            spec.upper,
            spec.lowers,
            stubs=spec.init,
            userxattr=self._workshop.userxattr,
            root=Entry("", DIR, *self._root),
            stamped=self._began.until(now_on(os.path.join(staged, "ended"))),
            below=self._below(),
        )
        tidy(spec.upper, captured)
        for path in captured.skipped:
            self._workshop.warn(f"{self._node.place}: the socket /{path} is left out, as no layer can hold one")
        return captured, spec.upper

    def _below(self) -> Callable[[str], Entry | None]:
        """Give what the layers show that steps have made; nothing of a base image has a time that is no content."""
        layers, stamps = self._parent.layers, self._parent.stamps
        own = next((place for place, one in enumerate(stamps) if one != NO_STAMPS), None)
        if own is None:
            return lambda _: None
        return lambda path: self._workshop.view(layers[own:], stamps[own:]).entry(path)  # which few steps need

    def _confirm(self) -> None:
        """Look at what only a shared cache has said. Raises SourceChanged where that is not so."""
        for mount in self._step.mounts:
            if self._workshop.cache.selections.only_said(self._question(mount)):
                self._look(mount)

    def _prepare(self, staged: str) -> ContainerSpec:
        check_runnable(self._step.platform)
        if ONE_ID in self._workshop.limits:
            self._workshop.warn(
                "there are no subordinate ids here: owners that a RUN gives to files are lost, and what it makes is no "
                "hit for builds that have all ids (`pybuild doctor` tells how to get some)"
            )
        upper, work, init = (os.path.join(staged, name) for name in ("upper", "work", "init"))
        self._root = self._workshop.make_root(upper, self._parent.layers)
        self._began = now_on(work)
        os.mkdir(init)
        return self._spec(self._workshop.lowers(self._parent.layers), upper, work, init, staged)

    def _show(self, stream: int, data: bytes) -> None:
        self._workshop.emit(events.StepOutput(self._node.index + 1, stream, data))

    def _spec(self, lowers: tuple[str, ...], upper: str, work: str, init: str, staged: str) -> ContainerSpec:
        from buildah_py.sandbox import ContainerSpec, FileMount

        step = self._step
        mounts: list[Operation] = [
            FileMount(target=f"/dev/pipes/{file.name}", content=file.content, mode=file.mode) for file in step.files
        ]
        environment = dict(step.env) | dict(step.proxies)
        caches = self._open_caches()
        for number, mount in enumerate(step.mounts):
            if number in caches:
                from buildah_py.engine.cache_mounts import show_cache

                made = show_cache(mount, caches[number], self._held)
            else:
                from buildah_py.engine.mounts import make_mount

                tree = self._trees[mount.input] if mount.input is not None else None
                made = make_mount(self._workshop, self._node, mount, tree, staged, number, self._held)
            mounts += made.operations
            environment.update(made.variables)
        if self._workshop.trust is not None:
            mounts += self._workshop.trust.mounts()
            environment = self._workshop.trust.environment() | environment
        spec = ContainerSpec(
            lowers=lowers,
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
        )
        return self._workshop.shape(spec)

    def _open_caches(self) -> Mapping[int, str]:
        if not any(mount.type == "cache" for mount in self._step.mounts):
            return {}
        from buildah_py.engine.cache_mounts import open_caches

        return open_caches(self._workshop, self._node, self._step.mounts, self._trees, self._held)

    def _run(self, spec: ContainerSpec, show: Callable[[int, bytes], None], *, apart: bool = False) -> None:
        """Run the container. Its output comes in its order, unless output and errors are wanted `apart`."""
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2 if apart else 1)]
        try:
            try:
                container = self._workshop.start(spec, stdin=None, stdout=pipes[0][1], stderr=pipes[-1][1])
            finally:
                for _, write in pipes:
                    os.close(write)
            try:
                self._pump({pipes[-1][0]: events.STDERR, pipes[0][0]: events.STDOUT}, show)
                status = container.wait(seal=True)
            except BaseException:
                container.kill()
                container.wait()
                raise
            finally:
                self._workshop.finished(container)
        finally:
            for read, _ in pipes:
                os.close(read)
        self._workshop.check()
        self.usage = Usage(status.user_seconds + status.system_seconds, status.peak_memory or status.max_rss)
        for warning in container.warnings:
            self._workshop.warn(warning)
        if status.status != 0:
            how = _how(status)
            hint = "" if self._workshop.owners else _SINGLE_ID
            raise StepFailed(f"{self._node.place}: {how}\n  {_first_line(self._node.text)}", status.status, hint=hint)

    def _pump(self, streams: Mapping[int, int], show: Callable[[int, bytes], None]) -> None:
        """Pass output on, and keep it in the log, until all writers are gone."""
        import select

        number = self._node.index + 1
        poll = select.poll()
        for descriptor in streams:
            poll.register(descriptor, select.POLLIN)
        left = len(streams)
        with StepLog(lambda: self._workshop.open_log(number)) as log:
            while left:
                for descriptor, _ in poll.poll():
                    data = os.read(descriptor, _PIECE)
                    if not data:
                        poll.unregister(descriptor)
                        left -= 1
                        continue
                    log.add(data)
                    show(streams[descriptor], data)


class CaptureExecution(RunExecution):
    """A command whose standard output is the result; what it wrote to files is thrown away."""

    def execute(self, staged: str, _near: str | None = None) -> tuple[Captured, str]:
        """Run the command, and make a layer of what it printed. Raises StepFailed."""
        printed: list[bytes] = []

        def show(stream: int, data: bytes) -> None:
            if stream == events.STDOUT:
                printed.append(data)
                if sum(map(len, printed)) > MAX_OUTPUT:
                    raise PybuildError(
                        f"the command printed more than {MAX_OUTPUT >> 10} KiB", hint="print only the value"
                    )
            else:
                self._show(stream, data)

        self._confirm()
        with self._held:
            self._run(self._prepare(staged), show, apart=True)
        fs = os.path.join(staged, "fs")
        os.mkdir(fs, 0o755)
        with self._workshop.writer(fs) as writer:
            writer.add_file(OUTPUT, b"".join(printed))
            return writer.finish(), fs


def _first_line(text: str) -> str:
    line, newline, _ = text.partition("\n")
    return f"{line} …" if newline else line


def _how(ended: ExitStatus) -> str:
    limit = ", out of memory: its limit was reached (--memory)" if ended.out_of_memory else ""
    signal = ended.signal
    if signal is None:
        hint = {126: " (found, but it cannot be executed)", 127: " (command not found)"}.get(ended.status, "")
        return f"the command ended with status {ended.status}{hint}{limit}"
    from signal import Signals

    try:
        name = Signals(signal).name
    except ValueError:
        name = f"signal {signal}"
    return f"the command was ended by {name}{limit}"
