"""A container that was started, as the main process holds it."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

from buildah_py import debug
from buildah_py.errors import SandboxError
from buildah_py.frozen import replace
from buildah_py.linux import mounts
from buildah_py.sandbox import wire
from buildah_py.sandbox.spec import ExitStatus

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from buildah_py.sandbox.below import Lower
    from buildah_py.sandbox.place import Shortfall
    from buildah_py.sandbox.roots import EnteredRoot, TracedRoot

_SIGKILL = 9
_TRIES = 10
_WORDS = 4096
_OF_MACHINE = {errno.EPERM, errno.ENOSYS, errno.ENODEV, errno.EINVAL, errno.ENOSPC, errno.ENOTSUP}
"""Errors that say more about the machine than about the build."""


class Container:
    """A container that was started. `terminal` is the master of its pty (close it after use), -1 without.

    `number` is its name for the helper, `upper` where what it changes is kept; `below` is told what it has found there;
    `namespaces` are descriptors of a joinable one's, until it is gone.
    """

    def __init__(
        self,
        number: int,
        channel: _socket.socket,
        done: Callable[[], None],
        warnings: list[str],
        upper: str = "",
        isolation: str = "container",
        below: Callable[[dict[str, Lower | None]], object] = lambda _: None,
        root: EnteredRoot | None = None,
    ) -> None:
        self.number = number
        self._upper = upper
        self._isolation = isolation
        self._below = below
        self._entered = root
        self.traced: TracedRoot | None = None
        """Root that knows whose the files are that a command has made, where the disk does not; after `wait`."""
        self._writable = "overlay"
        self._copies: tuple[str, ...] = ()
        self._copied: tuple[str, str, int] | None = None
        self.namespaces: tuple[int, ...] = ()
        self._early: list[tuple[Any, list[int]]] = []
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
        self.shortfalls: list[Shortfall] = []
        """Those that make this less than full isolation."""

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
        self.leave()
        raise _refusal(message, self._isolation)

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
                for descriptor in (*self.namespaces, *([self._root] if self._root != -1 else [])):
                    os.close(descriptor)
                self.namespaces, self._root = (), -1
        if isinstance(self._ended, SandboxError):
            raise self._ended
        return self._ended

    def executed(self) -> tuple[int, str]:
        """Wait until the command of a joinable container is executed; (0, ""), or its status and why it could not be.

        Raises SandboxError where the container could not be made.
        """
        message, descriptors = self._receive()
        if message is None or message[0] != "executing":
            self._early.append((message, descriptors))
            if message is not None and message[0] == "error":
                raise _refusal(message, self._isolation)
            return 0, ""
        with open(descriptors[0], "rb") as pipe:
            failure = pipe.read(_WORDS)
        # What stood in the way before the command was executed has been said by now.
        if not failure and select.select([self._channel], [], [], 0)[0]:
            self._early.append(self._receive())
            if self._early[-1][0] is not None and self._early[-1][0][0] == "error":
                raise _refusal(self._early[-1][0], self._isolation)
        return (failure[0], failure[1:].decode(errors="backslashreplace")) if failure else (0, "")

    def _receive(self) -> tuple[Any, list[int]]:
        """Give the next message, but for warnings, the root and the namespaces, which are kept."""
        while True:
            message, descriptors = self._early.pop(0) if self._early else wire.receive(self._channel)
            kind = message[0] if message is not None else ""
            if kind == "warning":
                self.warnings.append(message[1])
            elif kind == "unobserved":
                self.unobserved = True
            elif kind == "below":
                self._below(message[1])
            elif kind == "root":
                (self._root,) = descriptors
            elif kind == "writable":
                from buildah_py.sandbox.place import no_overlay

                self._writable = message[1]
                self.lacks(no_overlay(*message[1:]))
            elif kind == "copies":
                self._copies = message[1:]
            elif kind == "copied":
                self._copied = message[1], message[2], descriptors[0]
            elif kind == "bound /proc":
                from buildah_py.sandbox.place import BOUND_PROC, FORCED_PROC

                self.lacks(FORCED_PROC if self._isolation == "nested" else BOUND_PROC)
            elif kind == "namespaces":
                self.namespaces += tuple(descriptors)
            else:
                return message, descriptors

    def _wait(self, *, seal: bool) -> ExitStatus:
        result: ExitStatus | None = None
        error: SandboxError | None = None
        while True:
            event, descriptors = self._receive()
            for descriptor in descriptors:  # nobody waits for the command to be executed
                os.close(descriptor)
            if event is None:
                self._close()
                self.leave()
                raise error or SandboxError("the process that runs containers has ended unexpectedly")
            if event[0] == "error":
                error = error or _refusal(event, self._isolation)
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
                try:
                    if error:
                        raise error
                    ended = result or _killed(event[1])
                    if seal and ended.status == 0 and self._root != -1:
                        _seal(self._root)
                    if result is not None:
                        self._collect()
                finally:
                    self._remove_copies()
                    self.leave()
                if event[3]:
                    self.warnings.append("a process was ended: the container's limit of memory was reached (--memory)")
                return replace(ended, peak_memory=event[2], out_of_memory=bool(event[3]))

    def lacks(self, shortfall: Shortfall) -> None:
        """Note and say what makes this less than full isolation."""
        self.shortfalls.append(shortfall)
        self.warnings.append(str(shortfall))

    def _collect(self) -> None:
        """Have the upper directory hold what the command has changed, where it was not an overlay's.

        Raises SandboxError where that cannot be kept.
        """
        if self._writable == "overlay" and self._entered is None:
            return
        from buildah_py.linux.identity import uses_userxattr
        from buildah_py.sandbox.roots import TracedRoot
        from buildah_py.sandbox.uppers import collect_changes, translate

        userxattr = uses_userxattr()
        try:
            if self._entered is not None:
                self._entered.collect()
                if isinstance(self._entered, TracedRoot):
                    self.traced = self._entered
                return
            if self._copied is None:
                translate(self._upper, userxattr=userxattr)
                return
            place, upper, memory = self._copied
            looks = wire.unpack(os.pread(memory, os.fstat(memory).st_size, 0))
            collect_changes(place, looks, upper, userxattr=userxattr)
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise SandboxError(f"cannot keep what the command wrote: {error.strerror}{where}") from None

    def _remove_copies(self) -> None:
        """Remove what was a copy of layers, and the list of how it looked."""
        if self._copied is not None:
            os.close(self._copied[2])
            self._copied = None
        if self._copies:
            from buildah_py.store.disk_usage import remove_tree

            for place in self._copies:
                remove_tree(place)
            self._copies = ()

    def leave(self) -> None:
        """Give back a root that was entered for it. Raises SandboxError where something of it cannot be put back."""
        entered, self._entered = self._entered, None
        if entered is None:
            return
        try:
            entered.leave()
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise SandboxError(f"cannot take away what the command was lent: {error.strerror}{where}") from None
        finally:
            self.warnings += entered.warnings

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


def _refusal(event: tuple[Any, ...] | None, isolation: str = "container") -> SandboxError:
    if event is None or event[0] != "error":
        return SandboxError("the container ended before it was made")
    from buildah_py.sandbox import place

    _, what, why, number = event
    hint = "`pybuild doctor` tells what this machine allows" if number in _OF_MACHINE else ""
    hint = place.hint(what, number, isolation) or hint
    if what == "setting limits" and number in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
        hint = "leave limits out, run as root, or in a scope: systemd-run --user --scope -p Delegate=yes pybuild …"
    if number in (errno.ENOSPC, errno.EDQUOT) and "process" not in what:  # which is how full tables of these are told
        hint = "`pybuild prune` frees space"
    if what == "USER" and number == errno.EINVAL:
        from buildah_py.layers.owner import HINT

        hint = HINT
    elif what == "USER" and not number:
        hint = "add the user in an earlier RUN, or write its number"
    return SandboxError(f"cannot run the container: {what}: {why}", hint=hint)
