"""A shell on the state behind one step of a build, which is built up to there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.errors import UsageError
from buildah_py.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from buildah_py.api.request import BuildRequest
    from buildah_py.plan import Node
    from buildah_py.progress.events import Event

_SHOWN = 12


class Reached(NamedTuple):
    """State behind a step: its layers, and what commands behind it see and run as."""

    layers: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str
    place: str


def reach(request: BuildRequest, at: str, emit: Callable[[Event], None]) -> Reached:
    """Execute what a step needs, and the step, as far as they are not hits.

    `at` is `STAGE/NUMBER`, a number, an instruction, or any of these as progress shows them. Raises UsageError where no
    step is called so, and what a build raises.
    """
    from buildah_py.api.build import plan_build
    from buildah_py.api.opening import open_build, target_platforms
    from buildah_py.engine import Engine
    from buildah_py.progress import events

    if len(target_platforms(request)) > 1:
        raise UsageError(
            f"--platform {request.platform}: a shell is for one platform", hint="name the one whose step it is"
        )
    with open_build(request, (), emit) as session:
        engine = Engine(session.worker, policy=session.policy, jobs=request.jobs)
        plan = plan_build(_towards(request, at), session, engine)[0]
        node = find_step(plan.nodes, at)
        nodes = up_to(plan.nodes, node.index)
        emit(events.BuildStarted(len(nodes)))
        results = engine.run(nodes, plan.stages, dict)
        session.worker.store.make_durable()
        around = node.around
        return Reached(results[len(nodes) - 1].layers, around.env, around.cwd, around.user, node.place)


def _towards(request: BuildRequest, at: str) -> BuildRequest:
    """Plan the stage that is named, which need not be one that the last stage needs."""
    stage, _ = _split(at)
    if request.target or not stage:
        return request
    number = stage.removeprefix("stage-")
    return replace(request, target=number if number.isdecimal() else stage)


def _split(at: str) -> tuple[str, int]:
    """Read `build/2`, `build 2/5`, `[build 2/5] RUN make`, `2`; no stage and 0 for anything else."""
    text = at.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif " " in text and not text.rpartition(" ")[2].replace("/", "").isdecimal():
        return "", 0
    stage, _, number = text.rpartition(" ")
    if stage or text.replace("/", "").isdecimal():
        number = (number or text).partition("/")[0]
    else:
        stage, _, number = text.rpartition("/")
    return (stage, int(number[:9])) if number.isdecimal() else ("", 0)


def find_step(nodes: Sequence[Node], at: str) -> Node:
    """Return the node of a step. Raises UsageError."""
    stage, number = _split(at)
    found: list[Node] = []
    if number:
        found = [node for node in nodes if node.number == number and (not stage or node.stage == _label(nodes, stage))]
        if not stage and found:  # of the stage that is built
            found = [node for node in found if node.stage == nodes[-1].stage] or found
    if not found:
        wanted = " ".join(at.split())
        found = [node for node in nodes if " ".join(node.text.split()).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    names = [f"{node.stage}/{node.number}".lstrip("/") for node in found or nodes]
    listed = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    raise UsageError(
        f"--at {at}: {'several steps are called so' if found else 'there is no such step'}", hint=f"steps are {listed}"
    )


def _label(nodes: Sequence[Node], stage: str) -> str:
    """Give the name of a stage in a plan, which may be given by its number."""
    names = {node.stage for node in nodes}
    return f"stage-{stage}" if stage not in names and f"stage-{stage}" in names else stage.lower()


def up_to(nodes: Sequence[Node], last: int) -> tuple[Node, ...]:
    """Give a node and all that it needs as nodes of a plan of their own."""
    needed = {last}
    for node in reversed(nodes[: last + 1]):
        if node.index in needed:
            needed.update(node.needs)
    places = {index: place for place, index in enumerate(sorted(needed))}
    found = []
    for index, place in places.items():
        node = nodes[index]
        inputs = tuple(one if one.node is None else one._replace(node=places[one.node]) for one in node.inputs)
        parent = None if node.parent is None else places[node.parent]
        found.append(replace(node, index=place, parent=parent, inputs=inputs))
    return tuple(found)


def run_reached(
    request: BuildRequest, reached: Reached, command: tuple[str, ...], user: str, warn: Callable[[str], object]
) -> int:
    """Run a command there on this process's own standard streams; its exit status."""
    from buildah_py.api.state import open_store
    from buildah_py.running.container import container_on, run_container, variables

    tty = os.isatty(0)
    if tty:
        from buildah_py.sandbox.terminal import check_terminal

        check_terminal()
    with open_store(request.environ) as store:
        spec = container_on(
            store,
            reached.layers,
            reached.place,
            argv=command,
            env=variables(dict(reached.env), tty=tty),
            cwd=reached.cwd,
            user=user or reached.user,
            network=request.network,
            tty=tty,
            name="shell",
        )
        shape = request.container.shaper(request.environ, store)
        return run_container(store, spec, shape, warn, interactive=True)
