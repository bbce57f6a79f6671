"""RUN --mount: what each mount shows, as the sandbox wants it, and the digest of that for the step's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.copy.materialise import materialise
from buildah_py.copy.select import select
from buildah_py.errors import NotFound
from buildah_py.layers.resolve import resolve
from buildah_py.sandbox import BindMount, FileMount, OverlayMount, TmpfsMount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import ExitStack

    from buildah_py.copy.selection import Selection
    from buildah_py.engine.results import Result
    from buildah_py.engine.worker import Worker
    from buildah_py.layers.tree import SourceTree
    from buildah_py.plan import Node
    from buildah_py.plan.steps import MountStep
    from buildah_py.sandbox import Operation


class MadeMount(NamedTuple):
    """What a mount becomes: operations of the sandbox, and variables that the command sees and the key does not."""

    operations: tuple[Operation, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


def shown(worker: Worker, node: Node, mount: MountStep, tree: Result | None) -> Selection:
    """Give what a mount shows: what is below its source."""
    seen, where = shown_tree(worker, node, mount, tree)
    return select(seen, [mount.source or "/"], where=where, timed=tree is not None)


def make_mounts(
    worker: Worker,
    node: Node,
    mounts: Sequence[MountStep],
    trees: Sequence[Result | None],
    staged: str,
    held: ExitStack,
) -> Iterator[MadeMount]:
    """Make what the sandbox mounts for a step.

    Directories that are thrown away afterwards lie below `staged`; what has to last as long as the container runs is
    put on `held`. Raises NotFound for what is required and missing.
    """
    caches: Mapping[int, str] = {}
    if any(mount.type == "cache" for mount in mounts):
        from buildah_py.engine.ops.cache_mounts import open_caches, show_cache

        caches = open_caches(worker, node, mounts, trees, held)
    for number, mount in enumerate(mounts):
        tree = trees[mount.input] if mount.input is not None else None
        if number in caches:
            yield show_cache(mount, caches[number], held)
        elif mount.type == "tmpfs":
            yield MadeMount((TmpfsMount(mount.target, mount.size or 0),))
        elif mount.type == "bind":
            yield MadeMount((_bind(worker, node, mount, tree, staged),))
        elif mount.type == "secret":
            yield _secret(worker, mount)
        else:
            yield _agent(worker, mount, staged, number, held)


def _secret(worker: Worker, mount: MountStep) -> MadeMount:
    value = worker.reach.secret(mount.id)
    if value is None:
        if mount.required:
            raise NotFound(
                f"the secret `{mount.id}` is required and was not given", hint=f"add --secret id={mount.id},src=FILE"
            )
        return MadeMount()
    mode = 0o400 if mount.mode is None else mount.mode
    files = (FileMount(mount.target, value, mode, mount.uid, mount.gid),) if mount.target else ()
    variables = ((mount.env, value.decode("utf-8", "surrogateescape")),) if mount.env else ()
    return MadeMount(files, variables)


def _agent(worker: Worker, mount: MountStep, staged: str, number: int, held: ExitStack) -> MadeMount:
    from buildah_py.engine.ops.ssh_agent import AgentSocket

    name = mount.id or "default"
    agent = worker.reach.agents.get(name)
    if agent is None:
        if mount.required:
            raise NotFound(f"the ssh agent `{name}` is required and was not given", hint=f"add --ssh {name}")
        return MadeMount()
    target = mount.target or f"/run/pybuild/ssh_agent.{number}"
    place = os.path.join(staged, f"agent-{number}")
    os.mkdir(place)
    mode = 0o600 if mount.mode is None else mount.mode
    socket = held.enter_context(AgentSocket(agent, place, mode=mode, uid=mount.uid, gid=mount.gid))
    return MadeMount((BindMount(socket.path, target, readonly=False, mapped=True),), (("SSH_AUTH_SOCK", target),))


def shown_tree(worker: Worker, node: Node, mount: MountStep, tree: Result | None) -> tuple[SourceTree, str]:
    """Give the tree that a mount shows something of, and what messages call it."""
    assert mount.input is not None
    source = node.inputs[mount.input]
    return worker.contexts.open(source.context) if tree is None else worker.file_systems.view(
        tree.layers, tree.stamps
    ), source.name


def _bind(worker: Worker, node: Node, mount: MountStep, tree: Result | None, staged: str) -> Operation:
    shown, where = shown_tree(worker, node, mount, tree)
    path = resolve(shown, mount.source)
    if path and shown.entry(path) is None:
        raise NotFound(f"--mount={mount.target}: `{mount.source}` is not in {where}")
    if tree is not None:
        lowers = worker.store.lowers(tree.layers)
    else:
        # A copy, so that the mount shows what .dockerignore leaves, and that alone, whatever happens to the context.
        lowers = (_copy(worker, shown, path, where, os.path.join(staged, f"bind-{mount.input}")),)
    if mount.readonly:
        return OverlayMount(lowers, mount.target, path)
    upper, work = (os.path.join(staged, f"{name}-{mount.input}") for name in ("upper", "work"))
    os.mkdir(upper)
    os.mkdir(work)
    return OverlayMount(lowers, mount.target, path, upper, work)


def _copy(worker: Worker, shown: SourceTree, path: str, where: str, directory: str) -> str:
    os.mkdir(directory)
    with worker.file_systems.writer(directory) as writer:
        selection = select(shown, [path or "/"], where=where, parents=bool(path))
        materialise([selection], "/", shown, writer, link=True)
        writer.finish()
    return directory
