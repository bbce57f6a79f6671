"""The process that waits for a container's command: passes signals on, reaps, ends what is left, says how it ended.

It holds nothing but a pipe for one ENDED record, and is confined (`confine.py`): as process 1 a command may get at it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `container`
import os
import resource
import struct

from buildah_py.linux import process
from buildah_py.sandbox import command, confine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ENDED = struct.Struct("=IIQQQ")
"""Status, signal, microseconds as user and in the kernel, bytes of the largest process."""


def watch(child: int, result: int, confined: int, program: bytes) -> NoReturn:
    """Wait for a command and write how it ended to `result`; never returns.

    Once this process is confined, by the filter `program`, a byte is written to the pipe `confined`: the command waits
    for that.
    """
    hold_only(result, confined)
    pass_signals_on(child)
    confine.confine(program)
    os.write(1, b"1")
    os.close(1)
    _reap(child)


def hold_only(result: int, waited_for: int) -> None:
    """Have the pipe for the record as 0, the one that the command waits for as 1, and nothing else."""
    os.dup2(result, 0, inheritable=False)
    os.dup2(waited_for, 1, inheritable=False)
    process.close_range(2)


def pass_signals_on(child: int) -> None:
    """Have a process get what this one gets."""

    def forward(number: int, _frame: object) -> None:
        try:
            os.kill(child, number)
        except (ProcessLookupError, PermissionError):  # it has become another user's, by a program that may do that
            return

    for number in command.FORWARDED:
        _signal.signal(number, forward)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])


def _reap(child: int) -> NoReturn:
    result = -1
    while result == -1:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            result = status
    try:
        os.kill(-1, 9)
    except ProcessLookupError:  # nothing is left
        alive = False
    else:
        alive = True
    while alive:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            alive = False
    say_ended(0, result)


def say_ended(descriptor: int, result: int) -> NoReturn:
    """Write the record about a child that ended so, and end."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    killed = os.WTERMSIG(result) if os.WIFSIGNALED(result) else 0
    status = 128 + killed if killed else os.WEXITSTATUS(result)
    times = (round(seconds * 1_000_000) for seconds in (used.ru_utime, used.ru_stime))
    os.write(descriptor, ENDED.pack(status, killed, *times, used.ru_maxrss * 1024))
    os._exit(0)
