"""One container on this process's own standard streams, on layers of the store; what it writes is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.file_systems import FileSystems
from buildah_py.errors import NotFound
from buildah_py.sandbox.streams import close, lent, signals_passed_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.sandbox import Container, ContainerSpec
    from buildah_py.store import Store


class Scratch(NamedTuple):
    """Directories of a container, which end with the process that made them."""

    upper: str
    work: str
    init: str


def scratch(store: Store) -> Scratch:
    """Make the directories of a container, empty, but for the upper one, which is the root's to make."""
    staged = store.stage()
    made = Scratch(*(os.path.join(staged, name) for name in Scratch._fields))
    os.mkdir(made.work)
    os.mkdir(made.init)
    return made


def variables(*given: Mapping[str, str], tty: bool) -> tuple[str, ...]:
    """Give the lines of an environment, where later mappings come before earlier ones."""
    found = {"TERM": "xterm"} if tty else {}
    for one in given:
        found |= one
    return tuple(f"{name}={value}" for name, value in found.items())


def container_on(
    store: Store,
    layers: Sequence[str],
    what: str,
    *,
    argv: Sequence[str],
    env: Sequence[str],
    cwd: str,
    user: str,
    network: str,
    tty: bool,
    name: str = "",
    secrets: Iterable[str] = (),
) -> ContainerSpec:
    """Plan a container on layers of the store, by their diff_ids. Raises NotFound, of `what`, where one is gone."""
    from buildah_py.sandbox import ContainerSpec

    store.need(layers)
    if not store.layers.use(layers):
        raise NotFound(f"layers of {what} are missing", hint="build or import it again")
    made = scratch(store)
    FileSystems(store).make_root(made.upper, layers)
    return ContainerSpec(
        lowers=store.lowers(layers),
        **made._asdict(),
        argv=tuple(argv),
        env=tuple(env),
        cwd=cwd or "/",
        user=user,
        hostname="pybuild",
        network=network,
        tty=tty,
        name=name,
        secrets=tuple(secrets),
    )


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
