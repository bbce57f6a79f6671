"""From a syntax tree to a plan: which stages the target needs, in which order, on which base images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile import expand as expansion
from buildah_py.buildfile.conditions import every
from buildah_py.buildfile.source import Source
from buildah_py.errors import BuildFileError, NotFound, PybuildError, UsageError
from buildah_py.frozen import dataclass, field
from buildah_py.image import config as image_config
from buildah_py.image import platform as platforms
from buildah_py.plan.graph import Input, Node, Plan
from buildah_py.plan.stage import StageFold
from buildah_py.plan.steps import BaseStep
from buildah_py.plan.variables import DEFAULT_PATH, Arguments, platform_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.buildfile import tree
    from buildah_py.buildfile.source import Span
    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.steps import Step
    from buildah_py.sources.named import NamedContext

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the command line adds to a build file.

    `resolve` gives the config of an image by the name in FROM and the platform; it raises NotFound. `env` are variables
    of every stage from its beginning, whatever ENV says of them. `contexts` are the
    further build contexts by their names, `container` what of the containers' options belongs into keys. `evaluate`
    executes the nodes so far, of which the last is a CaptureStep, and gives what that printed.
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
    evaluate: Callable[[Sequence[Node], Mapping[str, int]], str] | None = None


def make_plan(build_file: tree.BuildFile, options: PlanOptions) -> Plan:
    """Plan the target stage and all that it needs. Raises BuildFileError, NotFound, UsageError."""
    return Planner(build_file, options).plan()


class Planner:
    """The state of planning one build file."""

    def __init__(self, build_file: tree.BuildFile, options: PlanOptions) -> None:
        self._file = build_file
        self._options = options
        self._nodes: list[Node] = []
        self._counts: dict[str, int] = {}
        self._folds: dict[int, StageFold] = {}
        self.extensions = build_file.extensions
        self._open: list[int] = []
        self._bases: dict[tuple[str, str], tuple[int, ImageConfig]] = {}
        self.arguments = Arguments(options.build_args)
        self.network = options.network
        self.env = options.env
        self.platform = options.platform
        self.container = tuple(options.container.items())
        self.hostname = self.arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or options.hostname
        self._predefined = platform_arguments(options.build_platform, options.platform)
        self.global_arguments: dict[str, str] = {}

    def plan(self) -> Plan:
        """Plan the target."""
        target = self._find_target(self._options.target)
        self._predefined["TARGETSTAGE"] = self._file.stages[target].name or "default"
        self._read_global_arguments()
        fold = self._stage(target)
        config = fold.config.with_labels(self._options.labels) if self._options.labels else fold.config
        unknown = self.arguments.unknown() if self._all_planned() else []
        warnings = [f"build argument {name} was given, but nothing in the build file declares it" for name in unknown]
        bases = {asked: base for asked, (_, base) in self._bases.items()}
        return Plan(
            tuple(self._nodes), fold.node, config, tuple(fold.history), dict(self._counts), tuple(warnings), bases
        )

    def _all_planned(self) -> bool:
        """Note the ARGs of skipped stages too: their names are known to the file."""
        for stage in self._file.stages:
            if stage.index not in self._folds:
                for instruction in every(stage.instructions):
                    for argument in getattr(instruction, "arguments", ()):
                        self.arguments.get(argument.name)
        return True

    # what stages ask for

    def add(
        self, step: Step, *, parent: int | None, stage: str, text: str, place: str, inputs: tuple[Input, ...] = ()
    ) -> int:
        """Append a node; its index."""
        number = self._counts[stage] = self._counts.get(stage, 0) + 1
        self._nodes.append(Node(len(self._nodes), step, parent, inputs, stage, number, text, place))
        return len(self._nodes) - 1

    def origin(self, fold: StageFold, word: tree.Word) -> Input:
        """Find what COPY --from names: a stage, its number, a context or an image."""
        if self.extensions:
            return self.origin_by_name(fold, fold.expand(word), word.span)
        if "$" in word.text:
            raise fold.error(
                "--from takes no variables",
                word.span,
                "name a stage with `FROM ${VARIABLE} AS name` and copy from that",
            )
        return self.origin_by_name(fold, word.text, word.span)

    def origin_by_name(self, fold: StageFold, name: str, span: Span) -> Input:
        """Find a stage, its number, a context or an image of that name."""
        named = self._options.contexts.get(name.lower())
        if named is not None:
            if named.kind == "image":
                return self._image_origin(fold, named.location, span)
            if named.kind != "target":
                return Input(context=named.name, name=f"the context {named.name}")
            name = named.location
        index = self._stage_index(name.lower(), len(self._file.stages))
        if index is None and name.isdigit():
            raise fold.error(
                f"there is no stage {name}", span, f"the file has {len(self._file.stages)}, counted from 0"
            )
        if index is None:
            return self._image_origin(fold, name, span)
        if index in self._open:
            own = index == self._open[-1]
            what = "itself" if own else "a stage that in turn needs this one"
            raise fold.error(f"the stage takes files from {what}", span)
        return Input(node=self._stage(index).node, name=f"the stage {name}")

    def _image_origin(self, fold: StageFold, name: str, span: Span) -> Input:
        try:
            node, _ = self._image(name, self.platform, fold.label, fold.place(span))
        except (NotFound, UsageError) as error:
            hint = self._similar(name) or error.hint
            raise fold.error(
                f"`{name}` is no stage of this file, and as an image: {error.message}", span, hint
            ) from error
        return Input(node=node, name=f"the image {name}")

    def evaluate(self) -> str:
        """Give what the CaptureStep that was added last prints, without its last newlines."""
        if self._options.evaluate is None:
            raise UsageError("ENV --from-run has to execute steps, which is not done here")
        return self._options.evaluate(self._nodes, self._counts).rstrip("\n")

    # stages

    def _find_target(self, name: str) -> int:
        stages = self._file.stages
        if not name:
            return len(stages) - 1
        index = self._stage_index(name.lower(), len(stages))
        if index is None and name.isdigit() and int(name) < len(stages):
            index = int(name)
        if index is None:
            known = ", ".join(stage.name or str(stage.index) for stage in stages)
            raise UsageError(
                f"--target {name}: {self._file.source.name} has no such stage",
                hint=self._similar(name) or f"its stages: {known}",
            )
        return index

    def _stage_index(self, name: str, before: int) -> int | None:
        """Find the last stage of that name among the first `before`, else one by number. Names are in lower case."""
        for stage in reversed(self._file.stages[:before]):
            if stage.name == name:
                return stage.index
        if name.isdigit() and before == len(self._file.stages) and int(name) < before:
            return int(name)
        return None

    def _similar(self, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(name.lower(), [stage.name for stage in self._file.stages if stage.name], 1)
        return f"did you mean `{close[0]}`?" if close else ""

    def _stage(self, index: int) -> StageFold:
        if index in self._folds:
            return self._folds[index]
        stage = self._file.stages[index]
        label = stage.name or (f"stage-{index}" if len(self._file.stages) > 1 else "")
        if self._counts.get(label):
            label = f"{label}#{index}"
        fold = StageFold(self, label, self._file.source, self._file.directives.escape)
        self._open.append(index)
        self._start(fold, stage)
        for instruction in stage.instructions:
            fold.apply(instruction)
        self._open.pop()
        self._folds[index] = fold
        return fold

    def _start(self, fold: StageFold, stage: tree.Stage) -> None:
        """Set a stage up on its base: an earlier stage, an image or nothing."""
        scope = self._predefined | self.global_arguments
        platform = self.platform
        if stage.base.platform is not None:
            platform = fold.expand(stage.base.platform, scope)
        name = fold.expand(stage.base.image, scope)
        span = stage.base.image.span
        if not name:
            raise fold.error(f"the base image `{stage.base.image.text}` is empty after expansion", span)
        if platform:
            try:
                platform = str(platforms.parse(platform))
            except PybuildError as error:
                raise fold.error(error.message, (stage.base.platform or stage.base.image).span, error.hint) from error
        earlier = self._stage_index(name, stage.index)
        named = self._options.contexts.get(name.lower())
        if named is not None:
            if named.kind not in ("image", "target"):
                raise fold.error(
                    f"the context {named.name} holds files, and a stage begins with an image",
                    span,
                    f"name an image with --build-context {named.name}=docker-image://IMAGE",
                )
            name = named.location
            earlier = self._stage_index(name.lower(), stage.index) if named.kind == "target" else None
        base = None if earlier is None else self._stage(earlier)
        if base is not None:
            fold.node, fold.config, fold.history = base.node, base.config, list(base.history)
        else:
            try:
                fold.node, fold.config = self._image(name, platform or self.platform, fold.label, fold.place(span))
            except NotFound as error:
                raise BuildFileError(
                    error.message, self._file.source, span, hint=self._similar(name) or error.hint
                ) from error
            except UsageError as error:
                raise BuildFileError(error.message, self._file.source, span, hint=error.hint) from error
        if fold.config.getenv("PATH") is None:
            fold.config = fold.config.with_env("PATH", DEFAULT_PATH)
        for name, value in self.env.items():
            fold.config = fold.config.with_env(name, value)
        fold.begin(base)
        self._run_triggers(fold)

    def _run_triggers(self, fold: StageFold) -> None:
        """Run what ONBUILD of the base left for its children."""
        triggers = fold.config.onbuild
        if not triggers:
            return
        from buildah_py.buildfile import parse_trigger

        fold.config = fold.config.without_onbuild()
        own = fold.source
        for number, text in enumerate(triggers, 1):
            fold.source = Source(f"ONBUILD {number} of the base of {fold.label or 'the stage'}", text)
            fold.apply(parse_trigger(text, fold.source))
        fold.source = own

    def _image(self, name: str, platform: str, label: str, place: str) -> tuple[int, ImageConfig]:
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

    def _read_global_arguments(self) -> None:
        for arg in self._file.arguments:
            for argument in arg.arguments:
                value = self.arguments.get(argument.name)
                if value is None and argument.default is not None:
                    try:
                        value = expansion.expand(
                            argument.default.text,
                            self._predefined | self.global_arguments,
                            self._file.directives.escape,
                        )
                    except expansion.ExpansionError as error:
                        raise BuildFileError(str(error), self._file.source, argument.default.span) from error
                if value is not None:
                    self.global_arguments[argument.name] = value
        # Platform arguments need no declaration before FROM, and a bare ARG brings them into a stage.
        for name, value in self._predefined.items():
            given = self.arguments.get(name) if name in self._options.build_args else None
            self.global_arguments.setdefault(name, value if given is None else given)
