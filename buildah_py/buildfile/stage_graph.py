"""Graph of a build file's stages: what each begins with, and what it takes files from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.buildfile.stage import StageObserver
from buildah_py.buildfile.walk import SCRATCH, Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.buildfile import tree
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.stage import FilesOrigin, MountUse, Settings, StageWalk, Transfer
    from buildah_py.buildfile.tree import BuildFile

STAGE: Final = "stage"
IMAGE: Final = "image"
CONTEXT: Final = "context"
FROM: Final = "from"
COPY: Final = "copy"
MOUNT: Final = "mount"


class GraphedStage(NamedTuple):
    """A stage, an image or a context; `line` is that of a stage's FROM, `steps` how many instructions make layers."""

    kind: str
    name: str
    line: int = 0
    steps: int = 0
    target: bool = False


class GraphedEdge(NamedTuple):
    """Something that `target` takes from `source` (indices of nodes): it is FROM it, copies out of it or mounts it."""

    source: int
    target: int
    kind: str


class StageGraph(NamedTuple):
    """Stages and what else a build begins with, and what leads from one to another."""

    nodes: tuple[GraphedStage, ...]
    edges: tuple[GraphedEdge, ...]


def stage_graph(file: BuildFile, settings: Settings) -> StageGraph:
    """Give the graph of the target and what it needs; of all stages where no target was asked for.

    Raises:
        BuildFileError: a build would fail.
        UsageError: there is no such target.

    """
    found = _Found()
    walk = Walk(file, settings, found)
    walk.run()
    nodes: dict[tuple[str, str], GraphedStage] = {}
    for stage in walk.stages:
        own = found.stages.get(stage.index)
        if own is None:
            continue
        for kind, name in [source for source, _ in own.taken if source[0] != STAGE]:
            nodes.setdefault((kind, name), GraphedStage(kind, name))
        line = stage.tree.base.span.start.line
        key = STAGE, str(stage.index)
        nodes[key] = GraphedStage(STAGE, stage.label, line, own.steps, stage is walk.target)
    places = {key: place for place, key in enumerate(nodes)}
    edges = (
        GraphedEdge(places[source], places[STAGE, str(index)], kind)
        for index, own in sorted(found.stages.items())
        for source, kind in own.taken
    )
    return StageGraph(tuple(nodes.values()), tuple(dict.fromkeys(edges)))


class _Found:
    def __init__(self) -> None:
        self.stages: dict[int, _Taking] = {}

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        """Do nothing: a FROM is told of when its stage begins."""

    def stage(self, stage: StageWalk) -> StageObserver:
        return self.stages.setdefault(stage.index, _Taking())


class _Taking(StageObserver):
    """Collects what a stage takes: the key of a node, and how."""

    def __init__(self) -> None:
        self.steps = 0
        self.taken: list[tuple[tuple[str, str], str]] = []

    def begin(self, name: str, context: NamedContext | None) -> None:
        if context is not None:
            key = (IMAGE, context.location) if context.kind == "image" else (CONTEXT, context.name)
            self.taken.append((key, FROM))
        elif name != SCRATCH:
            self.taken.append(((IMAGE, name), FROM))

    def inherit(self, base: StageWalk) -> None:
        self.taken.append(((STAGE, str(base.index)), FROM))

    def run(self, instruction: tree.Run, mounts: Sequence[MountUse]) -> None:  # noqa: ARG002
        self.steps += 1
        for mount in mounts:
            if mount.origin is not None:
                self._take(mount.origin, MOUNT)

    def copy(self, instruction: tree.Copy, transfer: Transfer) -> None:  # noqa: ARG002
        self._transfer(transfer)

    def add(self, instruction: tree.Add, transfer: Transfer) -> None:  # noqa: ARG002
        self._transfer(transfer)

    def workdir(self, instruction: tree.Workdir, path: str) -> None:  # noqa: ARG002
        self.steps += 1

    def _transfer(self, transfer: Transfer) -> None:
        self.steps += 1
        if transfer.origin is not None:
            self._take(transfer.origin, COPY)

    def _take(self, origin: FilesOrigin, kind: str) -> None:
        if origin.stage is not None:
            self.taken.append(((STAGE, str(origin.stage.index)), kind))
        elif origin.context is not None:
            self.taken.append(((CONTEXT, origin.context.name), kind))
        elif origin.image and origin.image != SCRATCH:
            self.taken.append(((IMAGE, origin.image), kind))
