"""What a build file could do better, from what its steps were seen to read in builds on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.opening import open_build
from buildah_py.cache.observations import unpack
from buildah_py.commands.why import plan_unexecuted, record_finder
from buildah_py.engine.dry_run import DryRun, LayersStay
from buildah_py.errors import CacheError, NotFound, PybuildError
from buildah_py.explain.advice import Advice, Copied, Ran, advise
from buildah_py.frozen import replace
from buildah_py.plan.steps import CopyStep, RunStep
from buildah_py.sharing.options import CacheOptions
from buildah_py.store.names import full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from buildah_py.api.opening import BuildSession
    from buildah_py.api.request import BuildRequest
    from buildah_py.cache import Cache, Record
    from buildah_py.cache.observations import Observation
    from buildah_py.engine.dry_run import DryStep
    from buildah_py.history.builds import PastStep
    from buildah_py.plan import Node

_LATELY = 20
"""Builds of the history that are looked at."""


def find_advice(request: BuildRequest) -> list[Advice]:
    """Say what could be better. Raises what planning raises, NotFound where no build has noted what its steps read."""
    request = replace(request, caching=CacheOptions())
    names = [full_name(name) for name in request.names]
    with open_build(request, names, lambda _: None, registries=request.registries, provider=LayersStay()) as session:
        worker = session.worker
        dry_run = DryRun(worker, record_finder(worker.store, worker.cache, session.policy, None))
        nodes, _, _ = plan_unexecuted(request, session, dry_run)
        steps = dry_run.look(nodes)
        copies = {node.index: _copied(node, nodes, dry_run) for node in nodes if _of_context(node)}
        lately = list(_lately(session))
        runs = [
            _ran(step, nodes, worker.cache, copies, lately) for step in steps if isinstance(step.node.step, RunStep)
        ]
    if not any(run.observation for run in runs):
        raise NotFound(
            "no build has noted yet what the steps of this build file read",
            hint="build it first, with --observe=on; `pybuild doctor` tells whether that is possible here",
        )
    return advise(runs, [one for one in copies.values() if one is not None])


def _of_context(node: Node) -> bool:
    return isinstance(node.step, CopyStep) and node.inputs[0].node is None and not node.inputs[0].context


def _copied(node: Node, nodes: Sequence[Node], dry_run: DryRun) -> Copied | None:
    """Say what a COPY brings; None where that is not known before it is executed."""
    try:
        origins = dry_run.origins(node)
    except PybuildError:
        return None
    if origins is None:
        return None
    return Copied(node.place, " ".join(node.text.split()), origins, frozenset(_kept(node, nodes, origins)))


def _kept(node: Node, nodes: Sequence[Node], files: Iterable[str]) -> Iterator[str]:
    """Give the files that are in the image, or that other stages or RUN --mount take from this one."""
    on_it = {node.index}
    for other in nodes[node.index + 1 :]:
        if other.parent in on_it:
            on_it.add(other.index)
        takes = [one.node in on_it for one in other.inputs]
        if any(takes) and isinstance(other.step, CopyStep):
            sources = [source.strip("/") for source in other.step.sources]
            for path in files:
                if any(not one or "*" in one or path == one or path.startswith(f"{one}/") for one in sources):
                    yield path
        elif any(takes):
            yield from files
    if nodes[-1].index in on_it:
        yield from files


def _ran(
    step: DryStep, nodes: Sequence[Node], cache: Cache, copies: dict[int, Copied | None], lately: Sequence[PastStep]
) -> Ran:
    node = step.node
    assert isinstance(node.step, RunStep)
    chain: list[Node] = []
    at = node.parent
    while at is not None:
        chain.append(nodes[at])
        at = nodes[at].parent
    slots = [copies.get(one.index) for one in reversed(chain) if isinstance(one.step, CopyStep)]
    record = step.record or _last(step, cache)
    past = [one for one in lately if one.stage == node.label and one.text == node.text]
    return Ran(
        node.place,
        " ".join(node.text.split()),
        " ".join(node.step.args),
        record.seconds if record is not None else 0.0,
        node.step.arguments,
        _observation(record, cache),
        tuple(slots),
        sum(one.outcome == "ran" and "which it listed" in one.reason for one in past),
        sum(one.outcome == "hit" and one.reason.startswith("nothing it read") for one in past),
    )


def _last(step: DryStep, cache: Cache) -> Record | None:
    """Give the record that the step had last, whatever it ran on."""
    if step.ingredients is None:
        return None
    near = cache.near(step.ingredients.about, step.ingredients.kind)
    same = (record for record, own in near if own and record.about.text == step.ingredients.about.text)
    return next(same, None)


def _observation(record: Record | None, cache: Cache) -> Observation | None:
    data = cache.input_list(record.observed[1]) if record is not None and record.observed[1] else None
    if data is None:
        return None
    try:
        return unpack(data)
    except CacheError:
        return None


def _lately(session: BuildSession) -> Iterator[PastStep]:
    """Give the steps of the last builds of the same build file."""
    from itertools import islice

    from buildah_py.history.builds import builds

    name = session.build_file.source.name
    for build in islice((one for one in builds(session.worker.store.root) if one.file == name), _LATELY):
        yield from build.steps
