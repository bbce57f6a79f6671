"""Starting the small processes that the sandbox talks to."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildah_py.errors import SandboxError
from buildah_py.linux import interpreter, mounts
from buildah_py.linux.identity import may_mount
from buildah_py.sandbox import wire

if TYPE_CHECKING:
    import _socket


def spawn(module: str, call: str, *, packages: bool = False) -> tuple[_socket.socket, int]:
    """Execute `call` in a clean interpreter, as `interpreter.spawn` does; 3 is its end of a connection.

    Gives the other end and the process id. What a command of a container executes as /proc/self/exe is the interpreter
    of the process that it was forked from: hence nobody can change that file by the way on which it was executed.
    """
    ours, theirs = wire.pair()
    program = -1
    try:
        if may_mount():  # else there are no containers, and commands see the file by its path
            program = mounts.open_unchangeable(_interpreter())
        way = program if program != -1 else None
        pid = interpreter.spawn(module, call, [theirs.fileno()], packages=packages, program=way)
    except OSError as error:
        ours.close()
        raise SandboxError(f"cannot execute {sys.executable}: {error.strerror}") from None
    finally:
        theirs.close()
        if program != -1:
            os.close(program)
    return ours, pid


def _interpreter() -> str:
    """Give the path of what really runs here; `sys.executable` may be a script that starts it."""
    running = "/proc/self/exe"
    return sys.executable if os.path.samefile(sys.executable, running) else os.readlink(running)
