"""Starting interpreters of our own: executed, never forked, so that threads of this one do not matter.

None of them takes a module from the current directory: what lies there may be anybody's.
"""

from __future__ import annotations

import fcntl
import os
import sys
from typing import TYPE_CHECKING, Final

from buildah_py import debug

if TYPE_CHECKING:
    from collections.abc import Sequence

LOADER: Final = "ld.so"
"""Name of a dynamic loader that was copied for this program, beside the libraries that it is to load."""
_HIGH: Final = 64  # above the numbers that the new process gets its descriptors under
_PACKAGES: Final = ("site-packages", "dist-packages")
_SHORT: Final = (
    "import sys; sys.excepthook = lambda kind, error, _:"
    " print('pybuild: internal error: %s: %s' % (kind.__name__, error), file=sys.stderr); "
)


def own_path() -> list[str]:
    """Give the directories that this interpreter takes modules from, without the current one."""
    here = os.path.realpath(".")
    library = os.path.dirname(os.__file__)
    return [
        entry
        for entry in sys.path
        if os.path.isabs(entry)
        and (os.path.realpath(entry) != here or entry == library or os.path.basename(entry) in _PACKAGES)
    ]


def own_loader() -> list[str]:
    """Give the beginning of a command line where a dynamic loader that lies beside its libraries starts this one.

    So it is with an interpreter that has brought all of its files along: see ld.so(8).
    """
    running = os.path.realpath("/proc/self/exe")
    return [running, "--library-path", os.path.dirname(running)] if os.path.basename(running) == LOADER else []


def command(module: str, call: str, arguments: Sequence[str] = (), *, packages: bool = False) -> list[str]:
    """Give the command line of a clean interpreter that evaluates `call` of a function of `module`.

    It heeds no PYTHON… variables, decodes names as UTF-8, and takes modules from the standard library, from where
    this package lies, and with `packages` from where this interpreter does.
    """
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = [here, *own_path()] if packages else [here]
    name = call.partition("(")[0]
    program = f"import sys; sys.path.extend({path!r}); from {module} import {name}; sys.exit({call})"
    return [*own_loader(), sys.executable, "-I", "-S", "-X", "utf8", "-c", program, *arguments]


def spawn(
    module: str, call: str, descriptors: Sequence[int], *, packages: bool = False, program: int | None = None
) -> int:
    """Execute what `command` gives; its process id.

    `descriptors` are its 3, 4 and so on; they stay open here, as does `program`, which may be another way to the
    interpreter's file than its path. It has no environment, and a session of its own, so that ^C on the terminal is for
    this process.
    """
    argv = command(module, call, packages=packages)
    if not debug.is_on():
        argv[-1] = _SHORT + argv[-1]  # a person is told in a line
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH) for descriptor in descriptors]
    way = [fcntl.fcntl(program, fcntl.F_DUPFD_CLOEXEC, _HIGH)] if program is not None else []
    try:
        pid = os.posix_spawn(
            f"/proc/self/fd/{way[0]}" if way else argv[0],
            argv,
            {},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                *((os.POSIX_SPAWN_DUP2, copy, number) for number, copy in enumerate(copies, 3)),
            ],
            setsid=True,
        )
    finally:
        for copy in (*copies, *way):
            os.close(copy)
    debug.log("%s.%s runs as process %d", module, call, pid)
    return pid
