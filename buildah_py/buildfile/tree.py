"""The syntax tree of a build file: what was written, not yet expanded.

Every node knows its span. A `Word` keeps quotes, escapes and variables as they stand in the file; `expand` turns it
into text when the planner knows the variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from buildah_py.errors import BuildFileError
    from buildah_py.source_text import Source, Span


@dataclass(frozen=True, slots=True)
class Word:
    """One argument as written."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Heredoc:
    """A here-document: `name` is its delimiter, `expand` is false when the delimiter was quoted."""

    name: str
    fd: int
    expand: bool
    strip_tabs: bool
    body: str
    span: Span

    @property
    def text(self) -> str:
        """The body as it is to be used: without the leading tabs that `<<-` takes away."""
        if not self.strip_tabs:
            return self.body
        return "\n".join(line.lstrip("\t") for line in self.body.split("\n"))


@dataclass(frozen=True, slots=True)
class ShellForm:
    """A command for the stage's shell: the text behind the instruction's word and flags."""

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class ExecForm:
    """A command given as a JSON array."""

    args: tuple[str, ...]
    span: Span


CommandForm = ShellForm | ExecForm


@dataclass(frozen=True, slots=True)
class Mount:
    """RUN --mount: its comma-separated options, keys lower-cased, values unexpanded (None: no `=`)."""

    options: tuple[tuple[str, str | None], ...]
    span: Span
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """Base of all instructions: the keyword as written, the logical line, and the comments right above.

    `blank_line` is the number of the instruction's last line where empty lines stand in its continuation, else 0.
    """

    span: Span
    keyword: str
    text: str
    doc: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    blank_line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """FROM [--platform=P] IMAGE [AS NAME]; `name` is lower-cased, `as_` holds the keyword and the name as written."""

    image: Word
    platform: Word | None = None
    name: str | None = None
    as_: tuple[Word, Word] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """RUN; `network` and `security` hold the flags' values, None where the flag was not given."""

    command: CommandForm
    mounts: tuple[Mount, ...] = ()
    network: str | None = None
    security: str | None = None
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy(Instruction):
    """COPY; heredoc sources stand in `heredocs`, the others in `sources`. `json`: written as a JSON array."""

    sources: tuple[Word, ...]
    destination: Word
    from_: Word | None = None
    chown: Word | None = None
    chmod: Word | None = None
    link: bool = False
    parents: bool = False
    exclude: tuple[Word, ...] = ()
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Instruction):
    """ADD; `unpack` and `keep_git_dir` are None where the flag was not given. `json`: written as a JSON array."""

    sources: tuple[Word, ...]
    destination: Word
    chown: Word | None = None
    chmod: Word | None = None
    checksum: Word | None = None
    link: bool = False
    keep_git_dir: bool | None = None
    unpack: bool | None = None
    exclude: tuple[Word, ...] = ()
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    """ENV; key and value pairs. `legacy`: written as `ENV key value`."""

    pairs: tuple[tuple[Word, Word], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    """LABEL; key and value pairs. `legacy`: written as `LABEL key value`."""

    pairs: tuple[tuple[Word, Word], ...]
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class Argument:
    """One NAME[=DEFAULT] of an ARG."""

    name: str
    default: Word | None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    """ARG; one or more arguments."""

    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    """WORKDIR."""

    path: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    """USER."""

    user: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    """CMD."""

    command: CommandForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    """ENTRYPOINT."""

    command: CommandForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    """SHELL."""

    args: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    """EXPOSE; `ports` in the order of the file."""

    ports: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    """VOLUME, from words or from a JSON array (`json`)."""

    paths: tuple[Word, ...]
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    """STOPSIGNAL."""

    signal: Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """HEALTHCHECK; `command` is None for NONE. Durations in nanoseconds, 0 where not given."""

    command: CommandForm | None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """ONBUILD; `trigger` is the text to keep in the image config, heredocs included."""

    trigger: str
    instruction: Instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    """MAINTAINER."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable(Instruction):
    """An ONBUILD trigger that is not an instruction. It may be kept in an image; using it gives `error`."""

    error: BuildFileError


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvFromRun(Instruction):
    """ENV --from-run NAME COMMAND (extension): the command's output, without its last newlines, becomes the value."""

    name: str
    command: ShellForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Unset(Instruction):
    """UNSET ENV|LABEL|EXPOSE|VOLUME NAME … (extension); `kind` in upper case."""

    kind: str
    names: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Include(Instruction):
    """INCLUDE PATH (extension), where it could not be read because no reader was given."""

    path: Word


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of an IF: the text, and the parsed tree for `conditions.holds`."""

    text: str
    tree: tuple[object, ...]
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class If(Instruction):
    """IF … ELSE … END (extension)."""

    condition: Condition
    then: tuple[Instruction, ...]
    otherwise: tuple[Instruction, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and what follows it. `index` counts from 0 in the order of the file."""

    index: int
    base: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str | None:
        """The name given with AS, lower-cased."""
        return self.base.name


@dataclass(frozen=True, slots=True)
class Directives:
    """The parser directives of a file; empty where not given."""

    syntax: str = ""
    escape: str = "\\"
    check: str = ""


@dataclass(frozen=True, slots=True)
class BuildFile:
    """A whole file: `arguments` are the ARGs before the first FROM."""

    source: Source
    directives: Directives
    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    comments: tuple[tuple[int, str], ...] = ()
    extensions: bool = False


def every(instructions: Iterable[Instruction]) -> Iterator[Instruction]:
    """All instructions, those in both branches of an IF among them, in the order of the file."""
    for instruction in instructions:
        yield instruction
        if isinstance(instruction, If):
            yield from every(instruction.then)
            yield from every(instruction.otherwise)
