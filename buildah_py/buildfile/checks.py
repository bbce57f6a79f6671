"""Find mistakes in a build file: BuildKit's checks under their names, and a few of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile import tree
from buildah_py.buildfile.check_options import CheckOptions, directive_of, options_of_comments, parse_options
from buildah_py.buildfile.rules import RULES
from buildah_py.buildfile.tree import every
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Position, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.stage import Base, Settings
    from buildah_py.buildfile.tree import BuildFile, Instruction
    from buildah_py.buildfile.walk_checks import ReportFinding

RESERVED = ("context", "scratch")
CHECK_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that overrides the check directive."""


class CheckWarning(NamedTuple):
    """Finding of a check. `level` is "warning", or "note" for our own checks."""

    rule: str
    line: int
    message: str
    url: str
    level: str


class Findings(NamedTuple):
    """All that was found: warnings by line, the fault that a build would end with, and whether warnings are errors."""

    warnings: tuple[CheckWarning, ...]
    error: BuildFileError | None
    fails: bool


def find(
    file: BuildFile,
    *,
    build_args: Mapping[str, str] | None = None,
    target: str | None = None,
    platform: str = "",
    contexts: Mapping[str, NamedContext] | None = None,
    env: Mapping[str, str] | None = None,
    bases: Callable[[str, str], Base | None] | None = None,
    ignored: Callable[[str], bool] | None = None,
) -> Findings:
    """Everything that can be said about `file` without images, network and context.

    `platform` is the target's, this machine's by default, or several with commas between them. `bases` tells what is
    known of a base image by its name and the platform that is wanted; one that nothing is known of is taken to set PATH
    alone, and to be of that platform.

    Raises:
        UsageError: there is no such target.

    """
    from buildah_py.buildfile.own_checks import own_checks
    from buildah_py.buildfile.walk import Walk
    from buildah_py.buildfile.walk_checks import FileChecks

    given = dict(build_args or {})
    found: list[CheckWarning] = []
    try:
        options = _options(file, given)
    except BuildFileError as error:
        return Findings((), error, fails=False)

    def report(name: str, line: int, message: str, own: CheckOptions | None) -> None:
        rule = RULES[name]
        wanted = options.merged(own) if own is not None else options
        if wanted.wants(name, experimental=rule.experimental):
            found.append(CheckWarning(name, line, message, rule.url, "note" if rule.own else "warning"))

    _written(file, report)
    fault = None
    try:
        for one in platform.split(","):
            settings = settings_of(build_args=given, target=target, platform=one, contexts=contexts, env=env)
            Walk(file, settings, FileChecks(report, bases or (lambda *_: None), ignored)).run()
    except BuildFileError as error:
        fault = error
    own_checks(file, report)
    warnings = dict.fromkeys(found) if "," in platform else found
    fails = options.error and any(warning.level == "warning" for warning in found)
    return Findings(tuple(sorted(warnings, key=lambda warning: warning.line)), fault, fails)


def settings_of(
    *,
    build_args: Mapping[str, str],
    target: str | None = None,
    platform: str = "",
    contexts: Mapping[str, NamedContext] | None = None,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Complete what the command line says: without `platform` it is this machine's, of several the first."""
    from buildah_py.buildfile.stage import Settings
    from buildah_py.image import platform as platforms

    host = str(platforms.host())
    platform = platform.partition(",")[0]
    wanted = str(platforms.parse(platform)) if platform else host
    return Settings(wanted, host, build_args, target or "", contexts or {}, env or {})


def _options(file: BuildFile, given: Mapping[str, str]) -> CheckOptions:
    line = 1
    text = given.get(CHECK_ARGUMENT)
    if text is None:
        directive = directive_of(file.source.text)
        if directive is None:
            return CheckOptions()
        line, text = directive
    try:
        return parse_options(text)
    except ValueError as error:
        width = len(file.source.line(line))
        span = Span(Position(line, 1), Position(line, width + 1))
        raise BuildFileError(
            f"failed to parse check options: {error}",
            file.source,
            span,
            hint="write something like # check=skip=JSONArgsRecommended;error=true",
        ) from None


def _written(file: BuildFile, report: ReportFinding) -> None:
    """Apply the checks that need no variables."""
    _stage_names(file, report)
    _casing(file, report)
    instructions: list[Instruction] = [*file.arguments]
    for stage in file.stages:
        instructions += [stage.base, *every(stage.instructions)]
    for instruction in instructions:
        own = options_of_comments(instruction.doc) if instruction.doc else None
        line = instruction.span.start.line
        if instruction.blank_line:
            report(
                "NoEmptyContinuation", instruction.blank_line, "an empty line in an instruction will be an error", own
            )
        if isinstance(instruction, tree.Maintainer):
            report("MaintainerDeprecated", line, "write LABEL org.opencontainers.image.authors=… instead", own)
        elif isinstance(instruction, tree.From):
            _written_from(instruction, report, own)
        elif isinstance(instruction, tree.Arg):
            _description(instruction, "ARG", [argument.name for argument in instruction.arguments], report, own)


def _stage_names(file: BuildFile, report: ReportFinding) -> None:
    seen = set()
    for stage in file.stages:
        name, line = stage.name, stage.base.span.start.line
        own = options_of_comments(stage.base.doc) if stage.base.doc else None
        if name in RESERVED:
            report("ReservedStageName", line, f'"{name}" means something else in FROM and COPY --from', own)
        if name in seen:
            report("DuplicateStageName", line, f'the stage name "{name}" is taken: names must be unique', own)
        if name is not None:
            seen.add(name)


def _casing(file: BuildFile, report: ReportFinding) -> None:
    instructions = [one for stage in file.stages for one in (stage.base, *every(stage.instructions))]
    lower = sum(one.keyword == one.keyword.lower() for one in instructions)
    upper = sum(one.keyword == one.keyword.upper() != one.keyword.lower() for one in instructions)
    wanted = "lowercase" if lower > upper else "uppercase"
    for one in instructions:
        keyword = one.keyword
        if keyword != (keyword.lower() if lower > upper else keyword.upper()):
            report(
                "ConsistentInstructionCasing",
                one.span.start.line,
                f"'{keyword}' is not written like the majority of instructions in this file ({wanted})",
                options_of_comments(one.doc) if one.doc else None,
            )


def _written_from(base: tree.From, report: ReportFinding, own: CheckOptions | None) -> None:
    if base.as_ is None or base.name is None:
        return
    line = base.span.start.line
    as_, name = base.as_[0].text, base.as_[1].text
    if name != name.lower():
        report("StageNameCasing", line, f"the stage name '{name}' should be in lower case", own)
    keyword = base.keyword
    if (keyword == keyword.lower() and as_ != as_.lower()) or (keyword == keyword.upper() and as_ != as_.upper()):
        report("FromAsCasing", line, f"'{as_}' and '{keyword}' are not in the same case", own)
    _description(base, "FROM", [base.name], report, own)


def _description(
    instruction: Instruction,
    keyword: str,
    names: list[str],
    report: ReportFinding,
    own: CheckOptions | None,
) -> None:
    if not instruction.doc or instruction.doc[-1].split(" ", 1)[0] in names:
        return
    example = names[0] if len(names) == 1 else "NAME"
    report(
        "InvalidDefinitionDescription",
        instruction.span.start.line,
        f"a comment that describes this {keyword} begins with its name: `# {example} …`; "
        "put an empty line below one that does not describe it",
        own,
    )
