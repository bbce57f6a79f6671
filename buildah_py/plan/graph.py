"""The graph that a build file becomes, node by node, and the image config that goes with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from buildah_py.buildfile.walk import SCRATCH
from buildah_py.frozen import dataclass
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.plan.steps import BaseStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.steps import Step
    from buildah_py.source_text import Where


BUILT: Final = "target://"
"""How the names begin by which builds of one graph take what others make; no image is called so."""


class Input(NamedTuple):
    """A tree that a step reads: the result of node `node`, or of a build context by its `context` name.

    The main context is "". `name` is what a message calls the tree.
    """

    node: int | None = None
    context: str = ""
    name: str = "the build context"


class Around(NamedTuple):
    """Variables, working directory and user of the commands behind a step."""

    env: tuple[tuple[str, str], ...] = ()
    cwd: str = "/"
    user: str = ""


NOTHING_AROUND = Around()


def _nobody(_step: Step, _stage: str) -> str:
    return ""


class GraphPart(NamedTuple):
    """One of several builds whose plans have one graph: its number, and the `label` that people know it by.

    `contexts` gives the names that its contexts have in the graph, by their keys in the build. `apart` is asked of each
    step with its stage: what it gives is what another build's step has to have, too, to be the same one. `pull` is how
    it looks for base images, `provides` the name of an image by which other builds of the graph take what it makes.
    """

    number: int = 0
    label: str = ""
    contexts: Mapping[str, str] = {}
    apart: Callable[[Step, str], str] = _nobody
    pull: str = ""
    provides: str = ""


WHOLE = GraphPart()
"""The only build of a graph."""


@dataclass(frozen=True, slots=True)
class Node:
    """A step with what it runs on and reads; indices point to earlier nodes of the plan.

    `stage` is the stage's name for people, `number` its place in there from 1, `text` the instruction, `place`
    where that stands (`Buildfile:7`), `shown` the instruction with the values of its variables, `where` its lines,
    `around` what a command behind it would see. `platform` is that of the stage (`linux/arm64`, or where it works
    for another one `linux/amd64->arm64`) in a build for several, else "", behind the label of its build in a graph
    of several builds, of which it belongs to number `part`.
    """

    index: int
    step: Step
    parent: int | None
    inputs: tuple[Input, ...]
    stage: str
    number: int
    text: str
    place: str
    shown: str = ""
    where: Where | None = None
    around: Around = NOTHING_AROUND
    platform: str = ""
    part: int = 0

    @property
    def label(self) -> str:
        """The stage as people are shown it, with its platform where there are several."""
        return label_of(self.platform, self.stage)

    @property
    def needs(self) -> tuple[int, ...]:
        """The nodes that it runs on and reads."""
        return tuple(index for index in (self.parent, *(one.node for one in self.inputs)) if index is not None)


def label_of(platform: str, stage: str) -> str:
    """Return how a stage is called where stages of several platforms are shown side by side."""
    return f"{platform} {stage}".strip() if platform else stage


class HistoryItem(NamedTuple):
    """A line of the image's history; `node` made its layer, None where there is none."""

    created_by: str
    node: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes to execute for a target, in an order in which each node follows all that it needs.

    `config` is the target's image config but for what only execution tells: `history` and the diff_ids that belong to
    its nodes. `stages` gives each planned stage's number of nodes by its label, `bases` the configs of base images by
    their name and the platform that was asked for. `platform` is the one that the target is for. Plans of one build for
    several platforms have the same nodes.
    """

    nodes: tuple[Node, ...]
    target: int
    config: ImageConfig
    history: tuple[HistoryItem, ...]
    stages: dict[str, int]
    warnings: tuple[str, ...]
    bases: Mapping[tuple[str, str], ImageConfig]
    platform: str = ""

    def needed(self) -> frozenset[int]:
        """Return the indices of the target and of all that it needs."""
        found = {self.target}
        for node in reversed(self.nodes[: self.target + 1]):
            if node.index in found:
                found.update(node.needs)
        return frozenset(found)


class BuiltTarget(NamedTuple):
    """Result of a build of the graph, for the others: the last node, the image's config and its history."""

    node: int
    config: ImageConfig
    history: tuple[HistoryItem, ...]


