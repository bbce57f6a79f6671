"""Checks that are made while a file is walked: of its FROMs, and of the instructions of each stage."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.arrays import array_fault
from buildah_py.buildfile.check_options import options_of_comments
from buildah_py.buildfile.expand import ExpansionError, trace
from buildah_py.buildfile.remote import kind_of
from buildah_py.buildfile.stage import StageObserver
from buildah_py.buildfile.variables import NEVER_IN_ENVIRONMENT
from buildah_py.errors import BuildFileError, UsageError
from buildah_py.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from buildah_py.buildfile.check_options import CheckOptions
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.ports import Ports
    from buildah_py.buildfile.stage import Base, FileWalk, StageWalk, Transfer
    from buildah_py.buildfile.tree import From, Instruction, Word

    ReportFinding = Callable[[str, int, str, CheckOptions | None], None]
    """Takes a check's name, the line, the message, and the options of the comment above the instruction."""

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)


class FileChecks:
    """Checks a file while it is walked.

    `bases` takes the name of a base image and the platform that is wanted of it; `ignored` tells whether a clean
    relative path of the context is left out by the ignore file.
    """

    def __init__(
        self,
        report: ReportFinding,
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

    def _default_bases(self, walk: FileWalk) -> None:
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
                    f"with the default values of its ARGs {stage.base.image.text} is not a valid name of an image",
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


class StageChecks(StageObserver):
    """The checks of one stage's instructions."""

    def __init__(self, file: FileChecks, stage: StageWalk) -> None:
        self._file = file
        self._stage = stage
        self.workdir_set = False
        self.has_shell = False
        self._once: dict[type[Instruction], int] = {}

    def _warn(self, rule: str, message: str, line: int | None = None) -> None:
        self._file.warn(rule, self._stage.line if line is None else line, message, self._stage.instruction)

    def begin(self, name: str, context: NamedContext | None) -> Base | None:
        """Compare the base image's platform with the one that was asked for; variants are all the same here."""
        wanted = self._stage.platform
        known = None if context is not None else self._file.bases(name, wanted)
        if known is not None and known.platform.split("/")[:2] != wanted.split("/")[:2]:
            self._warn("InvalidBaseImagePlatform", f"the base image {name} is for {known.platform}, not for {wanted}")
        return known

    def inherit(self, base: StageWalk) -> None:
        """Take over what the base settled."""
        above = base.observer
        assert isinstance(above, StageChecks)
        self.workdir_set, self.has_shell = above.workdir_set, above.has_shell

    def unset(self, names: Iterable[str]) -> None:
        """Report variables that are neither set nor declared."""
        for name in names:
            if name in self._stage.declared or name in NEVER_IN_ENVIRONMENT:
                continue
            match = closest(name, self._stage.env)
            hint = f" (did you mean ${match}?)" if match else ""
            self._warn("UndefinedVar", f"the variable '${name}' is used but never defined{hint}")

    def env(self, instruction: tree.Env, pairs: Sequence[tuple[str, str]]) -> None:
        """Old spelling, and secrets."""
        for key, _ in pairs:
            self._legacy(instruction)
            self._secret("ENV", key)

    def label(self, instruction: tree.Label, pairs: Sequence[tuple[str, str]]) -> None:  # noqa: ARG002
        """Old spelling."""
        self._legacy(instruction)

    def _legacy(self, instruction: tree.Env | tree.Label) -> None:
        if instruction.legacy:
            keyword = instruction.keyword
            self._warn("LegacyKeyValueFormat", f'write "{keyword} key=value" instead of "{keyword} key value"')

    def _secret(self, kind: str, name: str) -> None:
        if _SECRET.search(name) and not _HARMLESS.search(name):
            self._warn(
                "SecretsUsedInArgOrEnv",
                f'{kind} "{name}" seems to hold a secret, which stays in the image; use RUN --mount=type=secret',
            )

    def arg(self, instruction: tree.Arg, values: Sequence[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Secrets."""
        for name, _ in values:
            self._secret("ARG", name)

    def copy(self, instruction: tree.Copy, transfer: Transfer) -> None:  # noqa: ARG002
        """Ignored files."""
        if transfer.origin is None:
            self._ignored("COPY", transfer.sources)

    def add(self, instruction: tree.Add, transfer: Transfer) -> None:  # noqa: ARG002
        """Ignored files."""
        self._ignored("ADD", [path for path in transfer.sources if kind_of(path) == "path"])

    def _ignored(self, keyword: str, paths: Iterable[str]) -> None:
        if self._file.ignored is None:
            return
        for path in paths:
            cleaned = posixpath.normpath(path) if path else "."
            if self._file.ignored(cleaned):
                self._warn(
                    "CopyIgnoredFile", f'{keyword} of "{cleaned}", which the ignore file leaves out of the context'
                )

    def workdir(self, instruction: tree.Workdir, path: str) -> None:  # noqa: ARG002
        """Warn of a first path that depends on the base."""
        if not self.workdir_set and not path.startswith("/"):
            self._warn(
                "WorkdirRelativePath",
                f'the relative path "{path}" depends on the base image; begin with an absolute one',
            )
        self.workdir_set = True

    def expose(self, instruction: tree.Expose, ports: Sequence[Ports]) -> None:  # noqa: ARG002
        """Spelling, and what EXPOSE cannot do."""
        for port in ports:
            if port.protocol != port.protocol.lower():
                self._warn("ExposeProtoCasing", f"the protocol in '{port.text}' should be in lower case")
            if port.on_host:
                self._warn(
                    "ExposeInvalidFormat",
                    f"'{port.text}' names an address or a port of the host, which EXPOSE cannot set",
                )

    def plain(self, instruction: Instruction) -> None:
        """Instructions that count once in a stage, and commands without a shell of their own."""
        match instruction:
            case tree.Cmd() | tree.Entrypoint():
                self._counts_once(instruction)
                if isinstance(instruction.command, tree.ShellForm) and not self.has_shell:
                    why = array_fault(instruction.command)
                    told = (
                        f"looks like a JSON array, and is run by the shell: {why}"
                        if why
                        else "in shell form keeps signals from the program; write a JSON array"
                    )
                    self._warn("JSONArgsRecommended", f"{instruction.keyword} {told}")
            case tree.Healthcheck():
                self._counts_once(instruction)
            case tree.Shell():
                self.has_shell = True

    def _counts_once(self, instruction: Instruction) -> None:
        kind = type(instruction)
        if kind in self._once:
            self._warn(
                "MultipleInstructionsDisallowed",
                f"a later {instruction.keyword} of this stage overrides this one; only the last one counts",
                self._once[kind],
            )
        self._once[kind] = self._stage.line
