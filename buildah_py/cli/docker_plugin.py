"""The ways of docker's plug-in `docker-buildx` where they are not those of `pybuild`.

An image that goes nowhere goes where docker's own driver puts it, into the engine's store, and is told of by the id
that it has there. A status other than 0 is 1, as buildx has it. Docker ends its plug-ins by closing a socket.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from buildah_py.progress.events import Event

MARK: Final = "PYBUILD_DOCKER_PLUGIN"
"""Set in the environment while this program is the plug-in: it may start itself again in a user namespace."""
SOCKET: Final = "DOCKER_CLI_PLUGIN_SOCKET"
"""Variable with the socket that docker closes when the plug-in is to end."""
_SIGNALS: Final = 128


def status_of(status: int) -> int:
    """Return the status that buildx would end with."""
    return status if status in (0, 1) or status > _SIGNALS else 1


def settle(args: argparse.Namespace) -> list[str]:
    """Have the image of a build go where docker's own driver puts it; what there is to say of that.

    That is the engine's store, unless it is asked for elsewhere only, or the builder is one by another driver. Raises
    UsageError, NotFound for a builder or a context that is not known.
    """
    from buildah_py.docker.builders import DOCKER, find_builder
    from buildah_py.docker.context import engine_address
    from buildah_py.image.numbers import boolean

    args.notes = [text for text in getattr(args, "notes", ()) if not text.startswith("--builder=")]
    builder = find_builder(os.environ, getattr(args, "foreign", {}).get("builder", ""))
    # A builder that is a context of docker's has its engine; DOCKER_HOST was given to docker itself, and counts more.
    context = builder.name if builder.is_context and not os.environ.get("DOCKER_HOST") else ""
    host = engine_address(os.environ, context)
    if host:
        os.environ["DOCKER_HOST"] = host
    if args.load:
        if host:
            return []
        args.load = False
    elif (
        builder.driver != DOCKER
        or boolean(os.environ.get("BUILDX_NO_DEFAULT_LOAD", "").lower())
        or (args.output and not args.push and not any(map(_keeps_in_engine, args.output)))
    ):
        return []
    if host and _several(args.platform):
        return ["an image for several platforms is not loaded into the engine: it is in pybuild's own store"]
    if host:
        args.load = True
        return []
    return ["no Docker engine runs here: the image is in pybuild's own store alone, for `pybuild run`"]


def looked_at(environ: Mapping[str, str]) -> list[str]:
    """Return the files that say which builder and which engine are chosen, where no option names one."""
    from buildah_py.docker import builders, context

    builder = builders.find_builder(environ).name
    names = {builder, environ.get("DOCKER_CONTEXT", ""), context.chosen(environ)} - {""}
    return [*builders.places_of(environ, builder), *(context.place_of(environ, name) for name in sorted(names))]


def _several(platforms: str) -> bool:
    """Whether a build is for several platforms."""
    return len({one.strip() for one in platforms.split(",") if one.strip()}) > 1


def _keeps_in_engine(text: str) -> bool:
    """Whether an output is one that docker's driver keeps in the engine too."""
    from buildah_py.outputs import spec

    found = spec.parse(text)
    return found.type == "image" and not found.push_by_digest


def with_ids_of_engine(sink: Callable[[Event], None]) -> Callable[[Event], None]:
    """Return a sink that is told of an image by the id that the engine has for it."""
    from buildah_py.progress.events import BuildDone

    def told(event: Event) -> None:
        sink(event._replace(image=event.loaded) if isinstance(event, BuildDone) and event.loaded else event)

    return told


def end_with_docker(environ: Mapping[str, str]) -> None:
    """Have this process be interrupted when docker closes its end of the socket that it named.

    On a terminal ^C comes from there, and docker leaves it at that.
    """
    name = environ.get(SOCKET, "")
    if not name or MARK not in environ:
        return
    import socket

    from buildah_py import debug

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect("\0" + name[1:] if name.startswith("@") else name)
    except OSError as error:
        debug.log("docker's socket %s is not there: %s", name, error)
        connection.close()
        return
    import signal
    import threading

    def wait() -> None:
        while connection.recv(64):
            pass
        if not os.isatty(1):
            debug.log("docker asks this to end")
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, name="docker", daemon=True).start()
