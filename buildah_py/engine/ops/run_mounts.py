"""RUN --mount: what each mount shows, as the sandbox wants it, and the digest of that for the step's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.cache.observations import Slot
from buildah_py.copy.materialise import materialise
from buildah_py.copy.select import select
from buildah_py.errors import NotFound
from buildah_py.layers.stamps import ALL_GIVEN
from buildah_py.layers.tree import resolve
from buildah_py.sandbox import BindMount, FileMount, OverlayMount, TmpfsMount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

    from buildah_py.copy.selection import Selection
    from buildah_py.engine.ops.op import Task
    from buildah_py.layers.sink import LayerSink
    from buildah_py.plan.steps import MountStep
    from buildah_py.sandbox import Operation
    from buildah_py.sources.reach import Reach

AGENT_VARIABLE = "SSH_AUTH_SOCK"


class MadeMount(NamedTuple):
    """Outcome of a mount: operations of the sandbox, and variables that the command sees and the key does not.

    A `secret` one is written down nowhere. `copy` is where what it shows of a context lies, and what that is.
    """

    operations: tuple[Operation, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    secret: bool = False
    copy: tuple[str, Slot] | None = None


class AgentMount(NamedTuple):
    """A place in a container where an ssh agent listens."""

    id: str
    target: str
    mode: int
    uid: int
    gid: int

    def lend(self, agent: str, place: str, held: ExitStack) -> BindMount:
        """Show the agent that listens at `agent` there while `held` lasts, by a socket in the directory `place`."""
        from buildah_py.engine.ops.ssh_agent import AgentSocket

        os.mkdir(place)
        socket = held.enter_context(AgentSocket(agent, place, mode=self.mode, uid=self.uid, gid=self.gid))
        return BindMount(socket.path, self.target, readonly=False, mapped=True)


def agent_mount(mount: MountStep, number: int) -> AgentMount:
    """Say where the mount of a step that is its mount `number`, from 0, has its agent listen."""
    target = mount.target or f"/run/pybuild/ssh_agent.{number}"
    return AgentMount(mount.id or "default", target, 0o600 if mount.mode is None else mount.mode, mount.uid, mount.gid)


def shown(task: Task, mount: MountStep) -> Selection:
    """Give what a mount shows: what is below its source."""
    assert mount.input is not None
    timed = task.trees[mount.input] is not None
    return select(task.open(mount.input), [mount.source or "/"], where=task.called(mount.input), timed=timed)


def make_mounts(task: Task, mounts: Sequence[MountStep], staged: str, held: ExitStack) -> Iterator[MadeMount]:
    """Make what the sandbox mounts for a step.

    Directories that are thrown away afterwards lie below `staged`; what has to last as long as the container runs is
    put on `held`. Raises NotFound for what is required and missing.
    """
    caches: Mapping[int, str] = {}
    if any(mount.type == "cache" for mount in mounts):
        from buildah_py.engine.ops.cache_mounts import open_caches, show_cache

        caches = open_caches(task, mounts, held)
    for number, mount in enumerate(mounts):
        if number in caches:
            yield MadeMount((show_cache(mount, caches[number], held),))
        elif mount.type == "tmpfs":
            yield MadeMount((TmpfsMount(mount.target, mount.size or 0),))
        elif mount.type == "bind":
            yield _bind(task, mount, staged)
        elif mount.type == "secret":
            yield _secret(task, mount)
        else:
            yield _agent(task.worker.reach, mount, staged, number, held)


def _secret(task: Task, mount: MountStep) -> MadeMount:
    value = task.worker.reach.secret(mount.id)
    if value is None:
        if mount.required:
            raise NotFound(
                f"the secret `{mount.id}` is required and was not given", hint=f"add --secret id={mount.id},src=FILE"
            )
        how = f"--secret id={mount.id},src=FILE gives it"
        task.worker.reporter.warn(f"{task.node.place}: the secret `{mount.id}` was not given: {how}")
        return MadeMount()
    mode = 0o400 if mount.mode is None else mount.mode
    files = (FileMount(mount.target, value, mode, mount.uid, mount.gid),) if mount.target else ()
    variables = ((mount.env, value.decode("utf-8", "surrogateescape")),) if mount.env else ()
    return MadeMount(files, variables, secret=True)


def _agent(reach: Reach, mount: MountStep, staged: str, number: int, held: ExitStack) -> MadeMount:
    wanted = agent_mount(mount, number)
    agent = reach.agents.get(wanted.id)
    if agent is None:
        if mount.required:
            raise NotFound(f"the ssh agent `{wanted.id}` is required and was not given", hint=f"add --ssh {wanted.id}")
        return MadeMount()
    shown = wanted.lend(agent, os.path.join(staged, f"agent-{number}"), held)
    return MadeMount((shown,), ((AGENT_VARIABLE, wanted.target),))


def _bind(task: Task, mount: MountStep, staged: str) -> MadeMount:
    assert mount.input is not None
    tree, path, copy = task.trees[mount.input], _path(task, mount), None
    if tree is not None:
        lowers = task.worker.store.lowers(tree.layers)
    else:
        # A copy, so that the mount shows what .dockerignore leaves, and that alone, whatever happens to the context.
        directory = os.path.join(staged, f"bind-{mount.input}")
        os.mkdir(directory)
        with task.worker.file_systems.writer(directory) as writer:
            _copy(task, mount, path, writer)
            copy = directory, Slot(writer.finish().inventory, ALL_GIVEN)
        lowers = (directory,)
    if mount.readonly:
        return MadeMount((OverlayMount(lowers, mount.target, path),), copy=copy)
    upper, work = (os.path.join(staged, f"{name}-{mount.input}") for name in ("upper", "work"))
    os.mkdir(upper)
    os.mkdir(work)
    return MadeMount((OverlayMount(lowers, mount.target, path, upper, work),), copy=copy)


def planned_bind(task: Task, mount: MountStep) -> Slot:
    """Give what the copy that a mount shows of a context would hold, without making it."""
    from buildah_py.layers.listed import LayerList

    sink = LayerList()
    _copy(task, mount, _path(task, mount), sink)
    return Slot(sink.finish().inventory, ALL_GIVEN)


def _path(task: Task, mount: MountStep) -> str:
    """Find the source of a mount, free of links. Raises NotFound."""
    assert mount.input is not None
    tree = task.open(mount.input)
    path = resolve(tree, mount.source)
    if path and tree.entry(path) is None:
        raise NotFound(f"--mount={mount.target}: `{mount.source}` is not in {task.called(mount.input)}")
    return path


def _copy(task: Task, mount: MountStep, path: str, sink: LayerSink) -> None:
    assert mount.input is not None
    tree = task.open(mount.input)
    copied = select(tree, [path or "/"], where=task.called(mount.input), parents=bool(path))
    materialise([copied], "/", tree, sink, link=True)
