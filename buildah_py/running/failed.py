"""A shell in what a failed RUN left; whatever it writes is thrown away, so that the next shell finds the same."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from buildah_py.errors import NotFound
from buildah_py.frozen import dataclass, field, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from buildah_py.engine.failed_state import FailedStep
    from buildah_py.sandbox import BindMount, ContainerSpec, Operation
    from buildah_py.sandbox.plan_file import ContainerPlan
    from buildah_py.store import Store

_HINT = "a RUN that failed is kept until its build succeeds, fails again, or `pybuild prune`"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedShell:
    """Request for a shell in what a step left: of the newest failure, or of the build `build`, or the one of that name.

    `secrets` and `ssh` are spelled as for a build; those that the step had, or asked for, are given again. The user's
    own agent is lent again without that where the step had it.
    """

    build: str | None = None
    name: str = ""
    command: tuple[str, ...] = ("/bin/sh",)
    user: str = ""
    tty: bool = False
    secrets: tuple[str, ...] = ()
    ssh: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)


def build_name(context: str | None, file: str | None, environ: Mapping[str, str]) -> str:
    """Name the build of a context and a build file on this machine."""
    from buildah_py.api.reuse import own_name
    from buildah_py.api.state import opened

    with opened(context, file, environ) as main:
        return own_name(main)


def failed_shell(request: FailedShell, warn: Callable[[str], None], tell: Callable[[str], object]) -> int:
    """Run it on this process's own standard streams; its exit status. `tell` hears which step it is.

    Raises NotFound where there is no failure, or layers have gone since, SandboxError.
    """
    from buildah_py.api.state import open_store
    from buildah_py.engine import failed_state
    from buildah_py.sandbox.plan_file import parse

    if request.tty:
        from buildah_py.sandbox.terminal import check_terminal

        check_terminal()
    with open_store(request.environ) as store:
        name = request.name or store.failures.find(request.build)
        if name is None:
            raise NotFound("there is no failed step to open a shell in", hint=_HINT)
        with store.failures.opened(name) as kept:
            if kept is None:
                raise NotFound("what the step left is gone", hint=_HINT)
            plan_path, step_path = (os.path.join(kept, one) for one in (failed_state.PLAN, failed_state.STEP))
            with open(plan_path, encoding="ascii") as file, open(step_path, encoding="ascii") as about:
                plan, step = parse(file.read(), plan_path), failed_state.read(about.read())
            tell(f"{step.place} as it was when it ended with status {step.status}; what is written here is thrown away")
            return _run(request, store, plan, step, kept, warn)


def _run(
    request: FailedShell,
    store: Store,
    plan: ContainerPlan,
    step: FailedStep,
    kept: str,
    warn: Callable[[str], None],
) -> int:
    from buildah_py.engine import failed_state
    from buildah_py.running.container import run_container, scratch, variables
    from buildah_py.running.plan import adopt, layers, mounts

    made = scratch(store)
    left = os.path.join(kept, failed_state.UPPER)
    os.mkdir(made.upper)
    adopt(made.upper, *plan.root)
    values, files = _secrets(request, plan, step, warn)
    own = replace(plan.container, mounts=tuple(failed_state.found(one, kept) for one in plan.container.mounts))
    plan = plan._replace(container=own)
    with ExitStack() as held:
        agents = _agents(request, step, store.stage(), warn, held)
        places = {agent.mount.target for agent in step.agents}
        values = _where_they_listen(plan, places, agents) | values
        container = replace(
            plan.container,
            lowers=(left, *layers(store, plan, warn)),
            **made._asdict(),
            argv=request.command,
            env=variables(values, tty=request.tty),
            mounts=(*mounts(store, plan, places, warn), *files, *agents),
            user=request.user or plan.container.user,
            tty=request.tty,
            name="shell",
        )
        return run_container(store, container, _as_it_is(store), warn, interactive=True)


def _where_they_listen(plan: ContainerPlan, places: set[str], agents: list[BindMount]) -> dict[str, str]:
    """Return the command's variables, the one for ssh agents as it is with those that are there."""
    from buildah_py.engine.ops.run_mounts import AGENT_VARIABLE
    from buildah_py.running.plan import environment

    found = environment(plan)
    if found.get(AGENT_VARIABLE) in places:
        del found[AGENT_VARIABLE]
    return {**found, **({AGENT_VARIABLE: agents[-1].target} if agents else {})}


def _agents(
    request: FailedShell, step: FailedStep, place: str, warn: Callable[[str], None], held: ExitStack
) -> list[BindMount]:
    """Lend the ssh agents of a step again while `held` lasts, with sockets in the directory `place`.

    They are those that are given, or else the user's own agent, where it is the very one that the step had.
    """
    from buildah_py.sources.secrets import Agents

    given = held.enter_context(Agents(request.ssh, request.environ))
    found: list[BindMount] = []
    for number, (mount, socket) in enumerate(step.agents):
        agent = given.get(mount.id, "")
        if not agent and not request.ssh and socket and socket == request.environ.get("SSH_AUTH_SOCK"):
            agent = socket if os.path.exists(socket) else ""
        if agent:
            found.append(mount.lend(agent, os.path.join(place, str(number)), held))
        elif socket:
            warn(f"the ssh agent `{mount.id}` is not here: --ssh {mount.id} lends yours, --ssh {mount.id}=KEY a key")
    return found


def _as_it_is(store: Store) -> Callable[[ContainerSpec], ContainerSpec]:
    from buildah_py import debug

    if not debug.is_on():
        return lambda spec: spec
    from buildah_py.engine.plan_log import logged

    return logged(store, lambda spec: spec)


def _secrets(
    request: FailedShell, plan: ContainerPlan, step: FailedStep, warn: Callable[[str], None]
) -> tuple[dict[str, str], list[Operation]]:
    """Give the secrets of a step as variables and files, as far as they are given again."""
    from buildah_py.sandbox import FileMount
    from buildah_py.sources.secrets import parse_secrets, readers

    value = readers(parse_secrets(request.secrets, request.environ), request.environ).value
    variables: dict[str, str] = {}
    files: list[Operation] = []
    known: set[str] = set()
    told: set[str] = set()
    for secret in step.secrets:
        known |= {secret.target, secret.env}
        given = value(secret.id)
        if given is None:
            had = {secret.target, secret.env}.intersection(plan.container.secrets)
            if had and secret.id not in told:
                told.add(secret.id)
                warn(f"the secret `{secret.id}` is not kept: --secret id={secret.id},src=FILE gives it again")
            continue
        if secret.target:
            files.append(FileMount(secret.target, given, secret.mode, secret.uid, secret.gid))
        if secret.env:
            variables[secret.env] = given.decode("utf-8", "surrogateescape")
    for name in _others(plan, known):
        warn(f"the value of {name} is not kept")
    return variables, files


def _others(plan: ContainerPlan, known: set[str]) -> Iterator[str]:
    return (name for name in plan.container.secrets if name not in known)
