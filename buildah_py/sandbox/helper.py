"""The small process that forks containers, so that the main process may have threads and never forks.

It is executed as a clean interpreter, imports os, a few C modules and `linux`, and is told everything over one socket:
each datagram on it asks for one container and carries descriptors: the container's own channel, a memory file with its
description, what it needs of streams and networks. It ends when the main process does, and nothing it started survives.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes 3 ms for its enums
import _socket
import errno
import gc
import os
import select

from buildah_py.linux import process
from buildah_py.linux.descendants import end_children
from buildah_py.sandbox import (
    capabilities,
    cgroups,
    command,
    confine,
    container,
    idmap,
    joining,
    observer_process,
    plain,
    seccomp,
    watcher,
    wire,
    writable,
)
from buildah_py.sandbox.first_process import FirstProcesses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from buildah_py.sandbox.idmap import Ranges

_WORSE, _WORST = 100, 1000
"""By how much a step is likelier to be ended for want of memory than what started it, and what the kernel takes."""


class _Running:
    """A container that lives: its first process and the socket over which the main process hears of it."""

    __slots__ = ("channel", "group", "joined", "listening", "number", "observer", "pid", "pidfd", "plain", "result")

    def __init__(
        self,
        number: int,
        pid: int,
        channel: _socket.socket,
        result: int,
        group: cgroups.Group | None,
        observer: observer_process.ObserverProcess | None,
        *,
        joined: bool,
        plain: bool,
    ) -> None:
        self.number = number
        self.plain = plain
        self.joined = joined
        self.group = group
        self.observer = observer
        self.result = result
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.channel = channel
        self.listening = True

    def signal(self, number: int) -> None:
        """Send a signal; where no PID namespace ends with it, it ends its processes itself before it is killed."""
        os.kill(self.pid, plain.END if self.plain and number == _signal.SIGKILL else number)


def main(control: int, *, unprivileged: bool) -> None:
    """Serve until the other end of `control` is closed; `unprivileged` says that this is a user namespace."""
    for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:  # whatever our caller ignores
        _signal.signal(number, _signal.SIG_IGN if number in command.IGNORED else _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    process.set_name("pybuild-helper")
    process.set_command_line("pybuild-helper")  # containers see it, and have no business with paths of the host
    process.set_child_subreaper(True)
    gc.disable()  # a collection would touch, and so copy, memory that each container's processes share with this one
    os.umask(0)
    Helper(_socket.socket(fileno=control), unprivileged=unprivileged).serve()


def _last_words(result: int) -> bytes:
    """Read what a first process has left behind, which a step may have got at: it may be anything, or held open."""
    os.set_blocking(result, False)
    try:
        return os.read(result, watcher.ENDED.size)
    except BlockingIOError:
        return b""
    finally:
        os.close(result)


class Helper:
    """The loop: requests on the control socket, signals on each container's, ends of containers."""

    def __init__(self, control: _socket.socket, *, unprivileged: bool) -> None:
        self._control = control
        self._poll = select.epoll()
        self._running: dict[int, _Running] = {}
        self._unprivileged = unprivileged
        self._first = FirstProcesses(self._become, unprivileged=unprivileged)
        self._poll.register(control.fileno(), select.EPOLLIN)
        self._groups = 0
        self._busy: list[cgroups.Group] = []
        self._trials = writable.Trials()
        self._servers: dict[int, int] = {}
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            # Where memory runs out, the kernel shall end a step rather than the builder.
            self._badness = str(min(max(int(file.read()), 0) + _WORSE, _WORST))
        self._user_namespaces: dict[tuple[Ranges, Ranges], int] = {}
        self._filters: dict[tuple[int, bool], tuple[bytes, str]] = {}
        self._filter(capabilities.DEFAULT, ignore_owners=False)  # almost every container wants it, and nobody waits yet
        try:
            self._confinement = seccomp.compile_list(confine.CALLS)
        except seccomp.UnavailableError:  # whoever asks for a filter is warned
            self._confinement = b""

    def serve(self) -> None:
        """Serve until the main process is gone and every container with it."""
        serving = True
        while serving or self._running:
            asked = False
            if serving:
                self._first.prepare()
            for descriptor, _event in self._poll.poll():
                if descriptor == self._control.fileno():
                    asked = True  # and answered last: a new container may get the descriptors of one that has ended
                    continue
                if descriptor in self._servers:
                    self._served(descriptor)
                    continue
                running = self._running.get(descriptor)
                if running is None:
                    continue
                if descriptor == running.pidfd:
                    self._ended(running)
                else:
                    self._told(running)
            if asked:
                serving = self._request()
        self._first.close()
        for server in self._servers.values():  # whose file system nobody uses any more
            os.kill(server, _signal.SIGKILL)
        busy, self._busy = self._busy, []
        for group in busy:
            self._remove(group)

    def _served(self, pidfd: int) -> None:
        """Forget a process whose file system is gone."""
        self._poll.unregister(pidfd)
        os.waitpid(self._servers.pop(pidfd), 0)
        os.close(pidfd)

    def _request(self) -> bool:
        message, descriptors = wire.receive(self._control)
        if message is None:
            self._poll.unregister(self._control.fileno())
            for running in set(self._running.values()):
                running.signal(_signal.SIGKILL)
            return False
        try:
            self._start(_socket.socket(fileno=descriptors[0]), message, descriptors[1:])
        finally:
            for descriptor in descriptors[1:]:
                os.close(descriptor)
        return True

    def _filter(self, wanted: int, ignore_owners: bool) -> tuple[bytes, str]:
        """Give the system call filter for a container with these capabilities, or why there is none."""
        key = wanted, ignore_owners
        if key not in self._filters:
            try:
                self._filters[key] = (seccomp.compile_filter(wanted, ignore_owners=ignore_owners), "")
            except seccomp.UnavailableError as error:
                self._filters[key] = (b"", str(error))
        return self._filters[key]

    def _user_namespace(self, maps: tuple[Ranges, Ranges]) -> int:
        """Give the user namespace for containers with these ids; one does for all of them."""
        if maps not in self._user_namespaces:
            self._user_namespaces[maps] = idmap.new_user_namespace(*maps)
        return self._user_namespaces[maps]

    def _start(self, channel: _socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
        missing = self._filter(*request["filter"])[1] if request["filter"] is not None else ""
        if missing:
            wire.send(channel, ("warning", f"system calls are not filtered: {missing}"))
        join = request.get("join")
        try:
            group = self._group(request) if join is None else self._group_of(join)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            what = "setting limits" if join is None else "joining the container"
            wire.send(channel, ("error", what, f"{error.strerror}{where}", error.errno or 0))
            channel.close()
            return
        kind, server = writable.OVERLAY, None
        is_plain: bool = request.get("plain", False)
        if is_plain:
            process.set_dumpable(False)  # nothing else keeps a command of this process's user from looking into it
        try:
            if join is None and not is_plain:
                kind, server = self._writable(channel, request, descriptors)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            wire.send(channel, ("error", writable.TRYING, f"{error.strerror}{where}", error.errno or 0))
            channel.close()
            self._remove(group)
            return
        observing = None if is_plain or kind != writable.OVERLAY else observer_process.start(request, descriptors)
        user_namespace = -1
        result, ended = os.pipe2(os.O_CLOEXEC)
        serving = server or observing
        try:
            if join is None and request["id_maps"] is not None:
                user_namespace = self._user_namespace(request["id_maps"])
            request |= {
                "writable": kind,
                "group": group.directories if group else (),
                "user_namespace": user_namespace != -1,
                "served": serving is not None,
            }
            ends = (-1, -1) if serving is None else serving.ends
            more = [one for one in (channel.fileno(), ended, user_namespace, *ends) if one != -1]
            if join is None and not is_plain:
                pid = self._first.start(request, [*more, *descriptors])
            else:
                pid = self._fork(request, [*more, *descriptors])
        except OSError as error:
            maps = join is None and request["id_maps"] is not None
            what = "making a user namespace" if maps and user_namespace == -1 else "making a process"
            wire.send(channel, ("error", what, error.strerror, error.errno))
            channel.close()
            os.close(result)
            os.close(ended)
            if join is None:
                self._remove(group)
            if observing is not None:
                observing.close_ends()
                observing.end()
            if server is not None:
                server.close_ends()
            return
        os.close(ended)
        for one in (observing, server):
            if one is not None:
                one.close_ends()
        running = _Running(
            request["number"], pid, channel, result, group, observing, joined=join is not None, plain=is_plain
        )
        for descriptor in (running.pidfd, channel.fileno()):
            self._running[descriptor] = running
            self._poll.register(descriptor, select.EPOLLIN)

    def _writable(
        self, channel: _socket.socket, request: dict[str, Any], descriptors: list[int]
    ) -> tuple[str, writable.OverlayServer | None]:
        """Find out what makes the root of a container writable, say so if it is no overlay, and begin to serve it.

        Raises OSError.
        """
        why = self._trials.refusal(request["root"], unprivileged=self._unprivileged)
        if not why:
            return writable.OVERLAY, None
        if request["full"]:
            raise OSError(errno.EINVAL, f"no overlay can be written to there ({why})", request["root"][1])
        program = writable.find_program(request["path"])
        server, lacking = None, f"{writable.PROGRAM} is not installed"
        if program:
            try:
                server = writable.OverlayServer(
                    program, request["root"][1], descriptors[0], request["size"], unprivileged=self._unprivileged
                )
            except OSError as error:
                lacking = f"{writable.PROGRAM} cannot be used ({error.filename or program}: {error.strerror})"
        if server is None:
            wire.send(channel, ("writable", writable.COPY, why, lacking))
            return writable.COPY, None
        pidfd = os.pidfd_open(server.pid)
        self._servers[pidfd] = server.pid
        self._poll.register(pidfd, select.EPOLLIN)
        wire.send(channel, ("writable", writable.FUSE, why, ""))
        return writable.FUSE, server

    def _group(self, request: dict[str, Any]) -> cgroups.Group | None:
        """Make the group of a container that has limits. Raises OSError."""
        if not request["limits"]:
            return None
        self._groups += 1
        return cgroups.Group(request["limits"], cgroups.name_of(os.getpid(), self._groups))

    def _group_of(self, number: int) -> cgroups.Group | None:
        """Give the group of a container that runs. Raises OSError where it has ended."""
        for running in self._running.values():
            if running.number == number:
                return running.group
        raise ProcessLookupError(errno.ESRCH, "it has ended")

    def _fork(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """Fork a process that joins a container, or does without one. Raises OSError."""
        pid = os.fork()
        if pid == 0:
            try:
                self._become(request, descriptors)
            finally:
                os._exit(125)
        return pid

    def _become(self, request: dict[str, Any], descriptors: list[int]) -> NoReturn:
        """Be what was asked for: a container's first process, a process in one, or one that does without."""
        for directory in request["group"]:
            cgroups.join(directory)
        if request.get("plain"):
            process.set_dumpable(True)  # else this file is root's; `plain` undoes it
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(self._badness)
        process.close_all_but(*descriptors)
        rest = list(descriptors)
        channel, ended = _socket.socket(fileno=rest.pop(0)), rest.pop(0)
        user_namespace = rest.pop(0) if request["user_namespace"] else -1
        ends = (rest.pop(0), rest.pop(0)) if request["served"] else (-1, -1)
        memory = rest.pop(0)
        description = wire.unpack(os.pread(memory, request["size"], 0))
        os.close(memory)
        if request["filter"] is not None:
            description["seccomp"], _ = self._filter(*request["filter"])
        description["seccomp_of_first"] = self._confinement
        description["writable"] = request["writable"]
        streams = [-1, -1, -1]
        for place in request["streams"]:
            streams[place] = rest.pop(0)
        three = streams[0], streams[1], streams[2]
        if "join" in request:
            joining.main(description, channel, three, tuple(rest), ended)
        if request.get("plain"):
            plain.main(description, channel, three, ended)
        network = rest.pop(0) if request["network"] else -1
        if request["observed"]:
            os.close(rest.pop(0))
        container.main(description, channel, three, network, tuple(rest), ended, user_namespace, ends)

    def _told(self, running: _Running) -> None:
        message, _ = wire.receive(running.channel)
        if message is not None:
            running.signal(message)
        else:
            self._poll.unregister(running.channel.fileno())
            running.listening = False
            running.signal(_signal.SIGKILL)

    def _ended(self, running: _Running) -> None:
        _, status = os.waitpid(running.pid, 0)
        if running.plain:  # which somebody may have killed before it could end what it was to end
            end_children({one.pid for one in self._running.values()} | {*self._servers.values(), self._first.ahead})
        peak, killed = 0, 0
        if running.group and not running.joined:
            peak, killed = running.group.measured()
            self._remove(running.group)
        record = _last_words(running.result)
        observed = running.observer is None or running.observer.end()
        if running.listening:
            self._poll.unregister(running.channel.fileno())
            if not observed:
                wire.send(running.channel, ("unobserved",))
            if len(record) == watcher.ENDED.size:
                code, number, user, system, largest = watcher.ENDED.unpack(record)
                seconds = user / 1_000_000, system / 1_000_000
                wire.send(running.channel, ("exit", code & 0xFF, number & 0x7F, *seconds, largest))
            wire.send(running.channel, ("gone", status, peak, killed))
        self._poll.unregister(running.pidfd)
        del self._running[running.pidfd], self._running[running.channel.fileno()]
        os.close(running.pidfd)
        running.channel.close()

    def _remove(self, group: cgroups.Group | None) -> None:
        """Remove a group; one that stays busy is tried again at the end, and by the next build's sweep."""
        if group is None:
            return
        try:
            group.remove()
        except OSError:
            self._busy.append(group)
