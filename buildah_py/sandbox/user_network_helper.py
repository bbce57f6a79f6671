"""The process that makes networks without root: each network namespace is served by a pasta or slirp4netns of its own.

It speaks as `network_helper` does, and ends every such program when the main process is gone. Where there is no such
program (`NO_TOOL`) namespaces lead nowhere, and are there for what is let in by published ports.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import _socket
import errno
import os

from buildah_py.linux import mounts, namespaces, process
from buildah_py.sandbox import wire
from buildah_py.sandbox.frames import MULTICAST, refuse_frames
from buildah_py.sandbox.host_network import own_addresses
from buildah_py.sandbox.netns import NO_TOOL, add_address, loopback_up, open_to_all_users, refuse

PASTA = ("--config-net", "--quiet", "--no-map-gw", "-t", "none", "-u", "none", "-T", "none", "-U", "none")
_PLACE = "/tmp"  # noqa: S108 (covered by a tmpfs of our own)
SLIRP = ("--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path")

_ALONE = "10.64.0.2"
"""Address of a container in a network where nobody else is: what comes to it does not seem to come from itself."""
_IGNORED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGPIPE)


def main(control: int, tool: str, servers: tuple[str, ...]) -> None:
    """Serve until the other end of `control` is closed; containers may reach `servers` even if this machine is one."""
    for signal in _IGNORED:
        _signal.signal(signal, _signal.SIG_IGN)
    process.set_name("pybuild-network")
    process.set_child_subreaper(True)  # pasta goes into the background once it is ready
    channel = _socket.socket(fileno=control)
    wire.send(channel, ("ready", os.path.basename(tool)))
    network = UserNetwork(tool, set(own_addresses()) - set(servers))
    try:
        network.serve(channel)
    finally:
        os.dup2(0, 2)  # whoever reads what the main process writes does not wait for this
        network.close()


class UserNetwork:
    """The namespaces and the programs that connect them."""

    def __init__(self, tool: str, refused: set[str]) -> None:
        self._tool = tool
        self._refused = refused
        # Programs that give up their privileges cannot look into /proc for a namespace: they find it as a file of a
        # directory that only this mount namespace has.
        namespaces.unshare(namespaces.CLONE_NEWNS)
        mounts.mount("tmpfs", _PLACE, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
        self._ready: list[tuple[int, int]] = []
        self._taken: dict[int, int] = {}
        self._count = 0

    def serve(self, channel: _socket.socket) -> None:
        """Hand out namespaces and take them back."""
        while True:
            message, _ = wire.receive(channel)
            if message is None:
                return
            if message[0] == "take":
                try:
                    number, descriptor = self._ready.pop() if self._ready else self._make()
                except OSError as error:
                    wire.send(channel, ("error", f"connecting a network with {self._tool}", error.strerror))
                    continue
                self._taken[number] = descriptor
                wire.send(channel, ("network", number, ""), (descriptor,))
            else:
                descriptor = self._taken.pop(message[1])
                if message[2]:
                    self._ready.append((message[1], descriptor))
                else:
                    os.close(descriptor)

    def close(self) -> None:
        """End the programs."""
        for child in self._children():
            os.kill(child, _signal.SIGKILL)
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    @staticmethod
    def _children() -> list[int]:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]

    def _make(self) -> tuple[int, int]:
        self._count += 1
        if self._tool == NO_TOOL:
            return self._count, _new_namespace(set(), _ALONE)
        descriptor = _new_namespace(self._refused)
        path = f"{_PLACE}/{self._count}"
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC))
        mounts.mount(f"/proc/self/fd/{descriptor}", path, flags=mounts.MS_BIND)
        try:
            if os.path.basename(self._tool) == "pasta":
                self._pasta(path)
            else:
                self._slirp(path)
            _refuse_frames(descriptor, self._refused)
        except BaseException:
            os.close(descriptor)
            raise
        return self._count, descriptor

    def _pasta(self, path: str) -> None:
        argv = [self._tool, *PASTA, "--no-netns-quit", "--netns-only", "--netns", path]
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, writing, 2)]
        pid = os.posix_spawn(self._tool, argv, {}, file_actions=actions, setsigdef=_IGNORED)
        os.close(writing)
        _, status = os.waitpid(pid, 0)
        said = b""
        if status:
            said = os.read(reading, 4096)
        os.close(reading)
        if status:
            raise OSError(errno.EIO, said.decode(errors="replace").strip() or f"it ended with status {status}")

    def _slirp(self, path: str) -> None:
        reading, writing = os.pipe()
        actions = [(os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, writing, 9)]
        argv = [self._tool, *SLIRP, "--ready-fd=9", path, "tap0"]
        os.posix_spawn(self._tool, argv, {}, file_actions=actions, setsigdef=_IGNORED)
        os.close(writing)
        ready = os.read(reading, 1)
        os.close(reading)
        if not ready:
            raise OSError(errno.EIO, "it ended before the network was ready")


def _refuse_frames(network: int, refused: set[str]) -> None:
    """Refuse frames for these addresses in a network namespace, by way of a child. Raises OSError."""
    child = os.fork()
    if child == 0:
        try:
            namespaces.setns(network, namespaces.CLONE_NEWNET)
            refuse_frames(refused)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    number = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if number:
        raise OSError(number, f"refusing frames for this machine: {os.strerror(number)}")


def _new_namespace(refused: set[str], address: str = "") -> int:
    """Make a network namespace by way of a child: we could not come back from it, the host's is not ours to enter.

    These programs connect from where they run: without further ado they would reach what listens on the host's own
    addresses, `refused`. With `address` it has one of its own.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNET)
            loopback_up()
            open_to_all_users()
            if address:
                add_address(address)
            else:
                refuse((*refused, MULTICAST))
            os.write(writing, b"1")
            _signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        if not os.read(reading, 1):
            raise OSError(errno.EPERM, "no network namespace can be made")
        return os.open(f"/proc/{child}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(reading)
        os.kill(child, _signal.SIGKILL)
        os.waitpid(child, 0)
