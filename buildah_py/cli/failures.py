"""The program's edge: whatever ended a command, told to a person in a sentence that says what to do."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Final

from buildah_py.cli.endings import Ended
from buildah_py.errors import EXIT_BUILDER, PybuildError

_HINTS: Final = {
    errno.ENOSPC: "`pybuild prune` frees space; PYBUILD_ROOT names a state directory on another disk",
    errno.EDQUOT: "`pybuild prune` frees space; PYBUILD_ROOT names a state directory on another disk",
    errno.EROFS: "name a state directory that can be written with PYBUILD_ROOT",
    errno.EMFILE: "allow more open files: `ulimit -n 65536`",
    errno.ENFILE: "the machine's table of open files is full: see the sysctl fs.file-max",
    errno.ENOMEM: "build fewer things at once, or on a machine with more memory",
    errno.EAGAIN: "a limit of processes is reached: see `ulimit -u`, and the control group's pids.max",
    errno.EIO: "the disk has faults: see the kernel's log (dmesg)",
}


def tell(error: BaseException) -> int:
    """Say on standard error what ended a command; the exit status that goes with it."""
    if isinstance(error, PybuildError):
        return _complain(str(error), error.exit_status)
    if isinstance(error, KeyboardInterrupt):
        number = error.number if isinstance(error, Ended) else signal.SIGINT
        return _complain("interrupted", 128 + number)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone: nothing is left to say, nor anyone to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUILDER
    if isinstance(error, OSError):
        return _complain(_of_system(error), EXIT_BUILDER)
    if isinstance(error, MemoryError):
        return _complain(f"memory ran out\n  hint: {_HINTS[errno.ENOMEM]}", EXIT_BUILDER)
    return _complain(_internal(error), EXIT_BUILDER)


def _of_system(error: OSError) -> str:
    places = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    text = ": ".join([" -> ".join(places), error.strerror or str(error)] if places else [error.strerror or str(error)])
    hint = _HINTS.get(error.errno or 0, "")
    return f"{text}\n  hint: {hint}" if hint else text


def _internal(error: BaseException) -> str:
    from buildah_py import __version__

    python = ".".join(str(part) for part in sys.version_info[:3])
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        "  hint: this is a fault of pybuild; `pybuild --debug` and the same words behind it shows where. Please report"
        f" what it prints, with pybuild {__version__}, Python {python}, Linux {os.uname().release}"
    )


def _complain(message: str, status: int) -> int:
    print(f"pybuild: {message}", file=sys.stderr)
    return status
