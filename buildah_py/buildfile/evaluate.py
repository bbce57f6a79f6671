"""Walk a build file as a build would, without images, files or network: what would warn, and what would fail.

The order of things follows BuildKit's front end: global arguments, stages and their base names, which stage needs
which, then the instructions of every stage with the variables that they see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile import tree
from buildah_py.buildfile.conditions import every, holds
from buildah_py.buildfile.expand import ExpansionError, trace
from buildah_py.buildfile.instruction_checks import StageState, check_instruction
from buildah_py.buildfile.suggest import closest
from buildah_py.errors import BuildFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from buildah_py.buildfile.check_options import CheckOptions
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.source import Span
    from buildah_py.buildfile.tree import BuildFile, From, Instruction, Stage

    Report = Callable[[str, int, str, "CheckOptions | None"], None]
    """Takes a check's name, the line, the message, and the options of the comment above the instruction."""

SCRATCH = "scratch"
RESERVED = ("context", SCRATCH)


class Base(NamedTuple):
    """What is known of a base image: the variables that it sets and its platform (`os/arch[/variant]`)."""

    env: Mapping[str, str]
    platform: str


class Settings(NamedTuple):
    """What the command line adds: arguments, target, platforms, named contexts, and what is known of base images.

    `bases` takes the name of a base image and the platform that is wanted of it.
    """

    build_args: Mapping[str, str]
    target: str | None
    platform: str
    build_platform: str
    contexts: frozenset[str]
    bases: Callable[[str, str], Base | None]
    ignored: Callable[[str], bool] | None


class Node:
    """A stage while it is walked. `stage` is None for an image that COPY or a mount takes files from."""

    def __init__(self, stage: Stage | None, name: str, base: Node | None, span: Span) -> None:
        self.stage = stage
        self.base_name = name
        self.base = base
        self.platform = ""
        self.span = span
        self.needs: list[tuple[Node, Instruction]] = []
        self.instructions: list[Instruction] = list(stage.instructions) if stage else []
        self.state: StageState | None = None
        self.replaced = False


