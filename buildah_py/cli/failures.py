"""The program's edge: whatever ended a command, told to a person in a sentence that says what to do."""

from __future__ import annotations

import os
import signal
import sys

from buildah_py import debug
from buildah_py.api.signals import Ended
from buildah_py.cli.printing import complain
from buildah_py.errors import EXIT_BUILDER, PybuildError
from buildah_py.linux.failures import NO_MEMORY, describe


def tell(error: BaseException) -> int:
    """Say on standard error what ended a command, with --debug where as well; the exit status that goes with it."""
    if debug.is_on():
        import traceback

        traceback.print_exception(error)
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
        text, hint = describe(error)
        return _complain(f"{text}\n  hint: {hint}" if hint else text, EXIT_BUILDER)
    if isinstance(error, MemoryError):
        return _complain(f"memory ran out\n  hint: {NO_MEMORY}", EXIT_BUILDER)
    return _complain(_internal(error), EXIT_BUILDER)


def _internal(error: BaseException) -> str:
    from buildah_py.version import __version__

    python = ".".join(str(part) for part in sys.version_info[:3])
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        "  hint: this is a fault of pybuild; `pybuild --debug` and the same words behind it shows where. Please report"
        f" what it prints, with pybuild {__version__}, Python {python}, Linux {os.uname().release}"
    )


def _complain(message: str, status: int) -> int:
    complain(f"pybuild: {message}")
    return status
