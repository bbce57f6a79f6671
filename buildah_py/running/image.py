"""Running a command in a container of an image; whatever it writes is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.api.container import ContainerOptions
from buildah_py.api.state import open_store
from buildah_py.errors import UsageError
from buildah_py.frozen import dataclass, field
from buildah_py.image import platform as platforms
from buildah_py.running.container import container_on, run_container, variables
from buildah_py.transfer.base_images import BaseImages
from buildah_py.transfer.provider import Registries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.image.config import ImageConfig
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
    config = BaseImages(store, registries).resolve(request.image, str(platforms.host()))
    spec = container_on(
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
    )
    shape = request.container.shaper(os.environ, store)
    return run_container(store, spec, shape, warn, interactive=request.interactive)


def command_of(config: ImageConfig, request: RunRequest) -> tuple[str, ...]:
    """Give the command that a container of an image runs. Raises UsageError where there is none."""
    entrypoint = config.entrypoint
    if request.entrypoint is not None:
        entrypoint = (request.entrypoint,) if request.entrypoint else ()
    argv = (*entrypoint, *(request.command or (config.cmd if request.entrypoint is None else ())))
    if not argv:
        raise UsageError(f"the image `{request.image}` names no command", hint="give one behind the image's name")
    return argv
