"""Checks that BuildKit does not have. They are notes: they fail nothing but `pybuild check --strict`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.arrays import array_fault
from buildah_py.buildfile.check_options import options_of_comments
from buildah_py.buildfile.front_end import foreign_front_end
from buildah_py.buildfile.tree import every

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildah_py.buildfile.tree import BuildFile, Instruction, Stage
    from buildah_py.buildfile.walk_checks import ReportFinding

_ERREXIT = re.compile(r"^\s*set\s+(?:\S+\s+){0,5}-(?:[a-zA-Z]*e|o\s+errexit)", re.MULTILINE)
_ERREXIT_FLAG = re.compile(r"-[a-zA-Z]*e")
_APT_INSTALL = re.compile(r"\bapt(?:-get)?\s+(?:-\S+\s+){0,10}(?:install|upgrade|dist-upgrade|full-upgrade)\b")
_APT_CLEANED = re.compile(r"\brm\s[^&;|]{0,300}/var/lib/apt/lists")
_DEPENDENCIES = re.compile(
    r"\b(?:pip3?\s+install\s+(?:\S+\s+){0,20}?(?:-r|--requirement)"
    r"|uv\s+(?:sync|pip\s+install)|poetry\s+install|pipenv\s+(?:install|sync)"
    r"|npm\s+(?:ci|install|i)\b|yarn(?:\s+install|\s*$|\s*&&)|pnpm\s+(?:install|i)\b"
    r"|bundle\s+install|composer\s+install|go\s+mod\s+download|cargo\s+fetch"
    r"|mvn\s+\S*dependency:|dotnet\s+restore)"
)
_CREDENTIAL = re.compile(
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_\-]{20}"
    r"|xox[abprs]-[A-Za-z0-9\-]{10,}|sk_live_[A-Za-z0-9]{16,}|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|://[^/\s:@$]+:[^/\s:@$]+@|eyJ[A-Za-z0-9_\-]{10,}\.eyJ[A-Za-z0-9_\-]{10,}\."
)


def own_checks(file: BuildFile, report: ReportFinding) -> None:
    """Run all of our checks."""
    front_end = foreign_front_end(file)
    if front_end is not None:
        report("PybuildForeignSyntax", front_end.line, front_end.message(), None)
    names = {stage.name for stage in file.stages if stage.name}
    for stage in file.stages:
        _base(stage, names, report)
        _errexit(stage, report)
        _order(stage, report)
        _global_arguments(file, stage, report)
        for instruction in every(stage.instructions):
            if isinstance(instruction, tree.Run):
                _apt(instruction, report)
                if why := array_fault(instruction.command):
                    message = f"{instruction.keyword} looks like a JSON array, and is run by the shell: {why}"
                    _say(report, "PybuildJSONArgs", instruction, message)
    for instruction in _all(file):
        _credentials(instruction, report)


def _all(file: BuildFile) -> Iterator[Instruction]:
    yield from file.arguments
    for stage in file.stages:
        yield from every(stage.instructions)


def _say(report: ReportFinding, rule: str, instruction: Instruction, message: str) -> None:
    own = options_of_comments(instruction.doc) if instruction.doc else None
    report(rule, instruction.span.start.line, message, own)


def _base(stage: Stage, names: set[str], report: ReportFinding) -> None:
    image = stage.base.image.text
    if image == "scratch" or image in names or "$" in image or "@" in image:
        return
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    if not tag or tag == "latest":
        what = "has no tag" if not tag else "has the tag latest"
        _say(report, "PybuildUnpinnedBase", stage.base, f"the base image {image} {what}: it may change at any time")


def _errexit(stage: Stage, report: ReportFinding) -> None:
    strict = False
    for instruction in every(stage.instructions):
        if isinstance(instruction, tree.Shell):
            strict = any(_ERREXIT_FLAG.match(argument) for argument in instruction.args)
        if not isinstance(instruction, tree.Run) or strict or len(instruction.heredocs) != 1:
            continue
        if not isinstance(instruction.command, tree.ShellForm) or not re.fullmatch(
            r"[0-9]*<<\S+", instruction.command.text
        ):
            continue
        body = instruction.heredocs[0].text
        lines = [line for line in body.split("\n") if line.strip() and not line.lstrip().startswith("#")]
        if body.startswith("#!") or len(lines) < 2 or _ERREXIT.search(body):
            continue
        message = "only the last line's failure fails this step; begin the heredoc with `set -e`"
        _say(report, "PybuildHeredocErrexit", instruction, message)


def _global_arguments(file: BuildFile, stage: Stage, report: ReportFinding) -> None:
    """Report ARGs before the first FROM that a RUN uses, whose stage has to declare them again."""
    known = {argument.name for arg in file.arguments for argument in arg.arguments}
    if not known or stage.base.image.text.lower() in {one.name for one in file.stages}:
        return  # a stage that this one begins with may have declared it
    for instruction in every(stage.instructions):
        if isinstance(instruction, tree.Arg):
            known -= {argument.name for argument in instruction.arguments}
        elif isinstance(instruction, tree.Env):
            known -= {key.text for key, _ in instruction.pairs}
        elif isinstance(instruction, tree.EnvFromRun):
            known.discard(instruction.name)
        elif isinstance(instruction, tree.Run):
            text = _text(instruction)
            for name in sorted(known):
                used = re.search(rf"\$(?:{name}\b|\{{{name}[}}\[:/#%^,@])", text)
                if used and not re.search(rf"\b{name}\+?=|\b(?:for|read(?:\s+-\S+)*)\s+{name}\b", text):
                    message = (
                        f"{name} is declared before the first FROM only, and empty here: repeat `ARG {name}` below FROM"
                    )
                    _say(report, "PybuildGlobalArg", instruction, message)
                    known.discard(name)


def _order(stage: Stage, report: ReportFinding) -> None:
    whole: tree.Copy | None = None
    for instruction in every(stage.instructions):
        if isinstance(instruction, tree.Copy) and instruction.from_ is None:
            if whole is None and any(word.text.rstrip("/") in (".", "") for word in instruction.sources):
                whole = instruction
        elif isinstance(instruction, tree.Run) and whole is not None and _DEPENDENCIES.search(_text(instruction)):
            line = instruction.span.start.line
            _say(
                report,
                "PybuildCopyBeforeInstall",
                whole,
                f"every change of the context repeats the installation in line {line}; "
                "copy the list of dependencies first and the rest after it",
            )
            return


def _apt(instruction: tree.Run, report: ReportFinding) -> None:
    text = _text(instruction)
    if not _APT_INSTALL.search(text) or _APT_CLEANED.search(text):
        return
    for mount in instruction.mounts:
        options = dict(mount.options)
        target = options.get("target") or options.get("dst") or options.get("destination") or ""
        if options.get("type") in ("cache", "tmpfs") and target.startswith(("/var/lib/apt", "/var/cache/apt")):
            return
    _say(
        report,
        "PybuildAptLeftovers",
        instruction,
        "package lists stay in the layer; end with `rm -rf /var/lib/apt/lists/*`, or mount caches on /var/lib/apt "
        "and /var/cache/apt",
    )


def _text(instruction: tree.Run) -> str:
    command = instruction.command
    text = command.text if isinstance(command, tree.ShellForm) else " ".join(command.args)
    return "\n".join([text, *(document.body for document in instruction.heredocs)])


def _credentials(instruction: Instruction, report: ReportFinding) -> None:
    values: list[tuple[str, str]] = []
    if isinstance(instruction, tree.Env | tree.Label):
        values = [(key.text, value.text) for key, value in instruction.pairs]
    elif isinstance(instruction, tree.Arg):
        values = [(argument.name, argument.default.text) for argument in instruction.arguments if argument.default]
    for name, value in values:
        if _CREDENTIAL.search(value):
            _say(
                report,
                "PybuildSecretValue",
                instruction,
                f"the value of {name} looks like a credential, and everyone who has the image can read it",
            )
