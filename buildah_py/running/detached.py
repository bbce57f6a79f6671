"""A container in the background: the process that looks after it, and what starts that.

That process is a clean interpreter with a session of its own, executed rather than forked. The request goes to it, and
its answers come back, pickled, over a socket that nobody else has; once the command is executed it lets go of that.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildah_py import debug
from buildah_py.errors import SandboxError
from buildah_py.frozen import replace
from buildah_py.linux.interpreter import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.running.image import RunRequest


def start_detached(
    request: RunRequest, warn: Callable[[str], object], tell: Callable[[str], object]
) -> tuple[str, int, str]:
    """Start a container in the background; its id, and the status and the reason where its command cannot be executed.

    The image is fetched here, so that its progress is seen. Raises what `run_image` raises.
    """
    from buildah_py.api.state import open_store, own_root
    from buildah_py.running.image import find_image
    from buildah_py.transfer.provider import Registries

    registries = Registries()
    with open_store(registries=registries, tell=tell) as store:
        store.need(find_image(store, registries, request).diff_ids)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            pid = os.posix_spawn(
                sys.executable,
                command(__name__, f"serve({debug.is_on()})", [str(theirs.fileno())], packages=True),
                {**os.environ, "PYBUILD_ROOT": own_root()},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    # Whoever reads what this process writes would wait for all that the other one starts.
                    *([] if debug.is_on() else [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]),
                ],
                setsid=True,
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
            )
        try:
            with ours.makefile("rwb") as stream:
                pickle.dump(replace(request, pull="missing"), stream)
                stream.flush()
                return _receive(stream, warn, tell)
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            raise


def _receive(stream: Any, warn: Callable[[str], object], tell: Callable[[str], object]) -> tuple[str, int, str]:
    while True:
        try:
            kind, *values = pickle.load(stream)  # noqa: S301 - from our own child
        except EOFError:
            raise SandboxError("the process that was to look after the container has ended") from None
        if kind == "error":
            raise values[0]
        if kind == "started":
            return values[0], values[1], values[2]
        (warn if kind == "warning" else tell)(values[0])


def serve(debugging: bool) -> int:
    """Be that process: its argument is the number of the socket."""
    from buildah_py.api.signals import treat_all_endings_alike
    from buildah_py.running.image import run_image

    if debugging:
        debug.switch_on()
    number = int(sys.argv[1])
    os.set_inheritable(number, False)
    treat_all_endings_alike()
    with socket.socket(fileno=number) as ours, ours.makefile("rwb") as stream:

        def send(*message: object) -> None:
            if not stream.closed:  # else nobody listens any more
                pickle.dump(message, stream)
                stream.flush()

        def started(container: str, status: int, why: str) -> None:
            send("started", container, status, why)
            stream.close()
            ours.close()
            os.chdir("/")  # what it was started in may go

        try:
            request = pickle.load(stream)  # noqa: S301 - from our own parent
            run_image(request, lambda text: send("warning", text), lambda text: send("note", text), started)
        except BaseException as error:  # noqa: BLE001 - it is raised again by whoever asked, and kept
            send("error", error)
            return 125
    return 0
