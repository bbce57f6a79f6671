"""Calls in a process of their own: where this one may not make containers, or must not change signals.

The child is a clean interpreter which enters a user namespace if it needs one, as the command does. Request, events and
result cross a socket that nobody else has, pickled.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import sys
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from buildah_py.errors import Interrupted, PybuildError
from buildah_py.linux.identity import needs_user_namespace
from buildah_py.linux.interpreter import command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_EVENT: Final = "event"
_RESULT: Final = "result"
_ERROR: Final = "error"


def call(
    function: str,
    request: object,
    environ: Mapping[str, str],
    on_event: Callable[[Any], object],
    started: Callable[[int], object] = lambda _: None,
) -> Any:
    """Call `module:name` of this package with (request, emit) in a child; what it returns or raises.

    Standard streams are the child's too. `started` hears its process id. Whatever ends this call early, such as
    KeyboardInterrupt, ends the child.
    """
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            argv = command(__name__, "serve()", [str(theirs.fileno())], packages=True)
            pid = os.posix_spawn(sys.executable, argv, dict(environ))
        try:
            with ours.makefile("rwb") as stream:
                pickle.dump((function, request), stream)
                stream.flush()
                started(pid)
                return _receive(stream, on_event)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)  # which a build takes for a wish to be interrupted
            raise
        finally:
            os.waitpid(pid, 0)


def _receive(stream: Any, on_event: Callable[[Any], object]) -> Any:
    while True:
        try:
            kind, value = pickle.load(stream)  # noqa: S301 - from our own child
        except EOFError:
            raise PybuildError("the process that was to do it has ended without an answer") from None
        if kind == _ERROR:
            raise value
        if kind == _RESULT:
            return value
        on_event(value)


def environ_of(root: str | None) -> dict[str, str]:
    """Give the environment, with the state directory `root` where one was given."""
    return {**os.environ, **({"PYBUILD_ROOT": root} if root is not None else {})}


child_started: ContextVar[Callable[[int], object] | None] = ContextVar("started", default=None)
"""Set in a context whose builds are done in a child in any case: called with its process id."""


def call_as_needed(function: str, request: Any, environ: Mapping[str, str], on_event: Callable[[Any], object]) -> Any:
    """Call a function of this package here, or where this process may not make containers in a child."""
    started = child_started.get()
    if started is not None or needs_user_namespace(environ):
        return call(function, request, environ_of(environ.get("PYBUILD_ROOT")), on_event, started or (lambda _: None))
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)(request, on_event)


def serve() -> int:
    """Be the child: its argument is the number of the socket."""
    from threading import Lock

    from buildah_py.api.signals import treat_all_endings_alike

    number = int(sys.argv[1])
    if needs_user_namespace(os.environ):
        from buildah_py.sandbox.userns import enter_where_wanted

        enter_where_wanted(command(__name__, "serve()", [str(number)], packages=True), os.environ, "container")
    os.set_inheritable(number, False)
    treat_all_endings_alike()
    lock = Lock()
    with socket.socket(fileno=number) as ours, ours.makefile("rwb") as stream:

        def send(kind: str, value: object) -> None:
            with lock:
                pickle.dump((kind, value), stream)
                stream.flush()

        name, request = pickle.load(stream)  # noqa: S301 - from our own parent
        module, _, function = name.partition(":")
        try:
            send(_RESULT, getattr(import_module(module), function)(request, lambda event: send(_EVENT, event)))
        except KeyboardInterrupt:
            send(_ERROR, Interrupted("the process that was to do it was told to end"))
        except BaseException as error:  # noqa: BLE001 - it is raised again by whoever called
            send(_ERROR, error)
    return 0
