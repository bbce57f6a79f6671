"""Keeping what a failed RUN left, with all that it takes to open a shell there; values of secrets are not in it.

In the step's staging directory: `upper`, which the command wrote, `plan.json`, the container as --debug writes it down,
and `step.json`, which says what step it was, and which secrets and ssh agents it had.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from buildah_py import debug
from buildah_py.engine.ops.run_mounts import AgentMount, agent_mount
from buildah_py.frozen import replace
from buildah_py.sandbox import BindMount, OverlayMount
from buildah_py.sandbox.plan_file import by_paths, render
from buildah_py.store.disk_usage import remove_tree

if TYPE_CHECKING:
    from buildah_py.engine.ops.op import Task
    from buildah_py.plan.steps import RunStep
    from buildah_py.sandbox import ContainerSpec, Operation

PLAN: Final = "plan.json"
STEP: Final = "step.json"
UPPER: Final = "upper"
_NOT_KEPT: Final = ("work", "init", "agent-")
_MOVED: Final = "@kept"
"""Stands in the plan for the directory itself, which moves."""


class FailedSecret(NamedTuple):
    """Secret of a step: where its value was, as a file or a variable."""

    id: str
    target: str
    env: str
    mode: int
    uid: int
    gid: int


class FailedAgent(NamedTuple):
    """Place for an ssh agent in a step. `socket` is the one that was lent, "" where none was."""

    mount: AgentMount
    socket: str


class FailedStep(NamedTuple):
    """Facts about a step that failed."""

    place: str
    text: str
    stage: str
    status: int
    secrets: tuple[FailedSecret, ...] = ()
    agents: tuple[FailedAgent, ...] = ()


def keep(task: Task, step: RunStep, container: ContainerSpec, staged: str, status: int) -> str:
    """Keep what a container left in `staged`, while its mounts are still there; the failure's name, "" for none."""
    worker, node = task.worker, task.node
    if not worker.build or worker.cache.apart:
        return ""
    secrets = [
        FailedSecret(one.id, one.target, one.env, 0o400 if one.mode is None else one.mode, one.uid, one.gid)
        for one in step.mounts
        if one.type == "secret"
    ]
    agents = [
        FailedAgent(mount, worker.reach.agents.get(mount.id, ""))
        for mount in (agent_mount(one, number) for number, one in enumerate(step.mounts) if one.type == "ssh")
    ]
    about = FailedStep(node.place, node.text, node.stage, status, tuple(secrets), tuple(agents))
    own = replace(container, mounts=tuple(_moved(one, staged) for one in by_paths(container).mounts))
    try:
        _write(os.path.join(staged, PLAN), render(own, os.path.abspath(worker.store.root)))
        _write(os.path.join(staged, STEP), json.dumps(_plain(about)))
        for name in os.listdir(staged):
            if name.startswith(_NOT_KEPT):
                remove_tree(os.path.join(staged, name))
        return worker.store.failures.keep(worker.build, staged, node.index + 1)
    except OSError as error:  # the failure itself is what counts
        debug.log("what the step left is not kept: %s", error)
        return ""


def _moved(operation: Operation, staged: str) -> Operation:
    """Name what lies in the directory by its place there."""

    def moved(path: str) -> str:
        return _MOVED + path.removeprefix(staged) if path.startswith(f"{staged}/") else path

    if isinstance(operation, BindMount) and isinstance(operation.source, str):
        _, source, *rest = operation.wire()
        return BindMount(moved(source), *rest)
    if isinstance(operation, OverlayMount):
        lowers = tuple(map(moved, operation.lowers))
        return OverlayMount(lowers, operation.target, operation.path, moved(operation.upper), moved(operation.work))
    return operation


def found(operation: Operation, kept: str) -> Operation:
    """Give a mount of a plan that was kept in the directory `kept`; what the command wrote to it lies below."""

    def there(path: str) -> str:
        return kept + path.removeprefix(_MOVED) if path.startswith(f"{_MOVED}/") else path

    if isinstance(operation, BindMount) and isinstance(operation.source, str):
        _, source, *rest = operation.wire()
        return BindMount(there(source), *rest)
    if isinstance(operation, OverlayMount):
        lowers = tuple(map(there, operation.lowers))
        if operation.upper and os.path.isdir(there(operation.upper)):
            lowers = (there(operation.upper), *lowers)
        return OverlayMount(lowers, operation.target, operation.path, operation.upper, operation.work)
    return operation


def read(text: str) -> FailedStep:
    """Read what `keep` wrote of a step."""
    data = json.loads(text)
    secrets = tuple(FailedSecret(**one) for one in data["secrets"])
    agents = tuple(FailedAgent(AgentMount(**one), socket) for one, socket in data.get("agents", ()))
    return FailedStep(**{**data, "secrets": secrets, "agents": agents})


def _plain(about: FailedStep) -> dict[str, Any]:
    agents = [(one.mount._asdict(), one.socket) for one in about.agents]
    return {**about._asdict(), "secrets": [one._asdict() for one in about.secrets], "agents": agents}


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(text)