class Evaluation:
    """The walk over one file."""

    def __init__(self, file: BuildFile, settings: Settings, report: Report) -> None:
        self.file = file
        self.settings = settings
        self.report = report
        self.escape = file.directives.escape
        self.global_env: dict[str, str] = {}
        self.nodes: list[Node] = []
        self._names: dict[str, Node] = {}

    def run(self) -> None:
        """Walk the file.

        Raises:
            BuildFileError: the build would fail, whatever the base images and the context are.
            UsageError: there is no such target.

        """
        self._stage_names()
        self._casing()
        predefined = self._predefined()
        self._default_bases(predefined)
        self.global_env = self._global_arguments(predefined, self.settings.build_args)
        for stage in self.file.stages:
            self._add_stage(stage)
        target = self.target()
        self._graph()
        self._references()
        reachable = self.reachable(target)
        self._triggers(reachable)
        self._references()
        for node in list(self.nodes):
            if node.stage is not None and not node.replaced and (not self.settings.target or node in reachable):
                self._walk(node)

    def error(self, message: str, span: Span, hint: str = "") -> BuildFileError:
        """A fault at `span`."""
        return BuildFileError(message, self.file.source, span, hint=hint)

    def expansion(self, text: str, env: Mapping[str, str], span: Span) -> Expansion:
        """Expand a word; its faults become faults of the file."""
        try:
            return trace(text, env, self.escape)
        except ExpansionError as error:
            raise self.error(error.message, span) from None

    # before any stage

    def _stage_names(self) -> None:
        seen = set()
        for stage in self.file.stages:
            name = stage.name
            if name in RESERVED:
                self._warn_at(stage.base, "ReservedStageName", f'"{name}" means something else in FROM and COPY --from')
            if name in seen:
                self._warn_at(
                    stage.base, "DuplicateStageName", f'the stage name "{name}" is taken: names must be unique'
                )
            if name is not None:
                seen.add(name)

    def _casing(self) -> None:
        keywords = [
            (instruction.keyword, instruction)
            for stage in self.file.stages
            for instruction in (stage.base, *every(stage.instructions))
        ]
        lower = sum(keyword == keyword.lower() for keyword, _ in keywords)
        upper = sum(keyword == keyword.upper() != keyword.lower() for keyword, _ in keywords)
        wanted = "lowercase" if lower > upper else "uppercase"
        for keyword, instruction in keywords:
            if keyword != (keyword.lower() if lower > upper else keyword.upper()):
                self._warn_at(
                    instruction,
                    "ConsistentInstructionCasing",
                    f"'{keyword}' is not written like the majority of instructions in this file ({wanted})",
                )

    def _predefined(self) -> dict[str, str]:
        from buildah_py.image import platform as platforms

        values: dict[str, str] = {}
        for prefix, text in (("BUILD", self.settings.build_platform), ("TARGET", self.settings.platform)):
            platform = platforms.parse(text)
            values |= {
                f"{prefix}PLATFORM": str(platform),
                f"{prefix}OS": platform.os,
                f"{prefix}OSVERSION": platform.os_version or "",
                f"{prefix}ARCH": platform.architecture,
                f"{prefix}VARIANT": platform.variant or "",
            }
        values["TARGETSTAGE"] = self.settings.target or self.file.stages[-1].name or "default"
        given = self.settings.build_args
        return {name: given.get(name, value) for name, value in values.items()}

    def _global_arguments(self, env: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
        values = dict(env)
        for arg in self.file.arguments:
            for argument in arg.arguments:
                if argument.name in given:
                    values[argument.name] = given[argument.name]
                elif argument.default is not None:
                    values[argument.name] = self.expansion(argument.default.text, values, argument.span).text
        return values

    def _default_bases(self, predefined: Mapping[str, str]) -> None:
        """Whether the bases' names are valid without any build argument."""
        from buildah_py.image import reference

        try:
            env = self._global_arguments(predefined, {})
        except BuildFileError:
            return  # the same fault is found, and told, with the arguments that were given
        for stage in self.file.stages:
            try:
                name = trace(stage.base.image.text, env, self.escape).text
            except ExpansionError:
                return
            try:
                reference.parse(name)
            except UsageError:
                self._warn_at(
                    stage.base,
                    "InvalidDefaultArgInFrom",
                    f"with the default values of its ARGs {stage.base.image.text} is no valid name of an image",
                )

    # stages and what they need

    def _add_stage(self, stage: Stage) -> None:
        base = stage.base
        known = [argument.name for arg in self.file.arguments for argument in arg.arguments] + list(self.global_env)
        found = self.expansion(base.image.text, self.global_env, base.image.span)
        self._undeclared(base, found.unset, known)
        if not found.text:
            raise self.error(
                f"base name ({base.image.text}) should not be blank",
                base.image.span,
                hint="give its ARG a default value before the first FROM, or use --build-arg",
            )
        platform = self.settings.platform if base.platform is None else self._platform(base, known)
        earlier = self._names.get(found.text)
        node = Node(stage, found.text, earlier, base.span)
        node.platform = platform
        node.replaced = stage.name is not None and stage.name in self.settings.contexts
        self.nodes.append(node)
        if stage.name is not None:
            self._names[stage.name] = node

    def _undeclared(self, base: From, unset: Iterable[str], known: list[str]) -> None:
        for name in unset:
            if name in known:
                continue
            match = closest(name, known)
            hint = f" (did you mean {match}?)" if match else ""
            self._warn_at(base, "UndefinedArgInFrom", f"no ARG before the first FROM declares '{name}'{hint}")

    def _platform(self, base: From, known: list[str]) -> str:
        from buildah_py.image import platform as platforms

        assert base.platform is not None
        word = base.platform
        found = self.expansion(word.text, self.global_env, word.span)
        self._undeclared(base, found.unset, known)
        if found.used == ["TARGETPLATFORM"] and not found.unset and found.text == self.global_env["TARGETPLATFORM"]:
            self._warn_at(
                base, "RedundantTargetPlatform", f"{word.text} is the default for --platform and can be left out"
            )
        try:
            platform = platforms.parse(found.text) if found.text else None
        except UsageError as error:
            raise self.error(error.message, word.span, error.hint) from None
        if platform is None:
            raise self.error(f"empty platform value from expression {word.text}", word.span)
        if not found.used and not found.unset:
            name = base.name or ""
            if platform.os not in name and platform.architecture not in name:
                self._warn_at(
                    base,
                    "FromPlatformFlagConstDisallowed",
                    f'FROM --platform has the constant value "{found.text}"; a variable lets the user choose',
                )
        return str(platform)

    def target(self) -> Node:
        """The stage to build. Raises UsageError where there is none of that name."""
        name = self.settings.target
        if not name:
            return self.nodes[-1]
        found = self._names.get(name.lower())
        if found is None and name.isdecimal() and int(name[:9]) < len(self.file.stages):
            found = self.nodes[int(name)]
        if found is None:
            match = closest(name, [stage.name for stage in self.file.stages if stage.name])
            raise UsageError(
                f'target stage "{name}" could not be found', hint=f"did you mean {match}?" if match else ""
            )
        return found

    def _graph(self) -> None:
        for node in list(self.nodes):
            for instruction in every(node.instructions):
                self._connect(node, instruction)
        self._circles()

    def _connect(self, node: Node, instruction: Instruction) -> bool:
        """Find the stages or images that an instruction takes files from; whether there are any."""
        names: list[tuple[str, Span, bool]] = []
        if isinstance(instruction, tree.Copy) and instruction.from_ is not None:
            names.append((instruction.from_.text, instruction.from_.span, True))
        elif isinstance(instruction, tree.Run):
            for mount in instruction.mounts:
                from_ = dict(mount.options).get("from")
                if from_:
                    names.append((from_, mount.span, False))
        for name, span, numbered in names:
            if "$" in name:
                continue
            source = self._source(name, span, numbered=numbered)
            node.needs.append((source, instruction))
        return bool(names)

    def _source(self, name: str, span: Span, *, numbered: bool) -> Node:
        if name in self.settings.contexts:
            node = Node(None, name, None, span)
            node.replaced = True
            return node
        if numbered and _is_number(name):
            index = int(name)
            if not 0 <= index < len(self.nodes):
                raise self.error(
                    f"invalid stage index {index}",
                    span,
                    f"the stages of this file are 0 to {len(self.file.stages) - 1}",
                )
            return self.nodes[index]
        found = self._names.get(name.lower())
        if found is None:
            found = Node(None, name, self._names.get(name), span)
            self.nodes.append(found)
        return found

    def _circles(self) -> None:
        done: set[int] = set()
        path: set[int] = set()
        for start in self.nodes:
            if id(start) in done:
                continue
            done.add(id(start))
            path.add(id(start))
            stack = [(start, iter(start.needs))]
            while stack:
                node, needs = stack[-1]
                for source, instruction in needs:
                    if id(source) in path:
                        name = start.stage.name or f"stage-{start.stage.index}" if start.stage else start.base_name
                        raise self.error(f"circular dependency detected on stage: {name}", instruction.span)
                    if id(source) not in done:
                        done.add(id(source))
                        path.add(id(source))
                        stack.append((source, iter(source.needs)))
                        break
                else:
                    path.discard(id(node))
                    stack.pop()

    def _references(self) -> None:
        from buildah_py.image import reference

        for node in self.nodes:
            if node.base is not None or node.base_name == SCRATCH or node.replaced:
                continue
            try:
                reference.parse(node.base_name)
            except UsageError as error:
                known = [stage.name for stage in self.file.stages if stage.name]
                match = closest(node.base_name.lower(), known) or (
                    node.base_name.lower() if node.base_name.lower() in known else ""
                )
                hint = f"did you mean the stage {match}?" if match else error.hint
                span = node.stage.base.image.span if node.stage else node.span
                raise self.error(
                    f'failed to parse stage name "{node.base_name}": {error.message}', span, hint
                ) from None

    def reachable(self, target: Node) -> set[Node]:
        """The stage `target` and all that it needs."""
        found: set[Node] = set()
        waiting = [target]
        while waiting:
            node = waiting.pop()
            if node in found:
                continue
            found.add(node)
            waiting += [source for source, _ in node.needs]
            if node.base is not None:
                waiting.append(node.base)
        return found

    def _triggers(self, reachable: set[Node]) -> None:
        """Put the triggers of a base stage in front of its child's instructions."""
        for node in list(self.nodes):
            if node not in reachable or node.base is None or node.base.stage is None:
                continue
            triggers = []
            for instruction in node.base.stage.instructions:
                if isinstance(instruction, tree.Onbuild):
                    inner = instruction.instruction
                    if isinstance(inner, tree.Unreadable):
                        raise self.error(inner.error.message, node.span, inner.error.hint)
                    triggers.append(inner)
                    self._connect(node, inner)
            node.instructions[:0] = triggers

    # instructions

    def _walk(self, node: Node) -> None:
        assert node.stage is not None
        above = node.base.state if node.base else None
        state = StageState(self, node, above)
        if above is None and (base := self.settings.bases(node.base_name, node.platform)):
            state.env.update(base.env)
            self._base_platform(node.stage.base, node, base)
        state.env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        own = len(node.instructions) - len(node.stage.instructions)
        for position, instruction in enumerate(node.instructions):
            state.line = node.stage.base.span.start.line if position < own else instruction.span.start.line
            self._check(state, instruction)
        node.state = state

    def _base_platform(self, instruction: From, node: Node, base: Base) -> None:
        """Compare the base image's platform with the one that was asked for; variants are all the same here."""
        if base.platform.split("/")[:2] != node.platform.split("/")[:2]:
            self._warn_at(
                instruction,
                "InvalidBaseImagePlatform",
                f"the base image {node.base_name} is for {base.platform}, not for {node.platform}",
            )

    def _check(self, state: StageState, instruction: Instruction) -> None:
        if not isinstance(instruction, tree.If):
            check_instruction(state, instruction)
            return
        chosen = holds(instruction.condition, state.env, self.file.source, self.escape)
        for inner in instruction.then if chosen else instruction.otherwise:
            state.line = inner.span.start.line
            self._check(state, inner)

    def _warn_at(self, instruction: Instruction, rule: str, message: str) -> None:
        self.warn(rule, instruction.span.start.line, message, instruction)

    def warn(self, rule: str, line: int, message: str, instruction: Instruction) -> None:
        """Report what a check found, unless the comment above the instruction turns the check off."""
        from buildah_py.buildfile.check_options import options_of_comments

        self.report(rule, line, message, options_of_comments(instruction.doc) if instruction.doc else None)


def _is_number(text: str) -> bool:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdecimal() and len(digits) < 18
