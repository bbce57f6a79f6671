"""First processes of containers, in new pid namespaces; one is forked ahead, so that no container waits for that."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `helper`
import os

from buildah_py.linux import namespaces, process
from buildah_py.sandbox import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    Become = Callable[[Any, list[int]], NoReturn]

_FAILED = 125


class FirstProcesses:
    """Those of one helper, which is their parent. Each becomes a container by `become`, with a request and descriptors.

    The one that is ahead holds nothing but its end of a connection, and ends with the helper.
    """

    def __init__(self, become: Become, *, unprivileged: bool) -> None:
        self._become = become
        self._fork = _fork_twice if unprivileged else _Fork()
        self._ahead: tuple[int, _socket.socket] | None = None
        self._refused = False

    @property
    def ahead(self) -> int:
        """The id of the process that is ahead; -1 while none is."""
        return -1 if self._ahead is None else self._ahead[0]

    def prepare(self) -> None:
        """Fork one ahead, unless there is one. Where that cannot be, it is not tried again; `start` will hear why."""
        if self._ahead is not None or self._refused:
            return
        ours, theirs = wire.pair()
        try:
            pid, ready = self._fork()
        except OSError:
            self._refused = True
            ours.close()
            theirs.close()
            return
        if pid == 0:
            try:
                process.close_all_but(theirs.fileno(), *({ready} - {-1}))
                _begin(ready)
                request, descriptors = wire.receive(theirs)
                theirs.close()
                if request is not None:
                    self._become(request, descriptors)
            finally:
                os._exit(_FAILED)
        theirs.close()
        self._ahead = pid, ours

    def start(self, request: dict[str, Any], descriptors: Sequence[int]) -> int:
        """Have a process become a container; gives its id. Raises OSError where there can be none."""
        if self._ahead is not None and len(descriptors) <= wire.MOST_DESCRIPTORS:
            pid, channel = self._ahead
            told = wire.send(channel, request, descriptors)
            self._forget()
            if told:
                return pid
            os.waitpid(pid, 0)  # somebody has ended it: most likely the kernel, for want of memory
        pid, ready = self._fork()
        if pid == 0:
            try:
                _begin(ready)
                self._become(request, [*descriptors])
            finally:
                os._exit(_FAILED)
        return pid

    def close(self) -> None:
        """End the one that is ahead."""
        if self._ahead is not None:
            pid, _ = self._ahead
            self._forget()
            os.waitpid(pid, 0)

    def _forget(self) -> None:
        assert self._ahead is not None
        self._ahead[1].close()
        self._ahead = None


def _begin(ready: int) -> None:
    if ready != -1:
        os.read(ready, 1)
        os.close(ready)
    process.set_parent_death_signal(_signal.SIGKILL)


class _Fork:
    """Forks a first process of a new pid namespace; gives 0 in it, its id in the helper, and nothing to wait for."""

    def __init__(self) -> None:
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def __call__(self) -> tuple[int, int]:
        """Fork. Raises OSError."""
        namespaces.unshare(namespaces.CLONE_NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:  # children of this process, but for containers, belong to its own pid namespace
                namespaces.setns(self._own_pids, namespaces.CLONE_NEWPID)
        return pid, -1


def _fork_twice() -> tuple[int, int]:
    """Fork a first process of a new pid namespace, by way of a process that can be in no other one afterwards.

    In a user namespace we may not return to the pid namespace that we are in, as it belongs to the host. Gives 0 and
    a descriptor to wait on in the new process, its id and -1 in the helper, whose child it becomes.
    """
    ready, held = os.pipe()
    told, tell = os.pipe()
    between = os.fork()
    if between == 0:
        try:
            os.close(told)
            namespaces.unshare(namespaces.CLONE_NEWPID)
            pid = os.fork()
            if pid == 0:
                os.close(held)
                os.close(tell)
                return 0, ready
            os.write(tell, str(pid).encode())
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    for descriptor in (ready, tell):
        os.close(descriptor)
    text = os.read(told, 20)
    os.close(told)
    _, status = os.waitpid(between, 0)
    os.close(held)  # only now is the new process our child: the parent whose death it asks to be told of
    if not text:
        number = os.waitstatus_to_exitcode(status)
        raise OSError(number, os.strerror(number))
    return int(text), -1
