"""The program's edge: whatever ended a command, told to a person in a sentence that says what to do."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from buildah_py import debug
from buildah_py.api.signals import Ended
from buildah_py.cli.printing import complain
from buildah_py.errors import EXIT_BUILDER, PybuildError
from buildah_py.linux.failures import NO_MEMORY, describe

if TYPE_CHECKING:
    from buildah_py.progress.events import Error


def tell(error: BaseException) -> int:
    """Say on standard error what ended a command, with --debug where as well; the exit status that goes with it."""
    if debug.is_on():
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone: nothing is left to say, nor anyone to say it to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BUILDER
    text, hint, status = explain(error)
    if not getattr(error, "was_told", False):
        text = str(error) if isinstance(error, PybuildError) else f"{text}\n  hint: {hint}" if hint else text
        complain(f"pybuild: {text}")
    return status


def explain(error: BaseException) -> tuple[str, str, int]:
    """Say what ended a command, what to do about it, and the exit status that goes with it."""
    if isinstance(error, PybuildError):
        return error.message, error.hint, error.exit_status
    if isinstance(error, KeyboardInterrupt):
        number = error.number if isinstance(error, Ended) else signal.SIGINT
        return "interrupted", "", 128 + number
    if isinstance(error, OSError):
        return *describe(error), EXIT_BUILDER
    if isinstance(error, MemoryError):
        return "memory ran out", NO_MEMORY, EXIT_BUILDER
    return *_internal(error), EXIT_BUILDER


def tell_programs(error: BaseException, progress: str) -> None:
    """Have what ended a command before it had a renderer be an event, where `--progress` asks for these."""
    from buildah_py.progress.choose import JSON, renderer

    if progress in JSON and not getattr(error, "was_told", False) and not isinstance(error, BrokenPipeError):
        with renderer(progress, err=sys.stderr, out=sys.stdout, env=os.environ) as sink:
            sink(event_of(error))


def event_of(error: BaseException) -> Error:
    """Give what ended a command as an event, for the readers of these; `tell` says no more of it then."""
    from buildah_py.errors import BuildFileError
    from buildah_py.progress.events import Error

    message, hint, status = explain(error)
    file, line, column = "", 0, 0
    if isinstance(error, BuildFileError):
        (file, line), column = error.source.place(error.span.start.line), error.span.start.column
    elif isinstance(error, PybuildError):
        file, line = error.place
    error.was_told = True  # type: ignore[attr-defined]
    return Error(message, hint, file, line, column, status)


def _internal(error: BaseException) -> tuple[str, str]:
    from buildah_py.version import __version__

    python = ".".join(str(part) for part in sys.version_info[:3])
    hint = (
        "this is a fault of pybuild; `pybuild --debug` and the same words behind it shows where. Please report"
        f" what it prints, with pybuild {__version__}, Python {python}, Linux {os.uname().release}"
    )
    return f"internal error: {type(error).__name__}: {error}", hint
