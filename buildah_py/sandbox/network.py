"""The main process's side of networks: a namespace for each container that wants one."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError
from buildah_py.sandbox import wire
from buildah_py.sandbox.spawn import spawn

if TYPE_CHECKING:
    import _socket

_HINT = "--network=host and --network=none need no network of their own"
RUN_DIRECTORY = "/run/pybuild/network"


def user_network_tool(path: str) -> tuple[str, str]:
    """Find the program that connects networks without root, or say why none can."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "", "/dev/net/tun cannot be opened"
    for tool in ("pasta", "slirp4netns"):
        for directory in path.split(":"):
            if os.access(f"{directory}/{tool}", os.X_OK):
                return f"{directory}/{tool}", ""
    return "", "neither pasta (package passt) nor slirp4netns is installed"


class NetworkRefused(SandboxError):
    """This process may make no networks: it has no CAP_NET_ADMIN."""


_FIRST_PIDS = "pid:[4026531836]"
"""The pid namespace of the machine itself: PROC_PID_INIT_INO in linux/proc_ns.h."""

_ending: list[int] = []
"""Processes that are still removing what they made."""


def reap_ended() -> None:
    """Forget the processes that have ended, so that a long-lived program has no zombies of them."""
    _ending[:] = [pid for pid in _ending if not _has_ended(pid)]


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # this program has all of its children reaped
        return True


class NetworkLease:
    """A network namespace on loan: hand `descriptor` on, then give the lease back."""

    def __init__(self, number: int, descriptor: int, address: str) -> None:
        self.number = number
        self.descriptor = descriptor
        self.address = address


class Networks:
    """The process that makes networks, started by `start` and asked by `take`; safe with threads.

    With `tool` (the path of pasta or slirp4netns, or NO_TOOL) networks are made without root. Builds of this machine
    meet in `directory`. `process` is the id of that process, 0 where there is none, and `bridge` its bridge's name.
    """

    def __init__(self, servers: tuple[str, ...], directory: str, *, tool: str = "") -> None:
        self._tool = tool
        self._servers = servers
        self.directory = directory
        self._lock = threading.Lock()
        self._control: _socket.socket | None = None
        self.process = 0
        self.bridge = ""

    def start(self) -> None:
        """Begin to make the bridge and a first namespace; returns at once."""
        with self._lock:
            if self._control is None:
                reap_ended()
                if self._tool:
                    call = f"main(3, {self._tool!r}, {self._servers!r})"
                    self._control, self.process = spawn("buildah_py.sandbox.user_network_helper", call)
                else:
                    call = f"main(3, {self.directory!r}, {self._servers!r})"
                    self._control, self.process = spawn("buildah_py.sandbox.network_helper", call, packages=True)

    def take(self) -> NetworkLease:
        """Get a namespace that nobody else uses. Raises SandboxError where no network can be made."""
        self.start()
        with self._lock:
            assert self._control is not None
            if not self.bridge:
                self.bridge = self._answer("ready")[0][1]
            wire.send(self._control, ("take",))
            message, descriptors = self._answer("network")
            return NetworkLease(message[1], descriptors[0], message[2])

    def give(self, lease: NetworkLease, *, reusable: bool) -> None:
        """Return a namespace in which no process is left; `reusable` if its user could not change its interfaces."""
        with self._lock:
            os.close(lease.descriptor)
            if self._control is not None:
                wire.send(self._control, ("give", lease.number, reusable))

    def release(self) -> None:
        """Have everything removed, without waiting; nothing can be taken any more."""
        with self._lock:
            control, self._control = self._control, None
        if control is not None:
            control.close()

    def close(self) -> None:
        """Have everything removed, which takes some 50 ms, most of it the kernel's: it goes on beside this process.

        In a container this process may be the last that matters, and when the first one ends the kernel kills the rest.
        """
        self.release()
        if self.process:
            if os.readlink("/proc/self/ns/pid") == _FIRST_PIDS:
                _ending.append(self.process)
                reap_ended()
            else:
                os.waitpid(self.process, 0)
            self.process = 0

    def _answer(self, kind: str) -> tuple[tuple[Any, ...], list[int]]:
        assert self._control is not None
        message, descriptors = wire.receive(self._control)
        if message is None:
            raise SandboxError("the process that makes networks has ended unexpectedly", hint=_HINT)
        if message[0] == "error":
            refused = NetworkRefused if message[3:] == (errno.EPERM,) else SandboxError
            raise refused(f"{message[1]}: {message[2]}", hint=_HINT)
        assert message[0] == kind
        return message, descriptors
