"""One container on layers of the store, on standard streams or in the background; what it writes is thrown away."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.engine.containers import Cancellation, Containers
from buildah_py.engine.file_systems import FileSystems
from buildah_py.errors import NotFound
from buildah_py.running.keeping import Keeping
from buildah_py.sandbox.streams import close, lent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from buildah_py.sandbox import ContainerSpec
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
    kept: Keeping | None = None,
) -> int:
    """Run a container on this process's own standard streams; the command's exit status.

    Others find it, and it has its ports, where it is `kept`.
    """
    from buildah_py.sandbox import Sandbox

    containers = Containers(
        lambda: Sandbox(store.path("sandbox"), left=(store.root,), tracers=os.environ.get("PATH", "")),
        Cancellation(),
        shape,
    )
    kept = kept or Keeping(warn=warn, tell=warn)
    try:
        if kept.log:
            return _in_background(containers, spec, kept, stdin=interactive)
        if spec.tty:
            return _on_terminal(containers, spec, kept)
        return _on_streams(containers, spec, kept, stdin=interactive)
    finally:
        containers.close()


def _on_terminal(containers: Containers, spec: ContainerSpec, kept: Keeping) -> int:
    from buildah_py.sandbox.terminal import attach

    container = kept.start(containers, spec, stdin=0, stdout=1, stderr=2)
    with containers.held(container), kept.signals(container), kept.watched(containers, container):
        attach(container)
        return kept.ended(container)


def _on_streams(containers: Containers, spec: ContainerSpec, kept: Keeping, *, stdin: bool) -> int:
    with lent(stdin=stdin) as streams:
        try:
            container = kept.start(containers, spec, stdin=streams.stdin, stdout=streams.stdout, stderr=streams.stderr)
        finally:
            close(streams)
        with containers.held(container), kept.signals(container), kept.watched(containers, container):
            return kept.ended(container)


def _in_background(containers: Containers, spec: ContainerSpec, kept: Keeping, *, stdin: bool) -> int:
    """Run it with its output in its log. Nothing comes to be read; where it is to read, it waits without end."""
    from buildah_py.running.log import Logged

    with Logged(kept.log, terminal=spec.tty, stdin=stdin) as logged:
        container = kept.start(containers, spec, **logged.lend())
        with containers.held(container), kept.signals(container), kept.watched(containers, container):
            logged.begin(container)
            kept.begin(container)
            return kept.ended(container, lambda: logged.problem)
