"""What a target takes from outside: build arguments, secrets, SSH agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile import tree
from buildah_py.buildfile.checks import unknown
from buildah_py.buildfile.conditions import every
from buildah_py.buildfile.evaluate import Evaluation, Node, Settings
from buildah_py.buildfile.mounts import read_mount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.buildfile.check_options import CheckOptions
    from buildah_py.buildfile.tree import BuildFile, Instruction


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


def outline(
    file: BuildFile,
    build_args: Mapping[str, str],
    target: str | None,
    *,
    platform: str = "",
    contexts: frozenset[str] = frozenset(),
) -> Outline:
    """Collect what `target`, and the stages that it needs, take.

    Raises:
        BuildFileError: a build would fail.
        UsageError: there is no such target.

    """
    from buildah_py.image import platform as platforms

    host = str(platforms.host())
    settings = Settings(build_args, target, platform or host, host, contexts, unknown, None)
    evaluation = Evaluation(file, settings, _ignore)
    evaluation.run()
    aim = evaluation.target()
    reachable = evaluation.reachable(aim)
    arguments: dict[str, OutlinedArgument] = {}
    secrets: dict[str, OutlinedSecret] = {}
    ssh: dict[str, OutlinedSecret] = {}
    used = _used_globals(evaluation, reachable)
    for arg in file.arguments:
        for argument in arg.arguments:
            if argument.name in used:
                value = evaluation.global_env.get(argument.name, "")
                arguments[argument.name] = OutlinedArgument(argument.name, value, arg.doc, arg.span.start.line)
    for node in evaluation.nodes:
        if node in reachable and node.state is not None:
            for instruction in every(node.instructions):
                _collect(evaluation, node, instruction, arguments, secrets, ssh)
    base = aim.stage.base if aim.stage else None
    return Outline(
        base.name or "" if base else "",
        base.doc if base else (),
        tuple(sorted(arguments.values(), key=lambda item: item.line)),
        tuple(sorted(secrets.values(), key=lambda item: item.line)),
        tuple(sorted(ssh.values(), key=lambda item: item.line)),
    )


def _ignore(rule: str, line: int, message: str, options: CheckOptions | None) -> None:
    pass


def _used_globals(evaluation: Evaluation, reachable: set[Node]) -> set[str]:
    """The global arguments that reachable stages use in FROM, and those that the defaults of these use."""
    used: set[str] = set()
    for node in reachable:
        if node.stage is not None:
            base = node.stage.base
            for word in (base.image, base.platform):
                if word is not None:
                    used.update(evaluation.expansion(word.text, evaluation.global_env, word.span).used)
    for arg in reversed(evaluation.file.arguments):
        for argument in arg.arguments:
            if argument.name in used and argument.default is not None:
                used.update(evaluation.expansion(argument.default.text, evaluation.global_env, argument.span).used)
    return used


def _collect(
    evaluation: Evaluation,
    node: Node,
    instruction: Instruction,
    arguments: dict[str, OutlinedArgument],
    secrets: dict[str, OutlinedSecret],
    ssh: dict[str, OutlinedSecret],
) -> None:
    assert node.state is not None
    env = node.state.env
    line = instruction.span.start.line
    if isinstance(instruction, tree.Arg):
        for argument in instruction.arguments:
            globally = argument.name in evaluation.global_env and argument.default is None
            if globally:
                declared = [arg for arg in evaluation.file.arguments if argument.name in _names(arg)]
                doc, where = (declared[-1].doc, declared[-1].span.start.line) if declared else (instruction.doc, line)
            else:
                doc, where = instruction.doc, line
            arguments.setdefault(argument.name, OutlinedArgument(argument.name, env.get(argument.name, ""), doc, where))
    elif isinstance(instruction, tree.Run):
        for mount in instruction.mounts:
            spec = read_mount(mount, lambda text, mount=mount: evaluation.expansion(text, env, mount.span).text)  # type: ignore[misc]
            if spec.type == "secret":
                name = spec.id or spec.source or spec.target.rsplit("/", 1)[-1]
                secrets.setdefault(name, OutlinedSecret(name, spec.required, line))
            elif spec.type == "ssh":
                name = spec.id or "default"
                ssh.setdefault(name, OutlinedSecret(name, spec.required, line))


def _names(arg: tree.Arg) -> list[str]:
    return [argument.name for argument in arg.arguments]
