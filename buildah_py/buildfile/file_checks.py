"""Checks of the FROMs of a file; those of its instructions are made for each stage while it is walked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.buildfile.check_options import options_of_comments
from buildah_py.buildfile.expand import ExpansionError, trace
from buildah_py.buildfile.instruction_checks import StageChecks
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.buildfile.check_options import CheckOptions
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.stage import Base, StageWalk
    from buildah_py.buildfile.tree import From, Instruction, Word
    from buildah_py.buildfile.walk import Walk

    Report = Callable[[str, int, str, "CheckOptions | None"], None]
    """Takes a check's name, the line, the message, and the options of the comment above the instruction."""


class FileChecks:
    """Checks a file while it is walked.

    `bases` takes the name of a base image and the platform that is wanted of it; `ignored` tells whether a clean
    relative path of the context is left out by the ignore file.
    """

    def __init__(
        self,
        report: Report,
        bases: Callable[[str, str], Base | None],
        ignored: Callable[[str], bool] | None,
    ) -> None:
        self.bases = bases
        self.ignored = ignored
        self._report = report
        self._first = True

    def warn(self, rule: str, line: int, message: str, instruction: Instruction) -> None:
        """Report what a check found, unless the comment above the instruction turns the check off."""
        self._report(rule, line, message, options_of_comments(instruction.doc) if instruction.doc else None)

    def stage(self, stage: StageWalk) -> StageChecks:
        """Check a stage."""
        return StageChecks(self, stage)

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        """Check a FROM."""
        walk, base = stage.walk, stage.tree.base
        if self._first:
            self._first = False
            self._default_bases(walk)
        known = [argument.name for arg in walk.file.arguments for argument in arg.arguments] + list(walk.global_env)
        self._undeclared(base, image.unset, known)
        if platform is not None and base.platform is not None:
            self._undeclared(base, platform.unset, known)
            self._platform(stage, base.platform, platform)

    def _warn_at(self, instruction: Instruction, rule: str, message: str) -> None:
        self.warn(rule, instruction.span.start.line, message, instruction)

    def _default_bases(self, walk: Walk) -> None:
        """Whether the bases' names are valid without any build argument."""
        from buildah_py.image import reference

        try:
            env = walk.global_arguments({})
        except BuildFileError:
            return  # the same fault is found, and told, with the arguments that were given
        for stage in walk.file.stages:
            try:
                name = trace(stage.base.image.text, env, walk.escape).text
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

    def _undeclared(self, base: From, unset: list[str], known: list[str]) -> None:
        for name in unset:
            if name in known:
                continue
            match = closest(name, known)
            hint = f" (did you mean {match}?)" if match else ""
            self._warn_at(base, "UndefinedArgInFrom", f"no ARG before the first FROM declares '{name}'{hint}")

    def _platform(self, stage: StageWalk, word: Word, found: Expansion) -> None:
        base = stage.tree.base
        target = stage.walk.global_env["TARGETPLATFORM"]
        if found.used == ["TARGETPLATFORM"] and not found.unset and found.text == target:
            self._warn_at(
                base, "RedundantTargetPlatform", f"{word.text} is the default for --platform and can be left out"
            )
        if not found.used and not found.unset:
            system, architecture = stage.platform.split("/")[:2]
            name = base.name or ""
            if system not in name and architecture not in name:
                self._warn_at(
                    base,
                    "FromPlatformFlagConstDisallowed",
                    f'FROM --platform has the constant value "{found.text}"; a variable lets the user choose',
                )
