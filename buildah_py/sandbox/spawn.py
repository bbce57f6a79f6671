"""Starting our own small processes: executed, never forked, so that threads of this one do not matter."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from buildah_py.errors import SandboxError
from buildah_py.sandbox import wire

if TYPE_CHECKING:
    import _socket


def spawn(module: str, call: str, *, packages: bool = False) -> tuple[_socket.socket, int]:
    """Execute a clean interpreter that imports `module` and evaluates `call` in it; 3 is its end of a connection.

    Gives the other end and the process id. It has no environment, and only with `packages` anything but the standard
    library and this package.
    """
    ours, theirs = wire.pair()
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [here, *sys.path] if packages else [here]
    program = f"import sys; sys.path.extend({path!r}); from {module} import main; {call}"
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
    ]
    try:
        # In a session of its own from the start: ^C on the terminal is for the main process.
        argv = [sys.executable, "-I", "-S", "-c", program]
        pid = os.posix_spawn(sys.executable, argv, {}, file_actions=actions, setsid=True)
    except OSError as error:
        ours.close()
        raise SandboxError(f"cannot execute {sys.executable}: {error.strerror}") from None
    finally:
        theirs.close()
    return ours, pid
