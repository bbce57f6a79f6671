"""The life of a command without a container: no namespace and no mount, as where the kernel allows neither.

Runs in the child that the helper forks. It says the same over `channel` as `container.py` does. Nothing keeps the
command's processes together but this one, which all that lose their parent are given to (PR_SET_CHILD_SUBREAPER), and
which ends whatever is left before it says that the command has ended.

A command may be executed through another program, a tracer, which stays this one's child beside it (`tracer.py`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # see `container`
import os
import sys

from buildah_py.linux import process
from buildah_py.linux.descendants import end_children
from buildah_py.sandbox import command, joining, rlimits, tracer, watcher
from buildah_py.sandbox.refusal import Doing, report, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

END = 64
"""The signal that has all of a command's processes ended; SIGKILL would let those live that have left its session."""


def main(container: dict[str, Any], channel: _socket.socket, streams: tuple[int, int, int], result: int) -> NoReturn:
    """Run a command to its end, and write how it ended to `result`; never returns."""
    try:
        _run(container, channel, streams, result)
    except Exception as error:  # noqa: BLE001 (the edge of this process: whoever waits must hear of it)
        report(channel, error)
    finally:
        os._exit(125)


def _run(container: dict[str, Any], channel: _socket.socket, streams: tuple[int, int, int], result: int) -> None:
    parent = os.getppid()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, command.FORWARDED)
    process.set_parent_death_signal(END)
    process.set_dumpable(False)
    process.set_child_subreaper(True)
    if os.getppid() != parent:
        return
    sys.meta_path.clear()  # whatever was imported from now on could be a file of the image
    root = os.open(container["root"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    who = joining.look_up_user(root, container["user"])
    if container["tty"]:
        with Doing("making a terminal"):
            master, slave = os.openpty()
        tell(channel, ("terminal",), master)
        os.close(master)
        streams = (slave, slave, slave)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    first, second, third = (null if stream == -1 else stream for stream in streams)
    streams = first, second, third
    rlimits.reset(container["usual_rlimits"])
    rlimits.raise_hard(container["rlimits"])
    command.give(command.nameless(streams, terminal=container["tty"]), who.uid)
    through = tracer.Tracer(container, who, root) if "through" in container else None
    waiting, ready = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(ready)
        _signal.signal(END, _signal.SIG_DFL)
        process.set_child_subreaper(False)
        if through is None:
            command.become(container, channel, streams, root, who, waiting, -1)
        through.become(channel, streams, waiting)
    if through is not None:
        through.watch(child, result, ready, third)
    watcher.hold_only(result, ready)
    watcher.pass_signals_on(child)
    _signal.signal(END, _end)
    os.write(1, b"1")
    os.close(1)
    status = -1
    while status == -1:
        pid, ended = os.waitpid(-1, 0)
        if pid == child:
            status = ended
    end_children()
    watcher.say_ended(0, status)


def _end(_number: int, _frame: object) -> None:
    end_children()
    os._exit(128 + 9)
