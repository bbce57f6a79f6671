"""What is wrong with an instruction once the variables that it sees are known."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import ExpansionError, trace_body
from buildah_py.buildfile.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from buildah_py.buildfile.evaluate import Evaluation, Node
    from buildah_py.buildfile.source import Span
    from buildah_py.buildfile.tree import Instruction, Word
    from buildah_py.errors import BuildFileError

_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_HARMLESS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_NEVER_IN_ENV = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")


class StageState:
    """What an instruction of a stage sees and what it leaves behind for the next one."""

    def __init__(self, evaluation: Evaluation, node: Node, above: StageState | None) -> None:
        self.evaluation = evaluation
        self.node = node
        self.line = 0
        self.instruction: Instruction = node.stage.base if node.stage else _nothing()
        self.env: dict[str, str] = dict(above.env) if above else {}
        self.declared: list[str] = list(above.declared) if above else []
        self.workdir: str = above.workdir if above else "/"
        self.workdir_set: bool = above.workdir_set if above else False
        self.has_shell: bool = above.has_shell if above else False
        self.once: dict[type[Instruction], int] = {}

    def warn(self, rule: str, message: str, line: int | None = None) -> None:
        """Report what a check found at the instruction at hand."""
        self.evaluation.warn(rule, self.line if line is None else line, message, self.instruction)

    def error(self, message: str, span: Span, hint: str = "") -> BuildFileError:
        """A fault of the instruction at hand."""
        return self.evaluation.error(message, span, hint)

    def expand(self, word: Word) -> str:
        """Expand a word, and report the variables that it uses in vain."""
        found = self.evaluation.expansion(word.text, self.env, word.span)
        self.undefined(found.unset)
        return found.text

    def expand_text(self, text: str, span: Span) -> str:
        """Like `expand`, for text that is no word of the tree."""
        found = self.evaluation.expansion(text, self.env, span)
        self.undefined(found.unset)
        return found.text

    def undefined(self, names: Iterable[str]) -> None:
        """Report variables that are neither set nor declared."""
        for name in names:
            if name in self.declared or name in _NEVER_IN_ENV:
                continue
            match = closest(name, self.env)
            hint = f" (did you mean ${match}?)" if match else ""
            self.warn("UndefinedVar", f"the variable '${name}' is used but never defined{hint}")


def _nothing() -> Instruction:
    raise AssertionError("an image has no instructions")


def check_instruction(state: StageState, instruction: Instruction) -> None:
    """Check `instruction` and apply it to `state`.

    Raises:
        BuildFileError: the build would fail here.

    """
    state.instruction = instruction
    checker = _CHECKERS.get(type(instruction))
    if checker is not None:
        checker(state, instruction)


def _env(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Env)
    pairs = [(state.expand(key), state.expand(value)) for key, value in instruction.pairs]
    for key, value in pairs:
        _legacy(state, instruction)
        _secret(state, "ENV", key)
        state.env[key] = value


def _label(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Label)
    for key, value in instruction.pairs:
        state.expand(key)
        state.expand(value)
    _legacy(state, instruction)


def _legacy(state: StageState, instruction: tree.Env | tree.Label) -> None:
    if instruction.legacy:
        keyword = instruction.keyword
        state.warn("LegacyKeyValueFormat", f'write "{keyword} key=value" instead of "{keyword} key value"')


def _secret(state: StageState, kind: str, name: str) -> None:
    if _SECRET.search(name) and not _HARMLESS.search(name):
        state.warn(
            "SecretsUsedInArgOrEnv",
            f'{kind} "{name}" seems to hold a secret, which stays in the image; use RUN --mount=type=secret',
        )


def _arg(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Arg)
    evaluation = state.evaluation
    given = evaluation.settings.build_args
    for argument in instruction.arguments:
        _secret(state, "ARG", argument.name)
        value: str | None = None
        if argument.name in given:
            value = given[argument.name]
        elif argument.default is not None:
            value = state.expand(argument.default)
        else:
            value = evaluation.global_env.get(argument.name)
        if value is not None and argument.name not in _NEVER_IN_ENV:
            state.env[argument.name] = value
        state.declared.append(argument.name)


def _run(state: StageState, instruction: Instruction) -> None:
    from buildah_py.buildfile.mounts import read_mount, target_of

    assert isinstance(instruction, tree.Run)
    specs = [
        read_mount(mount, lambda text, mount=mount: state.expand_text(text, mount.span))  # type: ignore[misc]
        for mount in instruction.mounts
    ]
    sources = iter([source for source, needer in state.node.needs if needer is instruction])
    for spec, mount in zip(specs, instruction.mounts, strict=True):
        from_ = dict(mount.options).get("from")
        source = next(sources, None) if from_ and "$" not in from_ else None
        if source is not None and spec.type != "tmpfs":
            _defined_before(state, source, spec.from_, mount.span, "mount")
        if spec.type in ("bind", "cache", "tmpfs"):
            target_of(spec, state.workdir, state.evaluation.file.source)


def _defined_before(state: StageState, source: Node, name: str, span: Span, verb: str) -> None:
    if source.stage is None or source.replaced or source.state is not None:
        return
    raise state.error(
        f'cannot {verb} from stage "{name}", it needs to be defined before the current stage',
        span,
        "move the stage in front of this one",
    )


def _copy(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Copy)
    source = next((source for source, needer in state.node.needs if needer is instruction), None)
    sources = _sources(state, instruction)
    if source is not None and instruction.from_ is not None:
        _defined_before(state, source, instruction.from_.text, instruction.from_.span, "copy")
    if state.evaluation.file.extensions:
        for word in (instruction.from_, *instruction.exclude):
            if word is not None:
                state.expand(word)
    for word, path in sources:
        from buildah_py.buildfile.remote import is_git, is_http

        if is_git(path):
            raise state.error("source can't be a git ref for COPY", word.span, "use ADD")
        if is_http(path):
            raise state.error("source can't be a URL for COPY", word.span, "use ADD")
        if source is None:
            _ignored(state, "COPY", path)


def _add(state: StageState, instruction: Instruction) -> None:
    from buildah_py.buildfile.remote import is_git, is_http

    assert isinstance(instruction, tree.Add)
    sources = _sources(state, instruction)
    checksum = state.expand(instruction.checksum) if instruction.checksum else ""
    if checksum and instruction.checksum is not None:
        if len(sources) != 1:
            raise state.error("checksum can't be specified for multiple sources", instruction.checksum.span)
        path = sources[0][1]
        if not is_http(path) and not is_git(path):
            raise state.error("checksum requires HTTP(S) or Git sources", instruction.checksum.span)
        if is_http(path) and not re.fullmatch(
            r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}", checksum
        ):
            raise state.error(
                "invalid checksum digest format", instruction.checksum.span, "write sha256: and 64 hexadecimal digits"
            )
    for _, path in sources:
        if not is_http(path) and not is_git(path):
            _ignored(state, "ADD", path)


def _sources(state: StageState, instruction: tree.Copy | tree.Add) -> list[tuple[Word, str]]:
    from buildah_py.buildfile.modes import check_mode

    if instruction.chown is not None:
        state.expand(instruction.chown)
    chmod = state.expand(instruction.chmod) if instruction.chmod else ""
    sources = [(word, state.expand(word)) for word in instruction.sources]
    state.expand(instruction.destination)
    for document in instruction.heredocs:
        if document.expand:
            try:
                state.undefined(trace_body(document.text, state.env).unset)
            except ExpansionError as error:
                raise state.error(error.message, document.span) from None
    if chmod and instruction.chmod is not None:
        try:
            check_mode(chmod)
        except ValueError as error:
            raise state.error(str(error), instruction.chmod.span) from None
    return sources


def _ignored(state: StageState, keyword: str, path: str) -> None:
    ignored = state.evaluation.settings.ignored
    if ignored is None:
        return
    cleaned = posixpath.normpath(path) if path else "."
    if ignored(cleaned):
        state.warn("CopyIgnoredFile", f'{keyword} of "{cleaned}", which the ignore file leaves out of the context')


def _workdir(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Workdir)
    path = state.expand(instruction.path)
    if not state.workdir_set and not path.startswith("/"):
        state.warn(
            "WorkdirRelativePath", f'the relative path "{path}" depends on the base image; begin with an absolute one'
        )
    state.workdir_set = True
    state.workdir = posixpath.normpath(posixpath.join(state.workdir, path))


def _user(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.User)
    state.expand(instruction.user)


def _volume(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Volume)
    for word in instruction.paths:
        if not state.expand(word):
            raise state.error("VOLUME specified can not be an empty string", word.span)


def _stopsignal(state: StageState, instruction: Instruction) -> None:
    from buildah_py.buildfile.signals import NAMES, check_signal

    assert isinstance(instruction, tree.StopSignal)
    name = state.expand(instruction.signal)
    try:
        check_signal(name)
    except ValueError as error:
        match = closest(name.upper().removeprefix("SIG"), sorted(NAMES))
        hint = f"did you mean SIG{match}?" if match else "write something like SIGTERM"
        raise state.error(str(error), instruction.signal.span, hint) from None


def _expose(state: StageState, instruction: Instruction) -> None:
    from buildah_py.buildfile.ports import parse_ports

    assert isinstance(instruction, tree.Expose)
    for word in sorted(instruction.ports, key=lambda word: word.text):
        for text in state.evaluation.expansion(word.text, state.env, word.span).words:
            try:
                ports = parse_ports(text)
            except ValueError as error:
                raise state.error(str(error), word.span) from None
            if ports.protocol != ports.protocol.lower():
                state.warn("ExposeProtoCasing", f"the protocol in '{text}' should be in lower case")
            if ports.on_host:
                state.warn(
                    "ExposeInvalidFormat", f"'{text}' names an address or a port of the host, which EXPOSE cannot set"
                )


def _once(state: StageState, instruction: Instruction) -> None:
    kind = type(instruction)
    if kind in state.once:
        state.warn(
            "MultipleInstructionsDisallowed",
            f"a later {instruction.keyword} of this stage overrides this one; only the last one counts",
            state.once[kind],
        )
    state.once[kind] = state.line


def _command(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Cmd | tree.Entrypoint)
    _once(state, instruction)
    if isinstance(instruction.command, tree.ShellForm) and not state.has_shell:
        state.warn(
            "JSONArgsRecommended",
            f"{instruction.keyword} in shell form keeps signals from the program; write a JSON array",
        )


def _shell(state: StageState, instruction: Instruction) -> None:  # noqa: ARG001
    state.has_shell = True


def _unset(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.Unset)
    for word in instruction.names:
        name = state.expand(word)
        if instruction.kind == "ENV":
            state.env.pop(name, None)


def _env_from_run(state: StageState, instruction: Instruction) -> None:
    assert isinstance(instruction, tree.EnvFromRun)
    state.env[instruction.name] = ""


_CHECKERS: dict[type[Instruction], Callable[[StageState, Instruction], None]] = {
    tree.Add: _add,
    tree.Arg: _arg,
    tree.Cmd: _command,
    tree.Copy: _copy,
    tree.Entrypoint: _command,
    tree.Env: _env,
    tree.Expose: _expose,
    tree.Healthcheck: _once,
    tree.Label: _label,
    tree.Run: _run,
    tree.Shell: _shell,
    tree.StopSignal: _stopsignal,
    tree.User: _user,
    tree.Volume: _volume,
    tree.Unset: _unset,
    tree.EnvFromRun: _env_from_run,
    tree.Workdir: _workdir,
}
