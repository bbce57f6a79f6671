"""The main process's side: a sandbox that starts containers, and a container that runs."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any, Self

from buildah_py import debug
from buildah_py.errors import SandboxError
from buildah_py.frozen import asdict, replace
from buildah_py.linux import mounts
from buildah_py.linux.identity import has_single_id, in_user_namespace, may_mount
from buildah_py.sandbox import capabilities, plan, wire
from buildah_py.sandbox.network import RUN_DIRECTORY, Networks, user_network_tool
from buildah_py.sandbox.resolver import is_replaced, servers
from buildah_py.sandbox.spawn import spawn
from buildah_py.sandbox.spec import ExitStatus, ResourceLimits

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from buildah_py.sandbox.spec import ContainerSpec, ObservedLayers

_SIGKILL = 9
_TRIES = 10
_OF_MACHINE = {errno.EPERM, errno.ENOSYS, errno.ENODEV, errno.EINVAL, errno.ENOSPC, errno.ENOTSUP}
"""Errors that say more about the machine than about the build."""
_CHANGES_NETWORK = capabilities.mask(("NET_ADMIN", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO", "BPF"))


class Container:
    """A container that was started. `terminal` is the master of its pty (close it after use), -1 without."""

    def __init__(self, channel: _socket.socket, done: Callable[[], None], warnings: list[str]) -> None:
        self._channel = channel
        self._done: Callable[[], None] | None = done
        self._lock = threading.RLock()  # a handler of signals may come while it is held
        self._ended: ExitStatus | SandboxError | None = None
        self._root = -1
        self.terminal = -1
        self.unobserved = False
        """Whether the process that observed it has ended before it, so that files were missing; known after `wait`."""
        self.warnings = warnings
        """Things that this machine could not do for the container; complete after `wait`."""

    def signal(self, number: int) -> None:
        """Send a signal to the command; after its end nothing happens."""
        with self._lock:
            if self._channel.fileno() != -1:
                wire.send(self._channel, int(number))

    def kill(self) -> None:
        """End everything in the container at once."""
        self.signal(_SIGKILL)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size."""
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def open_terminal(self) -> int:
        """Wait for the terminal of a container that was started with one and give its master."""
        message, descriptors = self._receive()
        if descriptors:
            self.terminal = descriptors[0]
            return self.terminal
        self._close()
        raise _refusal(message)

    def wait(self, *, seal: bool = False) -> ExitStatus:
        """Wait until the container is gone with all its processes; later calls give the same again.

        With `seal`, what a command that succeeded has written is then unchangeable: of its root no descriptor is of
        use any more that it may have passed to another container. Raises SandboxError where the container could not be
        made, or where a file in its root is still open for writing.
        """
        if self._ended is None:
            try:
                self._ended = self._wait(seal=seal)
            except SandboxError as error:
                self._ended = error
            finally:
                if self._root != -1:
                    os.close(self._root)
                    self._root = -1
        if isinstance(self._ended, SandboxError):
            raise self._ended
        return self._ended

    def _receive(self) -> tuple[Any, list[int]]:
        """Give the next message, but for warnings and the root, which are kept."""
        while True:
            message, descriptors = wire.receive(self._channel)
            if message is None or message[0] not in {"warning", "unobserved", "root"}:
                return message, descriptors
            if message[0] == "warning":
                self.warnings.append(message[1])
            elif message[0] == "unobserved":
                self.unobserved = True
            else:
                (self._root,) = descriptors

    def _wait(self, *, seal: bool) -> ExitStatus:
        result: ExitStatus | None = None
        error: SandboxError | None = None
        while True:
            event, _ = self._receive()
            if event is None:
                self._close()
                raise error or SandboxError("the process that runs containers has ended unexpectedly")
            if event[0] == "error":
                error = error or _refusal(event)
            elif event[0] == "exit":
                result = ExitStatus(
                    status=event[1],
                    signal=event[2] or None,
                    user_seconds=event[3],
                    system_seconds=event[4],
                    max_rss=event[5],
                )
            elif event[0] == "gone":
                self._close()
                debug.log("container: ended, %s", error.message if error else result or _killed(event[1]))
                if error:
                    raise error
                result = result or _killed(event[1])
                if seal and result.status == 0:
                    _seal(self._root)
                if event[3]:
                    self.warnings.append("a process was ended: the container's limit of memory was reached (--memory)")
                return replace(result, peak_memory=event[2], out_of_memory=bool(event[3]))

    def _close(self) -> None:
        with self._lock:
            self._channel.close()
            done, self._done = self._done, None
        if done is not None:
            done()


def _seal(root: int) -> None:
    """Make the file system of a container that is gone read-only. Raises SandboxError while somebody writes to it."""
    for attempt in range(_TRIES):
        try:
            mounts.make_read_only(root)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise SandboxError(f"cannot make what the command wrote read-only: {error.strerror}") from None
            if attempt == _TRIES - 1:
                raise SandboxError(
                    "a file that the command wrote is still open for writing, though all its processes have ended",
                    hint="did it pass a descriptor to another step, through a cache mount that both use?",
                ) from None
            time.sleep(0.001 * 2**attempt)  # the kernel closes some files a little later
        else:
            return


