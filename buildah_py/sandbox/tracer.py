"""A command that another program traces, which shows it its root: PRoot.

That is executed in the command's place, with the launcher for its command, so that the command itself becomes a child
of the process that waits here (`launcher.py`). Calls that PRoot does not know, and would let through with a path of the
machine, are refused as if this kernel had them not, for which all C libraries have others.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `container`
import os
import select
import struct

from buildah_py.linux import process
from buildah_py.linux.descendants import end_children
from buildah_py.linux.paths import openat2
from buildah_py.sandbox import command, launcher, watcher
from buildah_py.sandbox.refusal import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

    from buildah_py.image.users import ExecUser

_WORD = struct.Struct("=i")
_NEW = 424
"""The first call that has the same number everywhere. PRoot 5.1 knows none from there on; close_range has no path."""
_CLOSE_RANGE = 436
_UNKNOWN = {  # audit(7)'s number of the architecture: calls that are older, and the first that is newer
    "x86_64": ((0xC000003E, (316, 322, 332), _NEW), (0x40000003, (353, 358), 383)),
    "aarch64": ((0xC00000B7, (276, 281, 291), _NEW), (0x40000028, (382, 387), 397)),
}
"""renameat2, execveat, statx, and for 32 bits whatever came with and after statx."""
_PATIENCE = 5000
"""Milliseconds."""
_LOAD, _EQUAL, _AT_LEAST, _GIVE = 0x20, 0x15, 0x35, 0x06
_ALLOW, _NO_CALL = 0x7FFF0000, 0x50000 | 38


def system_call_filter() -> bytes:
    """Make the filter of system calls, an array of struct sock_filter: see seccomp(2)."""

    def statement(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    program = []
    for architecture, older, newer in _UNKNOWN[os.uname().machine]:
        block = [statement(_LOAD, 0)]
        for number in older:
            block += [statement(_EQUAL, number, 0, 1), statement(_GIVE, _NO_CALL)]
        block += [statement(_EQUAL, _CLOSE_RANGE, 0, 1), statement(_GIVE, _ALLOW)]
        block += [statement(_EQUAL, 0xFFFFFFFF, 0, 1), statement(_GIVE, _ALLOW)]  # one that PRoot does itself
        block += [statement(_AT_LEAST, newer, 0, 1), statement(_GIVE, _NO_CALL), statement(_GIVE, _ALLOW)]
        program += [statement(_LOAD, 4), statement(_EQUAL, architecture, 0, len(block)), *block]
    return b"".join([*program, statement(_GIVE, _ALLOW)])


class Tracer:
    """The command of `container` with the tracer that it is described with, for the user `who` of the open `root`."""

    def __init__(self, container: dict[str, Any], who: ExecUser, root: int) -> None:
        self._who = who
        self._root = root
        self._container = container
        self._name: str = container["argv"][0]
        environment = command.environment_of(container, who)
        paths = launcher.candidates(self._name, environment["PATH"])
        variables = [f"{name}={value}" for name, value in environment.items()]
        try:
            data = launcher.request(paths, container["argv"], variables)
        except ValueError as error:
            raise RefusedError("executing the command", str(error)) from None
        self._tries = len(paths)
        self._request = os.memfd_create("request", os.MFD_CLOEXEC)
        view = memoryview(data)
        while view:
            view = view[os.write(self._request, view) :]
        self._told, self._tell = os.pipe2(os.O_CLOEXEC)

    def become(self, channel: _socket.socket, streams: tuple[int, int, int], waiting: int) -> NoReturn:
        """Execute the tracer; never returns."""
        *words, starter = self._container["through"]
        who = self._who
        identity = ("-i", f"{who.uid}:{who.gid}") if self._container["keep_user"] else ()
        # The image's settings for its loader and its shell are not for a program of the machine.
        own = (f"PROOT_TMP_DIR={self._container['scratch']}", f"PATH={os.defpath}", "HOME=/")
        container = {**self._container, "argv": (*words, *identity, starter), "env": own, "joinable": False}
        container["filter_of_tracer"] = system_call_filter()
        process.set_no_new_privileges()  # a traced process gains none anyway
        command.become(container, channel, streams, self._root, who, waiting, -1, lent=(self._tell, self._request))

    def watch(self, tracer: int, result: int, ready: int, errors: int) -> NoReturn:
        """Wait for the command, pass signals on to it, and write how it ended to `result`; never returns."""
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        _hold(result, ready, errors, self._told)

        def end(_number: int, _frame: object) -> None:
            _end_all(tracer)
            os._exit(128 + 9)

        _signal.signal(64, end)
        os.write(1, b"1")
        os.close(1)
        child, failed = self._launched()
        if child == -1:
            _, status = os.waitpid(tracer, 0)
            end_children()
            os.write(2, b"pybuild: proot did not start the command: `pybuild doctor` tries it\n")
            watcher.say_ended(0, status)
        os.unlink(self._container["starter"])
        watcher.pass_signals_on(child)
        _signal.signal(64, end)
        status = tracers = -1
        while status == -1 and tracers == -1:
            pid, ended = os.waitpid(-1, 0)
            if pid == child:
                status = ended
            elif pid == tracer:
                tracers = ended
        if tracers == -1:
            tracers = _end_all(tracer)
        elif status == -1:  # the command may have ended right before
            gone, ended = os.waitpid(child, os.WNOHANG)
            status = ended if gone else tracers
        end_children()
        if os.WIFSIGNALED(tracers):  # whatever the command did from then on, it did to the machine
            status = tracers
        os.set_blocking(3, False)
        failed += self._words()
        if len(failed) == self._tries:
            status = self._say(failed) << 8
        watcher.say_ended(0, status)

    def _launched(self) -> tuple[int, list[int]]:
        """Give the process of the command, -1 where there is none, and errors that executing it has met."""
        failed: list[int] = []
        while data := os.read(3, _WORD.size):
            (word,) = _WORD.unpack(data)
            if word > 0:
                return word, failed
            failed.append(-word)
        return -1, failed

    def _words(self) -> list[int]:
        found = []
        try:
            while data := os.read(3, _WORD.size):
                found.append(-_WORD.unpack(data)[0])
        except BlockingIOError:
            return found
        return found

    def _say(self, failed: list[int]) -> int:
        """Say on the command's stderr why it could not be executed; gives its status."""
        errors = [OSError(number, os.strerror(number)) for number in failed]
        tame = (FileNotFoundError, NotADirectoryError)
        worst = next((one for one in errors if not isinstance(one, tame)), errors[-1])
        status, why = command.explain(worst, self._name, there=self._is_there())
        name = "".join(filter(str.isprintable, self._name))
        os.write(2, f"pybuild: {name}: {why}\n".encode())
        return status

    def _is_there(self) -> bool:
        root = os.open(self._container["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(openat2(root, self._name, os.O_PATH))
        except OSError:  # whatever it is, nothing is found there
            return False
        finally:
            os.close(root)
        return True


def _hold(*descriptors: int) -> None:
    """Have these as 0 and up, and nothing else."""
    command.arrange_descriptors((), *descriptors)


def _end_all(tracer: int) -> int:
    """End all that is traced, upon which the tracer ends: what it does not hold any more sees the machine.

    Gives how it ended.
    """
    end_children((tracer,))
    pidfd = os.pidfd_open(tracer)
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if not poll.poll(_PATIENCE):
        os.kill(tracer, 15)
        if not poll.poll(_PATIENCE):
            os.kill(tracer, 9)
    os.close(pidfd)
    return os.waitpid(tracer, 0)[1]
