"""Running a command in a container of an image; whatever it writes to the image's files is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.api.container import ContainerOptions
from buildah_py.api.state import open_store
from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass, field, replace
from buildah_py.image import platform as platforms
from buildah_py.running.container import container_on, run_container, variables
from buildah_py.running.keeping import Keeping
from buildah_py.sandbox.rungs import WITHOUT_CONTAINER, taken
from buildah_py.store.containers import create
from buildah_py.transfer.base_images import BaseImages
from buildah_py.transfer.provider import Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.sandbox import ContainerSpec, Operation
    from buildah_py.sandbox.ports import Listeners, Port
    from buildah_py.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Request to run an image. Empty values mean its own; an empty `entrypoint` means none, None the image's own.

    Where `name` is None nobody else finds the container. In the background (`detach`) it is kept until it is removed,
    or, with `remove`, until it ends. With `init` process 1 is ours, else the command itself.
    """

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    entrypoint: str | None = None
    network: str = "default"
    interactive: bool = False
    tty: bool = False
    init: bool = True
    readonly: bool = False
    mounts: tuple[Operation, ...] = ()
    ports: tuple[Port, ...] = ()
    all_ports: bool = False
    name: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    detach: bool = False
    remove: bool = False
    stop_signal: str = ""
    stop_timeout: float = 10
    platform: str = ""
    pull: str = "missing"
    container: ContainerOptions = field(default_factory=ContainerOptions)


def run_image(
    request: RunRequest,
    warn: Callable[[str], object],
    tell: Callable[[str], object],
    started: Callable[[str, int, str], object] = lambda _id, _status, _why: None,
) -> int:
    """Run it on this process's own standard streams, or in the background; the command's exit status.

    `warn` is told what could not be done, `tell` hears of waits and of what is fetched. `started` hears the id of a
    container that is kept, and, where its command could not be executed, the status and the reason.

    Raises NotFound for an image that is not there, UsageError where there is nothing to run, SandboxError.
    """
    if request.tty and not request.detach:
        from buildah_py.sandbox.terminal import check_terminal

        check_terminal()
    if request.network == "none" and (request.ports or request.all_ports):
        raise UsageError("--network=none: a container without a network has no ports to publish")
    registries = Registries()
    with open_store(registries=registries, tell=tell) as store:
        if request.name:
            from buildah_py.store.containers import check_name

            check_name(store.root, request.name)
        return _run(store, registries, request, warn, tell, started)


def find_image(store: Store, registries: Registries, request: RunRequest) -> ImageConfig:
    """Return the config of the image that is to be run, fetched as `pull` says."""
    images = BaseImages(store, registries, policy=request.pull)
    return images.resolve(request.image, request.platform or str(platforms.host()))


def _run(
    store: Store,
    registries: Registries,
    request: RunRequest,
    warn: Callable[[str], object],
    tell: Callable[[str], object],
    started: Callable[[str, int, str], object],
) -> int:
    config = find_image(store, registries, request)
    if config.platform.architecture and str(config.platform.normalised()) != str(platforms.host()):
        from buildah_py.engine.emulation import check_runnable

        check_runnable(str(config.platform.normalised()))
    is_plain = (
        taken(request.container.isolation, os.environ.get("PATH", os.defpath)) in WITHOUT_CONTAINER
    )  # where nobody joins a command
    spec = replace(
        container_on(
            store,
            config.diff_ids,
            f"the image `{request.image}`",
            argv=command_of(config, request),
            env=variables(config.environment(), request.env, tty=request.tty),
            cwd=request.cwd or config.working_dir,
            user=request.user or config.user,
            network=request.network,
            tty=request.tty,
            secrets=request.env,  # which may be
        ),
        reaper=request.init,
        joinable=request.name is not None and (request.detach or not is_plain),
        readonly=request.readonly,
        mounts=request.mounts,
    )
    shape = request.container.shaper(os.environ, store)
    if request.name is None:
        return run_container(store, spec, shape, warn, interactive=request.interactive)
    listeners = _listeners(request, config, tell)
    try:
        own = create(store.root, _about(request, config, spec, listeners))
        removed = request.remove or not request.detach
        try:
            if request.detach:
                spec = replace(spec, hostname=own.id[:12])
            kept = Keeping(
                own,
                listeners=listeners,
                patience=request.stop_timeout,
                log=own.file("log") if request.detach else "",
                warn=warn,
                tell=tell,
                started=lambda status, why: started(own.id, status, why),
            )
            if not request.detach:
                started(own.id, 0, "")
            return run_container(store, spec, shape, warn, interactive=request.interactive, kept=kept)
        finally:
            own.close(remove=removed)
    finally:
        if listeners is not None:
            listeners.close()


def _listeners(request: RunRequest, config: ImageConfig, tell: Callable[[str], object]) -> Listeners | None:
    """Listen on the ports that are to be published; say so of those that nobody chose."""
    from buildah_py.running.ports import ports_of, word_for

    ports = ports_of(request.ports, config, everything=request.all_ports)
    if not ports:
        serves = not request.command and not request.interactive  # and does not run something else in the image
        word = word_for(config) if request.network == "default" and serves else ""
        if word:
            tell(word)
        return None
    from buildah_py.sandbox.ports import Listeners

    listeners = Listeners(ports)
    chosen = {port.hosts[0] for port in ports if len(port.hosts) == 1}
    for published in listeners.published:
        if published.host not in chosen:
            tell(f"published {published}")
    return listeners


def _about(
    request: RunRequest, config: ImageConfig, spec: ContainerSpec, listeners: Listeners | None
) -> dict[str, object]:
    """Give what is to be known of a container."""
    published = listeners.published if listeners is not None and request.network == "default" else ()
    return {
        "name": request.name or "",
        "image": request.image,
        "image_id": config.digest(),
        "command": spec.argv,
        "labels": {**config.labels, **dict(request.labels)},
        "ports": [one._asdict() for one in published],
        "detached": request.detach,
        "pid": os.getpid(),
        "remove": request.remove or not request.detach,
        "tty": request.tty,
        "stop_signal": request.stop_signal or config.stop_signal,
        "stop_timeout": request.stop_timeout,
    }


def command_of(config: ImageConfig, request: RunRequest) -> tuple[str, ...]:
    """Give the command that a container of an image runs. Raises UsageError where there is none."""
    entrypoint = config.entrypoint
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
    argv = (*entrypoint, *(request.command or (config.cmd if request.entrypoint is None else ())))
    if not argv:
        raise UsageError(f"the image `{request.image}` names no command", hint="give one behind the image's name")
    return argv
