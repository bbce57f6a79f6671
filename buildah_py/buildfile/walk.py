"""One walk over a build file, as a build takes it; what a build needs of it and what a check finds are observers.

The order of things follows BuildKit's front end: global arguments, the stages and their base names, which stage needs
which, then the instructions of each stage that is needed, with the variables that they see. The walk expands and
refuses; observers take what it gives. So whatever looks at a file sees the same stages, values and faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import Expansion, ExpansionError, trace
from buildah_py.buildfile.stage import FilesOrigin, StageWalk
from buildah_py.buildfile.tree import every
from buildah_py.buildfile.variables import EPOCH, EPOCH_OF_CONTEXT, is_epoch, predefined
from buildah_py.errors import BuildFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.stage import Observer, Settings
    from buildah_py.buildfile.tree import BuildFile, Instruction, Word
    from buildah_py.source_text import Source, Span

SCRATCH = "scratch"
_MANY_STAGES = 50
MAX_LENGTH = 16 << 20
"""How many characters the words of a file that have variables in them may come to."""


class Walk:
    """The walk over one file. Raises BuildFileError where a build would fail, UsageError where there is no target."""

    def __init__(self, file: BuildFile, settings: Settings, observer: Observer) -> None:
        self.file = file
        self.settings = settings
        self.observer = observer
        self.escape = file.directives.escape
        self._length = 0
        self.predefined = self._predefined()
        self.declared = {argument.name for arg in self._all_arguments() for argument in arg.arguments}
        self.declared.update(self.predefined)
        self.global_env = self.global_arguments(settings.build_args)
        self.stages: list[StageWalk] = []
        self.used_contexts: set[str] = set()
        self._names: dict[str, StageWalk] = {}
        self._images: list[str] = []
        self._certain: list[list[int]] = []
        for stage in file.stages:
            self._add(stage)
        self.target = self._target()
        self._check_names()

    def run(self) -> None:
        """Walk the target and what it needs; all stages where no target was asked for."""
        for stage in [self.target] if self.settings.target else self.stages:
            self.need(stage)

    def need(self, stage: StageWalk) -> StageWalk:
        """Walk a stage, once, and what it needs when that is come to; in a file of very many stages before it.

        A chain of hundreds of them would be too deep a call.
        """
        if not stage.begun:
            for index in self._surely_needed(stage) if len(self.stages) > _MANY_STAGES else [stage.index]:
                if not self.stages[index].begun:
                    self.stages[index].walk_through()
        return stage

    def _surely_needed(self, stage: StageWalk) -> list[int]:
        """Give a stage and those that it needs whatever its conditions say, in the order of the file."""
        found: set[int] = set()
        waiting = [stage.index]
        while waiting:
            index = waiting.pop()
            if index in found or index > stage.index:
                continue
            found.add(index)
            needing = self.stages[index]
            if not needing.is_replaced:
                waiting += self._certain[index]
                if needing.base is not None:
                    waiting.append(needing.base.index)
        return sorted(found)

    def needed(self) -> list[StageWalk]:
        """Give the target and all that it needs, in the order of the file, as far as they were walked."""
        found: set[int] = set()
        waiting = [self.target.index]
        while waiting:
            index = waiting.pop()
            if index not in found:
                found.add(index)
                waiting += self.stages[index].needs
        return [self.stages[index] for index in sorted(found)]

    def unused_contexts(self) -> list[str]:
        """Name the named contexts that nothing in the file asks for."""
        given = dict.fromkeys(context.name for context in self.settings.contexts.values())
        return [name for name in given if name not in self.used_contexts]

    def expansion(self, text: str, env: Mapping[str, str], span: Span, source: Source | None = None) -> Expansion:
        """Expand a word; its faults become faults of the file."""
        try:
            found = trace(text, env, self.escape)
        except ExpansionError as error:
            raise BuildFileError(error.message, source or self.file.source, span) from None
        self.count(found, span, source)
        return found

    def count(self, found: Expansion, span: Span, source: Source | None = None) -> None:
        """Count what variables come to: no file means this much, and the image would have to hold it."""
        if found.used:
            self._length += len(found.text)
        if self._length > MAX_LENGTH:
            raise BuildFileError(
                f"with their variables, the words of this file come to more than {MAX_LENGTH} characters",
                source or self.file.source,
                span,
                hint="look for variables that repeat others, again and again",
            )

    def error(self, message: str, span: Span, hint: str = "") -> BuildFileError:
        """Return an error for the file itself."""
        return BuildFileError(message, self.file.source, span, hint=hint)

    def context(self, name: str, platform: str) -> NamedContext | None:
        """Find what the command line gives in place of a name."""
        if name == SCRATCH or not self.settings.contexts:
            return None
        from buildah_py.buildfile.named import find_named

        found = find_named(self.settings.contexts, name, platform)
        if found is not None:
            self.used_contexts.add(found.name)
        return found

    def origin(self, stage: StageWalk, name: str, span: Span, verb: str) -> FilesOrigin:
        """Find what `--from` (`verb` is copy) or `from=` (mount) of a stage's instruction names, and walk it."""
        if verb == "copy" and (index := self._number(name, span, stage.source)) is not None:
            if index < len(self.stages):
                return self._stage_origin(stage, self.stages[index], name, span, verb)
            name = self._images[index - len(self.stages)]
        context = self.context(name, stage.platform)
        if context is not None and context.kind == "target":
            name = context.location
        elif context is not None:
            return FilesOrigin(image=context.location) if context.kind == "image" else FilesOrigin(context=context)
        found = self._names.get(name.lower())
        if found is None:
            self._check_reference(name, span, stage.source)
            return FilesOrigin(image=name)
        return self._stage_origin(stage, found, name, span, verb)

    def _stage_origin(self, stage: StageWalk, found: StageWalk, name: str, span: Span, verb: str) -> FilesOrigin:
        if found is stage:
            raise stage.error(f"circular dependency detected on stage: {stage.label}: it takes files from itself", span)
        if found.index > stage.index:
            raise stage.error(
                f'cannot {verb} from stage "{name}", it needs to be defined before the current stage',
                span,
                "move the stage in front of this one",
            )
        stage.needs.append(found.index)
        return FilesOrigin(stage=self.need(found))

    # before any stage

    def _all_arguments(self) -> Iterator[tree.Arg]:
        yield from self.file.arguments
        for stage in self.file.stages:
            yield from (one for one in every(stage.instructions) if isinstance(one, tree.Arg))

    def _predefined(self) -> dict[str, str]:
        settings = self.settings
        stage = settings.target or self.file.stages[-1].name or "default"
        values = predefined(settings.build_platform, settings.platform, stage)
        return {name: settings.build_args.get(name, value) for name, value in values.items()}

    def global_arguments(self, given: Mapping[str, str]) -> dict[str, str]:
        """Give the values of the ARGs before the first FROM, and of the predefined ones."""
        values = dict(self.predefined)
        for arg in self.file.arguments:
            for argument in arg.arguments:
                if argument.name in given:
                    values[argument.name] = given[argument.name]
                elif argument.default is not None:
                    default = argument.default
                    values[argument.name] = self.expansion(default.text, values, default.span).text
                    if argument.name == EPOCH and not is_epoch(values[EPOCH]):
                        raise self.error(
                            f"{EPOCH} is `{values[EPOCH]}`",
                            default.span,
                            hint=f"it is a number of seconds since 1970, or `{EPOCH_OF_CONTEXT}`",
                        )
        return values

    # stages and what they need

    def _add(self, stage: tree.Stage) -> None:
        base = stage.base
        image = self.expansion(base.image.text, self.global_env, base.image.span)
        if not image.text:
            raise self.error(
                f"base name ({base.image.text}) should not be blank: it is empty after expansion",
                base.image.span,
                hint="give its ARG a default value before the first FROM, or use --build-arg",
            )
        added = StageWalk(self, stage, image.text, self._names.get(image.text))
        platform = None
        if base.platform is not None:
            platform = self.expansion(base.platform.text, self.global_env, base.platform.span)
            added.platform = self._platform(base.platform, platform.text)
        self.stages.append(added)
        if stage.name is not None:
            self._names[stage.name] = added
        self.observer.named(added, image, platform)

    def _platform(self, word: Word, text: str) -> str:
        from buildah_py.image import platform as platforms

        if not text:
            raise self.error(f"empty platform value from expression {word.text}", word.span)
        try:
            return str(platforms.asked_for(text))
        except UsageError as error:
            raise self.error(error.message, word.span, error.hint) from None

    def _target(self) -> StageWalk:
        name = self.settings.target
        if not name:
            return self.stages[-1]
        found = self._names.get(name.lower())
        if found is None and name.isdecimal() and int(name[:9]) < len(self.stages):
            found = self.stages[int(name)]
        if found is None:
            hint = f"its stages: {', '.join(stage.name or str(stage.index) for stage in self.file.stages)}"
            raise UsageError(
                f'target stage "{name}" could not be found: {self.file.source.name} has no such stage',
                hint=self.similar(name) or hint,
            )
        return found

    def similar(self, name: str) -> str:
        """Return a hint at the stage that was perhaps meant; its very name where only the case was wrong."""
        from buildah_py.suggest import did_you_mean

        if (stage := self._names.get(name)) is not None:
            line = self.file.source.place(stage.tree.base.span.start.line)[1]
            return f"the stage {name} begins only in line {line}: move it in front of this one"
        return did_you_mean(name, self._names, fold=True)

    def _check_names(self) -> None:
        """Look at all names that instructions take files from, also in stages that nothing needs."""
        edges: list[list[tuple[int, Span]]] = []
        images: list[tuple[str, Span]] = []
        for stage in self.stages:
            edges.append([])
            self._certain.append([])
            top = set(map(id, stage.tree.instructions))
            if stage.base is None and not stage.is_replaced and self.context(stage.image, stage.platform) is None:
                images.append((stage.image, stage.tree.base.image.span))
            for instruction in every(stage.tree.instructions):
                for name, span, numbered in _names_in(instruction):
                    index = self._number(name, span, self.file.source) if numbered else None
                    if index is None and self.context(name, stage.platform) is not None:
                        continue
                    if index is None and name.lower() in self._names:
                        index = self._names[name.lower()].index
                    if index is None:
                        images.append((name, span))
                        self._images.append(name)
                    elif index < len(self.stages):
                        edges[-1].append((index, instruction.span))
                        if id(instruction) in top:
                            self._certain[-1].append(index)
        circle = _find_circle(edges)
        if circle is not None:
            index, span = circle
            why = (
                "it takes files from itself"
                if (index, span) in edges[index]
                else "it takes files from a stage that in turn needs it"
            )
            raise self.error(f"circular dependency detected on stage: {self.stages[index].label}: {why}", span)
        for name, span in images:
            self._check_reference(name, span, self.file.source)

    def _number(self, name: str, span: Span, source: Source) -> int | None:
        """Read a stage's number; as in BuildKit, those behind the last stage are the images that --from names."""
        digits = name[1:] if name[:1] in ("+", "-") else name
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 18):
            return None
        index = int(name)
        if not 0 <= index < len(self.stages) + len(self._images):
            raise BuildFileError(
                f"invalid stage index {index}: there is no stage {index}",
                source,
                span,
                hint=f"the stages of this file are 0 to {len(self.stages) - 1}",
            )
        return index

    def _check_reference(self, name: str, span: Span, source: Source) -> None:
        from buildah_py.image import reference

        if name == SCRATCH or reference.is_image_id(name):
            return
        try:
            reference.parse(name)
        except UsageError as error:
            raise BuildFileError(
                f'failed to parse stage name "{name}": {error.message}',
                source,
                span,
                hint=self.similar(name) or error.hint,
            ) from None


def _names_in(instruction: Instruction) -> Iterator[tuple[str, Span, bool]]:
    """List the names without variables that an instruction takes files from, and whether a number is a stage."""
    if isinstance(instruction, tree.Copy) and instruction.from_ is not None:
        if "$" not in instruction.from_.text:
            yield instruction.from_.text, instruction.from_.span, True
    elif isinstance(instruction, tree.Run):
        for mount in instruction.mounts:
            name = dict(mount.options).get("from")
            if name and "$" not in name:
                yield name, mount.span, False


def _find_circle(edges: Sequence[Sequence[tuple[int, Span]]]) -> tuple[int, Span] | None:
    """Find a circle among stages, of which `edges` has those that each takes files from, and where.

    Gives the stage at which the search began, and the place that closes the circle.
    """
    done: set[int] = set()
    for start in range(len(edges)):
        if start in done:
            continue
        done.add(start)
        path = {start}
        stack = [(start, iter(edges[start]))]
        while stack:
            stage, needs = stack[-1]
            for other, span in needs:
                if other in path:
                    return start, span
                if other not in done:
                    done.add(other)
                    path.add(other)
                    stack.append((other, iter(edges[other])))
                    break
            else:
                path.discard(stage)
                stack.pop()
    return None
