"""Running a container again from the plan that `--debug` wrote; whatever it writes is thrown away."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound, UsageError
from buildah_py.frozen import dataclass, field, replace
from buildah_py.sandbox import BindMount, OverlayMount
from buildah_py.sandbox.plan_file import ContainerPlan, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from buildah_py.sandbox import Operation
    from buildah_py.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugRunRequest:
    """Request to run a step again, and what to do otherwise. `volumes` are (path, target, read-only)."""

    plan: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[tuple[str, str, bool], ...] = ()
    interactive: bool = False
    tty: bool = False


def debug_run(request: DebugRunRequest, warn: Callable[[str], None]) -> int:
    """Run it on this process's own standard streams; the command's exit status. `warn` is told what is missing.

    Raises UsageError for what is not a plan, NotFound where layers have gone since, SandboxError.
    """
    from buildah_py.running.container import run_container, scratch, variables
    from buildah_py.store import Store

    try:
        with open(request.plan, encoding="utf-8") as file:
            plan = parse(file.read(), request.plan)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"the plan {request.plan} cannot be read: {why}") from error
    if not os.path.isdir(plan.store):
        raise NotFound(f"the store {plan.store} that the plan is about is not there")
    with Store(plan.store) as store:
        given = {target for _, target, _ in request.volumes} | set(request.env)
        for name in plan.container.secrets:
            if name not in given:
                how = f"-v FILE:{name}:ro" if name.startswith("/") else f"-e {name}=VALUE"
                warn(f"the value of {name} is not in the plan; {how} gives one")
        made = scratch(store)
        os.mkdir(made.upper)
        adopt(made.upper, *plan.root)
        volumes = [BindMount(path, target, readonly, recursive=True) for path, target, readonly in request.volumes]
        container = replace(
            plan.container,
            lowers=layers(store, plan, warn),
            **made._asdict(),
            argv=request.command or plan.container.argv,
            env=variables(environment(plan), request.env, tty=request.tty),
            mounts=(*mounts(store, plan, given, warn), *volumes),
            tty=request.tty,
            secrets=(*plan.container.secrets, *request.env),
        )
        return run_container(store, container, lambda spec: spec, warn, interactive=request.interactive)


def environment(plan: ContainerPlan) -> dict[str, str]:
    """Return the variables of a plan's command."""
    return dict(entry.split("=", 1) for entry in plan.container.env)


def layers(store: Store, plan: ContainerPlan, warn: Callable[[str], None]) -> tuple[str, ...]:
    """Give the directories that the container's root is mounted from. Raises NotFound where a layer is gone."""
    lowers = plan.container.lowers
    if not store.layers.use(_diff_ids(plan.store, lowers)):
        raise NotFound("layers that the container ran on are gone", hint="build again, with --debug")
    gone = [path for path in lowers if not os.path.isdir(path)]
    for path in gone:  # made for that one mount: see store/lowers.py
        warn(f"{path} is gone: some directories may have other modes and owners")
    return tuple(path for path in lowers if path not in gone)


def mounts(store: Store, plan: ContainerPlan, given: set[str], warn: Callable[[str], None]) -> Iterator[Operation]:
    """Give the plan's mounts that can be made again, but for those that `given` has others for."""
    for operation in plan.container.mounts:
        sources: tuple[str, ...] = ()
        if isinstance(operation, BindMount) and str(operation.source).startswith(f"{store.path('cache-mounts')}/"):
            # The command is not to change what builds find.
            operation = OverlayMount((str(operation.source),), operation.target, upper="new")
        if isinstance(operation, BindMount):
            sources = (str(operation.source),)
        elif isinstance(operation, OverlayMount):
            sources = operation.lowers
            store.layers.use(_diff_ids(plan.store, sources))
            if operation.upper:
                operation.upper, operation.work = store.stage(), store.stage()
                if os.path.isdir(sources[0]):
                    seen = os.stat(sources[0])
                    adopt(operation.upper, stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid)
        if operation.target not in given:
            if all(map(os.path.lexists, sources)):
                yield operation
            else:
                warn(f"{operation.describe()}: that is gone; -v SOURCE:{operation.target} gives something else")


def adopt(path: str, mode: int, uid: int, gid: int) -> None:
    """Give a directory its mode and owner."""
    own = os.stat(path)
    if (own.st_uid, own.st_gid) != (uid, gid):
        os.chown(path, uid, gid)
    os.chmod(path, mode)


def _diff_ids(root: str, directories: Iterable[str]) -> list[str]:
    """Name the layers that directories of the store at `root` belong to."""
    pattern = f"{re.escape(os.path.join(root, 'layers'))}/([0-9a-f]{{64}})/.*"
    return [f"sha256:{found[1]}" for path in directories if (found := re.fullmatch(pattern, path))]
