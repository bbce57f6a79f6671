"""RUN --mount: what each mount shows, as the sandbox wants it, and the digest of that for the step's key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildah_py.copy.materialise import materialise
from buildah_py.copy.select import select
from buildah_py.engine.made_mount import Made
from buildah_py.errors import NotFound
from buildah_py.layers.resolve import resolve
from buildah_py.sandbox import BindMount, FileMount, OverlayMount, TmpfsMount

if TYPE_CHECKING:
    from contextlib import ExitStack

    from buildah_py.copy.selection import Selection
    from buildah_py.engine.results import Result
    from buildah_py.engine.workshop import Workshop
    from buildah_py.layers.tree import SourceTree
    from buildah_py.plan import Node
    from buildah_py.plan.steps import MountStep
    from buildah_py.sandbox import Operation


def shown(workshop: Workshop, node: Node, mount: MountStep, tree: Result | None) -> Selection:
    """Give what a mount shows: what is below its source."""
    seen, where = shown_tree(workshop, node, mount, tree)
    return select(seen, [mount.source or "/"], where=where, timed=tree is not None)


def make_mount(
    workshop: Workshop, node: Node, mount: MountStep, tree: Result | None, staged: str, number: int, held: ExitStack
) -> Made:
    """Make what the sandbox mounts, for all but caches; `number` is the mount's place in the step.

    Directories that are thrown away afterwards lie below `staged`; what has to last as long as the container runs is
    put on `held`. Raises NotFound for what is required and missing.
    """
    if mount.type == "tmpfs":
        return Made((TmpfsMount(mount.target, mount.size or 0),))
    if mount.type == "bind":
        return Made((_bind(workshop, node, mount, tree, staged),))
    return _secret(workshop, mount) if mount.type == "secret" else _agent(workshop, mount, staged, number, held)


def _secret(workshop: Workshop, mount: MountStep) -> Made:
    value = workshop.reach.secret(mount.id)
    if value is None:
        if mount.required:
            raise NotFound(
                f"the secret `{mount.id}` is required and was not given", hint=f"add --secret id={mount.id},src=FILE"
            )
        return Made()
    mode = 0o400 if mount.mode is None else mount.mode
    files = (FileMount(mount.target, value, mode, mount.uid, mount.gid),) if mount.target else ()
    variables = ((mount.env, value.decode("utf-8", "surrogateescape")),) if mount.env else ()
    return Made(files, variables)


def _agent(workshop: Workshop, mount: MountStep, staged: str, number: int, held: ExitStack) -> Made:
    from buildah_py.engine.ssh_agent import AgentSocket

    name = mount.id or "default"
    agent = workshop.agents.get(name)
    if agent is None:
        if mount.required:
            raise NotFound(f"the ssh agent `{name}` is required and was not given", hint=f"add --ssh {name}")
        return Made()
    target = mount.target or f"/run/pybuild/ssh_agent.{number}"
    place = os.path.join(staged, f"agent-{number}")
    os.mkdir(place)
    mode = 0o600 if mount.mode is None else mount.mode
    socket = held.enter_context(AgentSocket(agent, place, mode=mode, uid=mount.uid, gid=mount.gid))
    return Made((BindMount(socket.path, target, readonly=False, mapped=True),), (("SSH_AUTH_SOCK", target),))


def shown_tree(workshop: Workshop, node: Node, mount: MountStep, tree: Result | None) -> tuple[SourceTree, str]:
    """Give the tree that a mount shows something of, and what messages call it."""
    assert mount.input is not None
    source = node.inputs[mount.input]
    return workshop.context(source.context) if tree is None else workshop.view(tree.layers, tree.stamps), source.name


def _bind(workshop: Workshop, node: Node, mount: MountStep, tree: Result | None, staged: str) -> Operation:
    shown, where = shown_tree(workshop, node, mount, tree)
    path = resolve(shown, mount.source)
    if path and shown.entry(path) is None:
        raise NotFound(f"--mount={mount.target}: `{mount.source}` is not in {where}")
    if tree is not None:
        lowers = workshop.lowers(tree.layers)
    else:
        # A copy, so that the mount shows what .dockerignore leaves, and that alone, whatever happens to the context.
        lowers = (_copy(workshop, shown, path, where, os.path.join(staged, f"bind-{mount.input}")),)
    if mount.readonly:
        return OverlayMount(lowers, mount.target, path)
    upper, work = (os.path.join(staged, f"{name}-{mount.input}") for name in ("upper", "work"))
    os.mkdir(upper)
    os.mkdir(work)
    return OverlayMount(lowers, mount.target, path, upper, work)


def _copy(workshop: Workshop, shown: SourceTree, path: str, where: str, directory: str) -> str:
    os.mkdir(directory)
    with workshop.writer(directory) as writer:
        selection = select(shown, [path or "/"], where=where, parents=bool(path))
        materialise([selection], "/", shown, writer, link=True)
        writer.finish()
    return directory
