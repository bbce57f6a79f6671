"""From a syntax tree to a plan: which stages the target needs, in which order, on which base images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.stage import Settings
from buildah_py.buildfile.variables import proxies, undeclared
from buildah_py.buildfile.walk import Walk
from buildah_py.frozen import dataclass, field, replace
from buildah_py.plan.graph import (
    WHOLE,
    BuiltTarget,
    GraphBuilder,
    GraphPart,
    NeedsValue,
    Plan,
    ValueNeededError,
    label_of,
)
from buildah_py.plan.stage import RunDefaults, StageFold, fold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.buildfile import tree
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.stage import StageWalk
    from buildah_py.image.config import ImageConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """Options that the command line adds to a build file.

    `resolve` gives the config of an image by the name in FROM and the platform; it raises NotFound. `env` are variables
    of every stage from its beginning, whatever ENV and ARG say of them. `contexts` are the
    further build contexts by their keys, `container` what of the containers' options belongs into keys. `part` says
    which of several builds of one graph it is.
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
    part: GraphPart = WHOLE


def make_plan(build_file: tree.BuildFile, options: PlanOptions, values: Sequence[str] = ()) -> Plan | NeedsValue:
    """Plan the target stage and all that it needs, or as much as can be known.

    Whoever is given NeedsValue executes its nodes, and asks again with what the last of them printed behind `values`,
    what those before have printed: the same nodes come first in the next plan. Nothing is kept from one to the next,
    as a walk over a file takes next to no time. Raises BuildFileError, NotFound, UsageError.
    """
    plans = make_plans(build_file, [options], values)
    return plans if isinstance(plans, NeedsValue) else plans[0]


def make_plans(
    build_file: tree.BuildFile, options: Sequence[PlanOptions], values: Sequence[str] = ()
) -> tuple[Plan, ...] | NeedsValue:
    """Plan the target for several platforms, as `make_plan` does for one: all plans have one graph.

    A step that is the same for two of them stands in it once.
    """
    return plan_together([(build_file, one) for one in options], values)


def plan_together(
    builds: Sequence[tuple[tree.BuildFile, PlanOptions]], values: Sequence[str] = ()
) -> tuple[Plan, ...] | NeedsValue:
    """Plan builds of one graph, as `make_plan` does one of them; each stands behind those whose results it takes.

    With the platforms of one build, or with several builds, stages are shown with what tells them apart.
    """
    options = [one for _, one in builds]
    graph = GraphBuilder(options[0].resolve, values, shared=len(options) > 1)
    plans = []
    for build_file, one in builds:
        several = sum(other.part.number == one.part.number for other in options) > 1
        planner = Planner(one, graph, shown=several)
        settings = Settings(one.platform, one.build_platform, one.build_args, one.target, one.contexts, one.env)
        try:
            plans.append(planner.plan(Walk(build_file, settings, planner)))
        except ValueNeededError:
            return planner.so_far()
    if len(plans) == 1:
        return tuple(plans)
    nodes, stages = tuple(graph.nodes), dict(graph.stages)
    return tuple(replace(plan, nodes=nodes, stages=stages) for plan in plans)


class Planner:
    """Makes a plan of what a walk over a build file finds, in a `graph` that may hold others'.

    With `shown`, stages are shown with their platforms.
    """

    def __init__(self, options: PlanOptions, graph: GraphBuilder, *, shown: bool = False) -> None:
        self._options = options
        self._graph = graph
        self._shown = shown
        self._defaults = RunDefaults(
            options.network,
            options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or options.hostname,
            proxies(options.build_args),
            tuple(options.container.items()),
        )

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
        graph = self._graph
        bases = {asked: base for asked, (_, base) in graph.bases.items()}
        bases |= {asked: built.config for asked, built in graph.built.items()}
        part = self._options.part
        if part.provides:
            graph.built[part.provides, self._options.platform] = BuiltTarget(fold.node, config, tuple(fold.history))
        return Plan(
            tuple(graph.nodes),
            fold.node,
            config,
            tuple(fold.history),
            dict(graph.stages),
            tuple(warnings),
            bases,
            self._options.platform,
        )

    def so_far(self) -> NeedsValue:
        """Give what is planned, the last of which tells the value that is needed next."""
        return NeedsValue(tuple(self._graph.nodes), dict(self._graph.stages))

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        """Nothing of the plan depends on stages before they are needed."""

    def stage(self, stage: StageWalk) -> StageFold:
        """Fold a stage."""
        label = stage.label if stage.tree.name or len(stage.walk.file.stages) > 1 else ""
        platform = self._shown_platform(stage) if self._shown else ""
        part = self._options.part
        platform = f"{part.label} {platform}".strip()
        if self._graph.stages.get(label_of(platform, label)):
            label = f"{label}#{stage.index}"
        return StageFold(self._graph, self._defaults, stage, label, platform, part, self._options.resolve)

    def _shown_platform(self, stage: StageWalk) -> str:
        """Show a stage's platform, and the architecture that it works for where that is another."""
        from buildah_py.image import platform as platforms

        own, target = platforms.parse(stage.platform), platforms.parse(self._options.platform)
        return str(own) if own == target else f"{own}->{str(target).removeprefix(f'{own.os}/')}"


def _front_end(walk: Walk) -> list[str]:
    """Warn of a front end that is not run."""
    if not walk.file.directives.syntax:
        return []
    from buildah_py.buildfile.front_end import foreign_front_end

    found = foreign_front_end(walk.file)
    return [f"{walk.file.source.name}:{found.line}: {found.message()}"] if found else []
