"""From a syntax tree to a plan: which stages the target needs, in which order, on which base images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.stage import Settings
from buildah_py.buildfile.variables import proxies, undeclared
from buildah_py.buildfile.walk import SCRATCH, Walk
from buildah_py.errors import NotFound, UsageError
from buildah_py.frozen import dataclass, field
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.plan.graph import Input, NeedsValue, Node, Plan
from buildah_py.plan.stage import StageFold
from buildah_py.plan.steps import BaseStep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.buildfile import tree
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.source import Span
    from buildah_py.buildfile.stage import Origin, StageWalk
    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the command line adds to a build file.

    `resolve` gives the config of an image by the name in FROM and the platform; it raises NotFound. `env` are variables
    of every stage from its beginning, whatever ENV and ARG say of them. `contexts` are the
    further build contexts by their keys, `container` what of the containers' options belongs into keys.
    """

    resolve: Callable[[str, str], ImageConfig]
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str
    build_platform: str
    network: str = "default"
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    hostname: str = "pybuild"
    container: Mapping[str, object] = field(default_factory=dict)


def make_plan(build_file: tree.BuildFile, options: PlanOptions, values: Sequence[str] = ()) -> Plan | NeedsValue:
    """Plan the target stage and all that it needs, or as much as can be known.

    Whoever is given NeedsValue executes its nodes, and asks again with what the last of them printed behind `values`,
    what those before have printed: the same nodes come first in the next plan. Nothing is kept from one to the next,
    as a walk over a file takes next to no time. Raises BuildFileError, NotFound, UsageError.
    """
    planner = Planner(options, values)
    settings = Settings(
        options.platform,
        options.build_platform,
        options.build_args,
        options.target,
        options.contexts,
        options.env,
    )
    try:
        return planner.plan(Walk(build_file, settings, planner))
    except _ValueNeeded:
        return planner.so_far()


class _ValueNeeded(Exception):
    """The walk has come to a value that nobody has told yet."""


class Planner:
    """Makes a plan of what a walk over a build file finds; `values` are those of `make_plan`."""

    def __init__(self, options: PlanOptions, values: Sequence[str]) -> None:
        self._options = options
        self._values = iter(values)
        self._nodes: list[Node] = []
        self._counts: dict[str, int] = {}
        self._bases: dict[tuple[str, str], tuple[int, ImageConfig]] = {}
        self.network = options.network
        self.proxies = proxies(options.build_args)
        self.container = tuple(options.container.items())
        self.hostname = options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or options.hostname

    def plan(self, walk: Walk) -> Plan:
        """Plan the target of a walk."""
        fold = fold_of(walk.need(walk.target))
        config = fold.config.with_labels(self._options.labels) if self._options.labels else fold.config
        warnings = [
            *_front_end(walk),
            *(
                f"build argument {name} was given, but nothing in the build file declares it"
                for name in undeclared(self._options.build_args, walk.declared)
            ),
            *(
                f"the context {name} was given, but nothing in the build file names it"
                for name in walk.unused_contexts()
            ),
        ]
        bases = {asked: base for asked, (_, base) in self._bases.items()}
        return Plan(
            tuple(self._nodes), fold.node, config, tuple(fold.history), dict(self._counts), tuple(warnings), bases
        )

    def so_far(self) -> NeedsValue:
        """Give what is planned, the last of which tells the value that is needed next."""
        return NeedsValue(tuple(self._nodes), dict(self._counts))

    # the walk's observer

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        """Nothing of the plan depends on stages before they are needed."""

    def stage(self, stage: StageWalk) -> StageFold:
        """Fold a stage."""
        label = stage.label if stage.tree.name or len(stage.walk.file.stages) > 1 else ""
        if self._counts.get(label):
            label = f"{label}#{stage.index}"
        return StageFold(self, stage, label)

    # what stages ask for

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
    ) -> int:
        """Append a node; its index."""
        number = self._counts[stage] = self._counts.get(stage, 0) + 1
        self._nodes.append(Node(len(self._nodes), step, parent, inputs, stage, number, text, place, shown or text))
        return len(self._nodes) - 1

    def input(self, fold: StageFold, origin: Origin, span: Span) -> Input:
        """Give the tree that an instruction takes files from."""
        if origin.stage is not None:
            return Input(node=fold_of(origin.stage).node, name=f"the stage {origin.stage.label}")
        if origin.context is not None:
            return Input(context=origin.context.key, name=f"the context {origin.context.name}")
        name, stage = origin.image, fold.stage
        try:
            node, _ = self.image(name, stage.walk.settings.platform, fold.name, fold.place(span))
        except (NotFound, UsageError) as error:
            hint = stage.walk.similar(name) or error.hint
            raise stage.error(
                f"`{name}` is no stage of this file, and as an image: {error.message}", span, hint
            ) from error
        return Input(node=node, name=f"the image {name}")

    def value(self) -> str:
        """Give what the CaptureStep that was added last prints, without its last newlines."""
        value = next(self._values, None)
        if value is None:
            raise _ValueNeeded
        return value.rstrip("\n")

    def image(self, name: str, platform: str, label: str, place: str) -> tuple[int, ImageConfig]:
        """Make the node of a base image, once for each image."""
        if (name, platform) in self._bases:
            return self._bases[name, platform]
        if name == SCRATCH:
            config, image = image_config.new(platforms.parse(platform)).with_working_dir("/"), ""
        else:
            config = self._options.resolve(name, platform)
            image = config.digest()
        step = BaseStep(name, config.diff_ids, image)
        node = self.add(step, parent=None, stage=label, text=f"FROM {name}", place=place)
        self._bases[name, platform] = node, config
        return node, config


def _front_end(walk: Walk) -> list[str]:
    """Warn of a front end that is not run."""
    if not walk.file.directives.syntax:
        return []
    from buildah_py.buildfile.front_end import foreign_front_end

    found = foreign_front_end(walk.file)
    return [f"{walk.file.source.name}:{found.line}: {found.message()}"] if found else []


def fold_of(stage: StageWalk) -> StageFold:
    """Give what a walked stage came to."""
    fold = stage.observer
    assert isinstance(fold, StageFold)
    return fold
