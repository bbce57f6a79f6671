"""The main process's side: a sandbox that starts containers.

What describes a container is imported for the first one: the helper is on its way by then.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from buildah_py import debug
from buildah_py.errors import SandboxError
from buildah_py.frozen import asdict, replace
from buildah_py.linux.identity import effective_capabilities, has_single_id, in_user_namespace, may_mount
from buildah_py.sandbox import wire
from buildah_py.sandbox.below import RememberedAnswers
from buildah_py.sandbox.netns import NO_TOOL
from buildah_py.sandbox.network import RUN_DIRECTORY, NetworkRefused, Networks, user_network_tool
from buildah_py.sandbox.resolver import is_replaced, servers
from buildah_py.sandbox.rungs import PROOT, WITHOUT_CONTAINER, find_proot, taken
from buildah_py.sandbox.spawn import spawn
from buildah_py.sandbox.spec import ExitStatus, ResourceLimits

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

    from buildah_py.sandbox.ports import Forwarder, Listeners
    from buildah_py.sandbox.roots import RootKeeper
    from buildah_py.sandbox.spec import ContainerSpec, ObservedLayers
    from buildah_py.sandbox.started import Container


def refuse_where_impossible(path: str = os.defpath) -> None:
    """Raise SandboxError, which says who refuses it, where this process may make no containers at all.

    Programs are looked for in `path`.
    """
    if may_mount():
        return
    from buildah_py.sandbox.place import ELSEWHERE, who_refuses_namespaces

    refusal = who_refuses_namespaces()
    missing = "" if find_proot(path) else " once it is installed (apt-get install proot)"
    who = "user" if os.geteuid() else "root"
    raise SandboxError(
        f"cannot run containers: this {who} may not mount (no CAP_SYS_ADMIN), nor make user namespaces: "
        f"{refusal.who} refuses them",
        hint=f"{refusal.remedy} allows them{'' if os.geteuid() else ELSEWHERE}, and --isolation={PROOT} does without"
        f"{missing}; see `pybuild doctor`",
    )


class Sandbox:
    """Makes containers. The helper process is started by `start`, or with the first container.

    `helper` is its process id, 0 where there is none; `networks` makes the networks.
    """

    def __init__(self, state_dir: str, *, path: str = os.defpath, left: Sequence[str] = (), tracers: str = "") -> None:
        """Keep locks in `state_dir` where there is no /run; `path` is where programs are looked for.

        PRoot is looked for in `tracers`, if that is given. Where commands run in place, what lies at the paths `left`
        is not theirs.
        """
        self._lock = threading.Lock()
        self._control: _socket.socket | None = None
        self._count = 0
        self.helper = 0
        self._unprivileged = in_user_namespace()
        directory = RUN_DIRECTORY if os.access("/run", os.W_OK) else f"{state_dir}/network"
        tool, self._no_network = user_network_tool(path) if self._unprivileged else ("", "")
        self.networks = Networks(tuple(servers()), directory, tool=tool or (NO_TOOL if self._unprivileged else ""))
        self._single_id = has_single_id()
        self._path = path
        self._tracers = tracers or path
        self._told = False
        self._answers = RememberedAnswers()
        self._left = left
        self._state_dir = state_dir
        self._caches = f"{os.path.dirname(state_dir)}/cache-mounts"
        self._keepers: dict[str, RootKeeper] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self, *, network: bool = False) -> None:
        """Start the helper process, unless it runs. Safe with threads at any time: it is executed, not forked.

        With `network`, begin to make the network that containers with the default one will want.
        """
        if network and not self._no_network:
            self.networks.start()
        with self._lock:
            if self._control is None:
                self._control, self.helper = spawn(
                    "buildah_py.sandbox.helper", f"main(3, unprivileged={self._unprivileged})"
                )

    def start_container(
        self,
        container: ContainerSpec,
        *,
        stdin: int | None = None,
        stdout: int = 1,
        stderr: int = 2,
        observed: ObservedLayers | None = None,
        listeners: Listeners | None = None,
    ) -> Container:
        """Start a command on the given descriptors (no stdin is /dev/null; with a tty they are not used).

        With `observed`, note what it learns of some layers, where the machine can. What comes to `listeners` is passed
        on into the container's network, if it has one of its own; else they are closed, with a warning.
        """
        from buildah_py.sandbox import plan
        from buildah_py.sandbox.started import Container

        plan.check(container)
        if (rung := taken(container.isolation, self._tracers)) != container.isolation:
            container = replace(container, isolation=rung)
        if container.isolation in WITHOUT_CONTAINER:
            return self._start_plain(container, (stdin, stdout, stderr), listeners)
        refuse_where_impossible(self._tracers)
        warnings = []
        if container.network == "default" and container.isolation == "chroot":
            warnings.append("isolation chroot: containers use the host's network")
            container = replace(container, network="host")
        if container.network == "default" and self._no_network and listeners is not None:
            warnings.append(f"the container is reached by its published ports, and reaches nothing: {self._no_network}")
        elif container.network == "default" and self._no_network:
            warnings.append(f"no network of its own for the container, it uses the host's: {self._no_network}")
            container = replace(container, network="host")
        if container.network == "default" and not container.dns and is_replaced():
            warnings.append(
                "the name servers of this machine listen on loopback, where containers do not reach them: "
                f"they ask {' and '.join(servers())}; --dns names others"
            )
        self.start(network=container.network == "default")
        if container.isolation == "nested" or self._unprivileged:
            self._say_little(forced=container.isolation == "nested")
        limits = asdict(container.limits) if container.limits != ResourceLimits() else None
        try:
            lease = self.networks.take() if container.network == "default" else None
        except NetworkRefused as error:
            if container.isolation == "full":
                raise
            lease = None
            warnings.append(f"no network of its own for the container, it uses the host's: {error.message}")
            container = replace(container, network="host")
        description, descriptors = plan.description(
            container, observed, unprivileged=self._unprivileged, single_id=self._single_id
        )
        forwarder: Forwarder | None = None
        reusable = True

        def done() -> None:
            if forwarder:
                forwarder.close()
            if lease:
                self.networks.give(lease, reusable=reusable)

        try:
            if listeners is not None and lease is None:
                listeners.close()
                warnings.append("the container uses this machine's network: no ports are published, they are its own")
            elif listeners is not None and lease is not None and listeners.published:
                forwarder = listeners.forward(lease.descriptor)
            more = {
                "network": lease is not None,
                "limits": limits,
                "id_maps": description["id_maps"] if container.uid_map else None,
                "observed": observed is not None,
                "root": (container.init, container.upper, container.work),
                "path": self._path,
                "full": container.isolation == "full",
            }
            reports = [observed.report] if observed else []
            descriptors = [*([lease.descriptor] if lease else []), *reports, *descriptors]
            if not container.uid_map:  # with which they would look otherwise
                description["below"] = self._answers.known(container.lowers)
            number, ours = self._ask(container, description, (stdin, stdout, stderr), more, descriptors)
        except BaseException:
            done()
            raise
        reusable = not plan.changes_network(description)
        debug.log("container: started")
        keep = partial(self._answers.keep, container.lowers)
        return Container(number, ours, done, warnings, container.upper, container.isolation, below=keep)

    def _start_plain(
        self, container: ContainerSpec, streams: tuple[int | None, ...], listeners: Listeners | None
    ) -> Container:
        """Start a command without a container, in a root of its rung."""
        from buildah_py.sandbox import plan
        from buildah_py.sandbox.roots import TracedRoot
        from buildah_py.sandbox.started import Container

        plan.check_plain(container)
        self.start()
        self._say_little(forced=True)
        keeper, warnings = self._keeper_of(container.isolation), []
        if listeners is not None:
            listeners.close()
            warnings.append("the command uses this machine's network: no ports are published, they are its own")
        warnings += plan.without_effect(container, effective_capabilities())
        container = replace(container, network="host")
        try:
            entered = keeper.enter(container)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise SandboxError(f"cannot make the root of a command: {error.strerror}{where}") from error
        try:
            own = replace(entered.container, mounts=())
            description, _ = plan.description(own, unprivileged=self._unprivileged, single_id=self._single_id)
            description.update(plain=True, root=entered.path, keep_user=entered.keep_user)
            if isinstance(entered, TracedRoot):
                description.update(through=(*entered.through,), starter=entered.starter, scratch=entered.scratch)
            limits = asdict(container.limits) if container.limits != ResourceLimits() else None
            more = {"plain": True, "limits": limits, "id_maps": None, "unprivileged": self._unprivileged}
            number, ours = self._ask(own, description, streams, more, [])
        except BaseException:
            entered.leave()
            raise
        debug.log("command: started")
        started = Container(number, ours, lambda: None, warnings, container.upper, container.isolation, root=entered)
        started.lacks(keeper.shortfall)
        return started

    def _keeper_of(self, rung: str) -> RootKeeper:
        """Give what makes the roots of commands on a rung without containers. Raises SandboxError."""
        with self._lock:
            if rung not in self._keepers:
                self._keepers[rung] = self._new_keeper(rung)
            return self._keepers[rung]

    def _new_keeper(self, rung: str) -> RootKeeper:
        directory = f"{self._state_dir}/{rung}"
        if rung == PROOT:
            from buildah_py.sandbox.proot import PRoot

            return PRoot(directory, self._tracers)
        from buildah_py.sandbox.in_place import InPlace

        return InPlace(self._left, os.environ, self._caches)

    def _say_little(self, *, forced: bool) -> None:
        """Show no arguments to containers that may get to see this process, its later threads too; once."""
        if self._told:
            return
        self._told = True
        from buildah_py.linux.process import set_command_line
        from buildah_py.sandbox.place import is_proc_covered

        if forced or is_proc_covered():
            set_command_line("pybuild")

    def join_container(
        self, running: Container, container: ContainerSpec, *, stdin: int = 0, stdout: int = 1, stderr: int = 2
    ) -> Container:
        """Start a further command in a joinable container that runs: `container` with another command, user, terminal.

        Raises SandboxError where it has ended.
        """
        from buildah_py.sandbox import plan
        from buildah_py.sandbox.started import Container

        plan.check(container)
        if not running.namespaces:
            raise SandboxError("no further command can be started in the container: it has ended, or not begun")
        own = replace(container, mounts=())
        description, _ = plan.description(own, unprivileged=self._unprivileged, single_id=self._single_id)
        more = {"join": running.number}
        number, ours = self._ask(own, description, (stdin, stdout, stderr), more, list(running.namespaces))
        return Container(number, ours, lambda: None, [])

    def _ask(
        self,
        container: ContainerSpec,
        description: dict[str, Any],
        streams: tuple[int | None, ...],
        more: dict[str, Any],
        descriptors: list[int],
    ) -> tuple[int, _socket.socket]:
        """Ask the helper for a process; gives the number that it has there, and our end of its channel."""
        filtered = container.seccomp == "default" and container.security == "sandbox"
        if container.isolation in WITHOUT_CONTAINER and not container.no_new_privileges:
            filtered = False  # installing one takes that, or a privilege; the filter around this process holds anyway
        given = [(place, stream) for place, stream in enumerate(streams) if stream is not None and not container.tty]
        ours, theirs = wire.pair()
        memory = os.memfd_create("container", os.MFD_CLOEXEC)
        try:
            data = wire.pack(description)
            size = len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(memory, view) :]
            with self._lock:
                self._count += 1
                number = self._count
            request = {
                **more,
                "number": number,
                "size": size,
                "streams": tuple(place for place, _ in given),
                "filter": (description["capabilities"], self._single_id) if filtered else None,
            }
            self._send(request, [theirs.fileno(), memory, *(stream for _, stream in given), *descriptors])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        return number, ours

    def run(
        self, container: ContainerSpec, *, stdin: int | None = None, stdout: int = 1, stderr: int = 2
    ) -> ExitStatus:
        """Run a command to its end; an exception meanwhile (KeyboardInterrupt) kills it."""
        running = self.start_container(container, stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            return running.wait()
        except BaseException:
            running.kill()
            raise

    def release(self) -> None:
        """Begin to end everything, without waiting: worth calling once no container will be started any more."""
        self.networks.release()
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            control.close()

    def close(self) -> None:
        """End the helper with whatever still runs, and wait until no process of a container is left."""
        self.release()
        if self.helper:
            os.waitpid(self.helper, 0)
            self.helper = 0
        while self._keepers:
            self._keepers.popitem()[1].close()
        self.networks.close()

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        assert self._control is not None
        if not wire.send(self._control, request, descriptors):
            raise SandboxError("the process that runs containers has ended unexpectedly")