class NeedsValue(NamedTuple):
    """The beginning of a plan: the rest depends on what the last of its nodes, a CaptureStep, prints."""

    nodes: tuple[Node, ...]
    stages: dict[str, int]


class ValueNeededError(Exception):
    """The plan has come to a value that nobody has told yet."""


class GraphBuilder:
    """Adds the nodes of a plan one by one; `stages` counts those of each stage, `bases` has the images met so far.

    `resolve` is that of PlanOptions, `values` are those of `make_plan`. A graph of several plans (`shared`) has each
    step once that does the same for more than one of them.
    """

    def __init__(
        self, resolve: Callable[[str, str], ImageConfig], values: Iterable[str], *, shared: bool = False
    ) -> None:
        self._resolve = resolve
        self._values = iter(values)
        self._told: dict[int, str] = {}
        self._same: dict[tuple[str, int | None, tuple[tuple[int | None, str], ...], str], int] | None = (
            {} if shared else None
        )
        self._images: dict[tuple[str, str, str], tuple[int, ImageConfig]] = {}
        self.built: dict[tuple[str, str], BuiltTarget] = {}
        self.nodes: list[Node] = []
        self.stages: dict[str, int] = {}
        self.bases: dict[tuple[str, str], tuple[int, ImageConfig]] = {}

    def add(
        self,
        step: Step,
        *,
        parent: int | None,
        stage: str,
        text: str,
        place: str,
        inputs: tuple[Input, ...] = (),
        shown: str = "",
        where: Where | None = None,
        around: Around = NOTHING_AROUND,
        platform: str = "",
        part: GraphPart = WHOLE,
    ) -> int:
        """Append a node, unless another plan has the same; its index."""
        label = label_of(platform, stage)
        number = self.stages[label] = self.stages.get(label, 0) + 1
        index = len(self.nodes)
        if part.contexts:
            inputs = tuple(
                one if one.node is not None else one._replace(context=part.contexts[one.context]) for one in inputs
            )
        if self._same is not None:
            reads = tuple((one.node, one.context) for one in inputs)
            # What a step says of containers need not be hashable; that it is plain data says all of it.
            known = self._same.setdefault((repr(step), parent, reads, part.apart(step, stage)), index)
            if known != index:
                return known
        self.nodes.append(
            Node(
                index,
                step,
                parent,
                inputs,
                stage,
                number,
                text,
                place,
                shown or text,
                where,
                around,
                platform,
                part.number,
            )
        )
        return index

    def image(
        self,
        name: str,
        platform: str,
        stage: str,
        place: str,
        shown_platform: str = "",
        *,
        part: GraphPart = WHOLE,
        resolve: Callable[[str, str], ImageConfig] | None = None,
    ) -> tuple[int, ImageConfig]:
        """Append the node of a base image, once for each image; its index and the image's config.

        `resolve` is the one of the build at hand, where it is not that of the first.
        """
        if (name, platform, part.pull) in self._images:
            label = label_of(shown_platform, stage)
            if self._same is not None and label not in self.stages:
                self.stages[label] = 1  # the stage of another plan that begins so has counted it too
            return self._images[name, platform, part.pull]
        if name == SCRATCH:
            config, image = image_config.new(platforms.parse(platform)).with_working_dir("/"), ""
        else:
            config = (resolve or self._resolve)(name, platform)
            image = config.digest()
        step = BaseStep(name, config.diff_ids, image)
        around = Around(tuple(config.environment().items()), config.working_dir or "/", config.user)
        node = self.add(
            step,
            parent=None,
            stage=stage,
            text=f"FROM {name}",
            place=place,
            around=around,
            platform=shown_platform,
            part=part._replace(contexts={}, apart=_nobody),
        )
        self.bases[name, platform] = self._images[name, platform, part.pull] = node, config
        return node, config

    def value(self, node: int) -> str:
        """Give what a CaptureStep prints, without its last newlines. Raises ValueNeededError; the node is the last."""
        if node not in self._told:
            value = next(self._values, None)
            if value is None:
                raise ValueNeededError
            self._told[node] = value.rstrip("\n")
        return self._told[node]
