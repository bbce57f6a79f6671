"""Outline of a target, by all that it takes from outside: build arguments, secrets, SSH agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile.stage import StageObserver
from buildah_py.buildfile.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildah_py.buildfile import tree
    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.stage import MountUse, Settings, StageWalk
    from buildah_py.buildfile.tree import BuildFile


class OutlinedArgument(NamedTuple):
    """A build argument: its value with the arguments given, and the comments above its ARG."""

    name: str
    value: str
    doc: tuple[str, ...]
    line: int


class OutlinedSecret(NamedTuple):
    """A secret or SSH agent that a RUN mounts."""

    name: str
    required: bool
    line: int


class Outline(NamedTuple):
    """All that a target takes, each list in the order of the file."""

    name: str
    doc: tuple[str, ...]
    arguments: tuple[OutlinedArgument, ...]
    secrets: tuple[OutlinedSecret, ...]
    ssh: tuple[OutlinedSecret, ...]


def outline(file: BuildFile, settings: Settings) -> Outline:
    """Collect what the target, and the stages that it needs, take.

    Raises:
        BuildFileError: a build would fail.
        UsageError: there is no such target.

    """
    taken = _Taken()
    walk = Walk(file, settings, taken)
    walk.run()
    arguments: dict[str, OutlinedArgument] = {}
    secrets: dict[str, OutlinedSecret] = {}
    ssh: dict[str, OutlinedSecret] = {}
    used = {name for stage in walk.needed() for name in taken.in_from[stage.index]}
    for arg in reversed(file.arguments):
        for argument in arg.arguments:
            if argument.name in used:
                if argument.default is not None:
                    used.update(walk.expansion(argument.default.text, walk.global_env, argument.span).used)
                value = walk.global_env.get(argument.name, "")
                arguments[argument.name] = OutlinedArgument(argument.name, value, arg.doc, arg.span.start.line)
    for stage in walk.needed():
        found = taken.stages[stage.index]
        arguments = {one.name: one for one in found.arguments[::-1]} | arguments
        secrets = {one.name: one for one in found.secrets[::-1]} | secrets
        ssh = {one.name: one for one in found.ssh[::-1]} | ssh
    base = walk.target.tree.base
    return Outline(
        base.name or "",
        base.doc,
        tuple(sorted(arguments.values(), key=lambda item: item.line)),
        tuple(sorted(secrets.values(), key=lambda item: item.line)),
        tuple(sorted(ssh.values(), key=lambda item: item.line)),
    )


class _Taken:
    """Collects, by the index of each stage, what its instructions take, and the variables that its FROM uses."""

    def __init__(self) -> None:
        self.in_from: dict[int, list[str]] = {}
        self.stages: dict[int, _StageTaken] = {}

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        self.in_from[stage.index] = image.used + (platform.used if platform is not None else [])

    def stage(self, stage: StageWalk) -> StageObserver:
        return self.stages.setdefault(stage.index, _StageTaken(stage))


class _StageTaken(StageObserver):
    def __init__(self, stage: StageWalk) -> None:
        self._stage = stage
        self.arguments: list[OutlinedArgument] = []
        self.secrets: list[OutlinedSecret] = []
        self.ssh: list[OutlinedSecret] = []

    def arg(self, instruction: tree.Arg, values: Sequence[tuple[str, str | None]]) -> None:
        walk = self._stage.walk
        for argument, (name, value) in zip(instruction.arguments, values, strict=True):
            described = instruction
            if name in walk.global_env and argument.default is None:
                for arg in walk.file.arguments:
                    if any(one.name == name for one in arg.arguments):
                        described = arg
            line = described.span.start.line
            self.arguments.append(OutlinedArgument(name, value or "", described.doc, line))

    def run(self, instruction: tree.Run, mounts: Sequence[MountUse]) -> None:
        line = instruction.span.start.line
        for mount in mounts:
            spec = mount.spec
            if spec.type == "secret":
                name = spec.id or spec.source or spec.target.rsplit("/", 1)[-1]
                self.secrets.append(OutlinedSecret(name, spec.required, line))
            elif spec.type == "ssh":
                self.ssh.append(OutlinedSecret(spec.id or "default", spec.required, line))
