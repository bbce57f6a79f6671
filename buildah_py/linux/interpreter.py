"""Starting our own small processes: executed, never forked, so that threads of this one do not matter."""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HIGH: Final = 64  # above the numbers that the new process gets its descriptors under


def spawn(module: str, call: str, descriptors: Sequence[int], *, packages: bool = False) -> int:
    """Execute a clean interpreter that imports `main` from `module` and evaluates `call` in it; its process id.

    `descriptors` are its 3, 4 and so on; they stay open here. It has no environment, a session of its own, so that ^C
    on the terminal is for this process, and only with `packages` anything but the standard library and this package.
    """
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [here, *sys.path] if packages else [here]
    program = f"import sys; sys.path.extend({path!r}); from {module} import main; {call}"
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH) for descriptor in descriptors]
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-c", program],
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                *((os.POSIX_SPAWN_DUP2, copy, number) for number, copy in enumerate(copies, 3)),
            ],
            setsid=True,
        )
    finally:
        for copy in copies:
            os.close(copy)
