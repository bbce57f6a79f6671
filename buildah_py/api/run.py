"""Running a command in a container of an image; whatever it writes is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.api.container import ContainerOptions
from buildah_py.api.state import open_store
from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.file_systems import FileSystems
from buildah_py.errors import NotFound, UsageError
from buildah_py.frozen import dataclass, field
from buildah_py.image import platform as platforms
from buildah_py.sandbox.streams import close, lent, signals_passed_on
from buildah_py.transfer.base_images import BaseImages
from buildah_py.transfer.provider import Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.sandbox import Container, ContainerSpec
    from buildah_py.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Request to run an image. Empty values mean its own; an empty `entrypoint` means none, None the image's own."""

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    entrypoint: str | None = None
    network: str = "default"
    interactive: bool = False
    tty: bool = False
    container: ContainerOptions = field(default_factory=ContainerOptions)


def run_image(request: RunRequest, warn: Callable[[str], object], tell: Callable[[str], object]) -> int:
    """Run it on this process's own standard streams; the command's exit status.

    `warn` is told what could not be done, `tell` hears of waits and of what is fetched.

    Raises NotFound for an image that is not there, UsageError where there is nothing to run, SandboxError.
    """
    if request.tty:
        from buildah_py.sandbox.terminal import check_terminal

        check_terminal()
    registries = Registries()
    with open_store(registries=registries, tell=tell) as store:
        return _run(store, registries, request, warn)


def _run(store: Store, registries: Registries, request: RunRequest, warn: Callable[[str], object]) -> int:
    from buildah_py.sandbox import ContainerSpec

    config = BaseImages(store, registries).resolve(request.image, str(platforms.host()))
    store.need(config.diff_ids)
    entrypoint = config.entrypoint
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
    command = request.command or (config.cmd if request.entrypoint is None else ())
    argv = (*entrypoint, *command)
    if not argv:
        raise UsageError(f"the image `{request.image}` names no command", hint="give one behind the image's name")
    if not store.layers.use(config.diff_ids):
        raise NotFound(f"layers of the image `{request.image}` are missing", hint="build or import it again")
    environment = {**config.environment(), **({"TERM": "xterm"} if request.tty else {}), **request.env}
    staged = store.stage()
    upper, work, init = (os.path.join(staged, name) for name in ("upper", "work", "init"))
    FileSystems(store).make_root(upper, config.diff_ids)
    os.mkdir(work)
    os.mkdir(init)
    spec = ContainerSpec(
        lowers=store.lowers(config.diff_ids),
        upper=upper,
        work=work,
        init=init,
        argv=argv,
        env=tuple(f"{name}={value}" for name, value in environment.items()),
        cwd=request.cwd or config.working_dir or "/",
        user=request.user or config.user,
        hostname="pybuild",
        network=request.network,
        tty=request.tty,
        secrets=tuple(request.env),  # which may be
    )
    shape = request.container.shaper(os.environ, store)
    return run_container(store, spec, shape, warn, interactive=request.interactive)


def run_container(
    store: Store,
    spec: ContainerSpec,
    shape: Callable[[ContainerSpec], ContainerSpec],
    warn: Callable[[str], object],
    *,
    interactive: bool = False,
) -> int:
    """Run a container on this process's own standard streams; the command's exit status."""
    from buildah_py.sandbox import Sandbox

    containers = Containers(lambda: Sandbox(store.path("sandbox")), Cancellation(), shape)
    try:
        if spec.tty:
            container, status = _on_terminal(containers, spec)
        else:
            container, status = _on_streams(containers, spec, stdin=interactive)
        for warning in container.warnings:
            warn(warning)
        return status
    finally:
        containers.close()


def _on_terminal(containers: Containers, spec: ContainerSpec) -> tuple[Container, int]:
    from buildah_py.sandbox.terminal import attach

    container = containers.start(spec, stdin=0, stdout=1, stderr=2)
    with containers.held(container), signals_passed_on(container):
        attach(container)
        return container, container.wait().status


def _on_streams(containers: Containers, spec: ContainerSpec, *, stdin: bool) -> tuple[Container, int]:
    with lent(stdin=stdin) as streams:
        try:
            container = containers.start(spec, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr)
        finally:
            close(streams)
        with containers.held(container), signals_passed_on(container):
            return container, container.wait().status
