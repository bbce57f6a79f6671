"""Starting the small processes that the sandbox talks to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from buildah_py.errors import SandboxError
from buildah_py.linux import interpreter
from buildah_py.sandbox import wire

if TYPE_CHECKING:
    import _socket


def spawn(module: str, call: str, *, packages: bool = False) -> tuple[_socket.socket, int]:
    """Execute `call` in a clean interpreter, as `interpreter.spawn` does; 3 is its end of a connection.

    Gives the other end and the process id.
    """
    ours, theirs = wire.pair()
    try:
        pid = interpreter.spawn(module, call, [theirs.fileno()], packages=packages)
    except OSError as error:
        ours.close()
        raise SandboxError(f"cannot execute {sys.executable}: {error.strerror}") from None
    finally:
        theirs.close()
    return ours, pid