def _killed(status: int) -> ExitStatus:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    code = 128 + number if number else os.WEXITSTATUS(status)
    return ExitStatus(status=code, signal=number, user_seconds=0, system_seconds=0, max_rss=0)


def _refusal(event: tuple[Any, ...] | None) -> SandboxError:
    if event is None or event[0] != "error":
        return SandboxError("the container ended before it was made")
    _, what, why, number = event
    hint = "`pybuild doctor` tells what this machine allows" if number in _OF_MACHINE else ""
    if number in (errno.ENOSPC, errno.EDQUOT) and "process" not in what:  # which is how full tables of these are told
        hint = "`pybuild prune` frees space"
    if what == "USER" and number == errno.EINVAL:
        from buildah_py.layers.owner import HINT

        hint = HINT
    elif what == "USER" and not number:
        hint = "add the user in an earlier RUN, or write its number"
    return SandboxError(f"cannot run the container: {what}: {why}", hint=hint)


class Sandbox:
    """Makes containers. The helper process is started by `start`, or with the first container.

    `helper` is its process id, 0 where there is none; `networks` makes the networks.
    """

    def __init__(self, state_dir: str, *, path: str = os.defpath) -> None:
        """Keep locks in `state_dir` where there is no /run; `path` is where programs are looked for."""
        self._lock = threading.Lock()
        self._control: _socket.socket | None = None
        self.helper = 0
        self._unprivileged = in_user_namespace()
        directory = RUN_DIRECTORY if os.access("/run", os.W_OK) else f"{state_dir}/network"
        tool, self._no_network = user_network_tool(path) if self._unprivileged else ("", "")
        self.networks = Networks(tuple(servers()), directory, tool=tool)
        self._single_id = has_single_id()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def start(self, *, network: bool = False) -> None:
        """Start the helper process, unless it runs. Safe with threads at any time: it is executed, not forked.

        With `network`, begin to make the network that containers with the default one will want. Raises SandboxError
        where this process may make no containers at all.
        """
        if not may_mount():
            raise SandboxError(
                "cannot run containers: this root may not mount (no CAP_SYS_ADMIN), nor make user namespaces",
                hint="a container around us has to allow user namespaces, or give CAP_SYS_ADMIN; see `pybuild doctor`",
            )
        if network and not self._no_network:
            self.networks.start()
        with self._lock:
            if self._control is None:
                self._control, self.helper = spawn("buildah_py.sandbox.helper", "main(3)")

    def start_container(
        self,
        container: ContainerSpec,
        *,
        stdin: int | None = None,
        stdout: int = 1,
        stderr: int = 2,
        observed: ObservedLayers | None = None,
    ) -> Container:
        """Start a command on the given descriptors (no stdin is /dev/null; with a tty they are not used).

        With `observed`, note what it learns of some layers, where the machine can.
        """
        plan.check(container)
        warnings = []
        if container.network == "default" and container.isolation == "chroot":
            warnings.append("isolation chroot: containers use the host's network")
            container = replace(container, network="host")
        if container.network == "default" and self._no_network:
            warnings.append(f"no network of its own for the container, it uses the host's: {self._no_network}")
            container = replace(container, network="host")
        if container.network == "default" and not container.dns and is_replaced():
            warnings.append(
                "the name servers of this machine listen on loopback, where containers do not reach them: "
                f"they ask {' and '.join(servers())}; --dns names others"
            )
        self.start(network=container.network == "default")
        description, descriptors = plan.description(
            container, observed, unprivileged=self._unprivileged, single_id=self._single_id
        )
        streams = [] if container.tty else [(0, stdin), (1, stdout), (2, stderr)]
        given = [(place, stream) for place, stream in streams if stream is not None]
        limits = asdict(container.limits) if container.limits != ResourceLimits() else None
        filtered = container.seccomp == "default" and container.security == "sandbox"
        lease = self.networks.take() if container.network == "default" else None
        ours, theirs = wire.pair()
        memory = os.memfd_create("container", os.MFD_CLOEXEC)
        try:
            data = wire.pack(description)
            size = len(data)
            view = memoryview(data)
            while view:
                view = view[os.write(memory, view) :]
            request = {
                "size": size,
                "streams": tuple(place for place, _ in given),
                "network": lease is not None,
                "limits": limits,
                "id_maps": description["id_maps"] if container.uid_map else None,
                "unprivileged": self._unprivileged,
                "observed": observed is not None,
                "filter": (description["capabilities"], self._single_id) if filtered else None,
            }
            sent = [theirs.fileno(), memory, *(stream for _, stream in given)]
            sent += [*([lease.descriptor] if lease else []), *([observed.report] if observed else []), *descriptors]
            self._send(request, sent)
        except BaseException:
            ours.close()
            if lease:
                self.networks.give(lease, reusable=True)
            raise
        finally:
            theirs.close()
            os.close(memory)
        debug.log("container: started")
        reusable = not description["capabilities"] & _CHANGES_NETWORK

        def done() -> None:
            if lease:
                self.networks.give(lease, reusable=reusable)

        return Container(ours, done, warnings)

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
        self.networks.close()

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        assert self._control is not None
        if not wire.send(self._control, request, descriptors):
            raise SandboxError("the process that runs containers has ended unexpectedly")
