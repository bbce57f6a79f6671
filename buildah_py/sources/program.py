"""Running a program that talks to other machines: for a while, within bounds, and only as long as somebody waits."""

from __future__ import annotations

import os
import resource
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py import debug
from buildah_py.errors import Interrupted, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TICK: Final = 0.1
_GRACE: Final = 2.0
"""Seconds in which a program may remove what it has not finished."""
_PIECE: Final = 1 << 16
_MOST_OUTPUT: Final = 256 << 20
_MOST_SAID: Final = 1 << 16


class Done(NamedTuple):
    """How a program ended, what it printed, and the end of what it said on standard error."""

    status: int
    output: str
    said: str


def run(
    argv: Sequence[str],
    environment: Mapping[str, str],
    directory: str,
    *,
    cancelled: Callable[[], bool],
    longest: float,
    largest: int,
) -> Done:
    """Run a program in a session of its own, with nothing to read; no file that it writes gets larger than `largest`.

    Raises TimeoutError after `longest` seconds, Interrupted where `cancelled()`, FileNotFoundError where the program is
    not there, SourceError where it prints without end. It is gone then, with all that it has started.
    """
    debug.log("runs %s", " ".join(argv))
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=directory,
        umask=0o022,
        start_new_session=True,
    )
    try:
        with suppress(ProcessLookupError):
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
            most = largest if hard == resource.RLIM_INFINITY else min(largest, hard)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, most))
        return _follow(process, argv[0], cancelled, time.monotonic() + longest)
    finally:
        _end(process)


def _follow(process: subprocess.Popen[bytes], name: str, cancelled: Callable[[], bool], until: float) -> Done:
    output, said = bytearray(), bytearray()
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, said)
        while selector.get_map():
            if cancelled():
                raise Interrupted(f"interrupted while {name} was at work")
            if time.monotonic() > until:
                raise TimeoutError
            for key, _ in selector.select(_TICK):
                data = os.read(key.fd, _PIECE)
                key.data.extend(data)
                if not data:
                    selector.unregister(key.fileobj)
            del said[:-_MOST_SAID]
            if len(output) > _MOST_OUTPUT:
                raise SourceError(f"{name} prints more than {_MOST_OUTPUT >> 20} MiB")
    status = process.wait()
    return Done(status, output.decode("utf-8", "surrogateescape"), said.decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """See that a program is gone, and with it all of its session."""
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
