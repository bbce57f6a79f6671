"""A stage of a walk: what its instructions see, what they say once that is put in, and what is wrong with that."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import ExpansionError, trace_body
from buildah_py.buildfile.variables import NEVER_IN_ENVIRONMENT
from buildah_py.errors import BuildFileError
from buildah_py.image.config import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from buildah_py.buildfile.expand import Expansion
    from buildah_py.buildfile.mount_flags import MountSpec
    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.ports import Ports
    from buildah_py.buildfile.tree import Instruction, Word
    from buildah_py.source_text import Source, Span

_DIGESTS: Final = r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"


class Settings(NamedTuple):
    """Additions of the command line; `contexts` are by their keys, `env` are variables of all stages."""

    platform: str
    build_platform: str
    build_args: Mapping[str, str] = {}
    target: str = ""
    contexts: Mapping[str, NamedContext] = {}
    env: Mapping[str, str] = {}


class Base(NamedTuple):
    """Facts about a base image: its variables, platform (`os/arch[/variant]`), directory and ONBUILD triggers."""

    env: Mapping[str, str]
    platform: str
    working_dir: str = ""
    triggers: tuple[str, ...] = ()


class FilesOrigin(NamedTuple):
    """The place that an instruction takes files from: a stage, a named context, or the image of a name."""

    stage: StageWalk | None = None
    context: NamedContext | None = None
    image: str = ""


class MountUse(NamedTuple):
    """A mount of RUN: `target` is absolute for what has one, `origin` is None where nothing is named."""

    mount: tree.Mount
    spec: MountSpec
    target: str
    origin: FilesOrigin | None


class Transfer(NamedTuple):
    """COPY or ADD with everything expanded; `origin` is None for the main context, `files` are here-documents."""

    sources: tuple[str, ...]
    destination: str
    files: tuple[tuple[tree.Heredoc, str], ...]
    chown: str
    chmod: str
    exclude: tuple[str, ...]
    checksum: str
    origin: FilesOrigin | None


class StageObserver:
    """Takes the instructions of one stage, each with its words expanded, in the order in which a build applies them."""

    def begin(self, name: str, context: NamedContext | None) -> Base | None:  # noqa: ARG002
        """Take note that the stage begins with an image, or with the files of a context on `scratch`.

        Returns what is known of it.
        """
        return None

    def inherit(self, base: StageWalk) -> None:
        """Take note that the stage begins with another one."""

    def unset(self, names: Iterable[str]) -> None:
        """Words of the instruction at hand use variables that are not set."""

    def env(self, instruction: tree.Env, pairs: Sequence[tuple[str, str]]) -> None:
        """ENV."""

    def label(self, instruction: tree.Label, pairs: Sequence[tuple[str, str]]) -> None:
        """LABEL."""

    def arg(self, instruction: tree.Arg, values: Sequence[tuple[str, str | None]]) -> None:
        """ARG; None where there is no value."""

    def run(self, instruction: tree.Run, mounts: Sequence[MountUse]) -> None:
        """RUN."""

    def copy(self, instruction: tree.Copy, transfer: Transfer) -> None:
        """COPY."""

    def add(self, instruction: tree.Add, transfer: Transfer) -> None:
        """ADD."""

    def workdir(self, instruction: tree.Workdir, path: str) -> None:
        """WORKDIR, as given; the stage knows the absolute path."""

    def user(self, instruction: tree.User, user: str) -> None:
        """USER."""

    def volume(self, instruction: tree.Volume, paths: Sequence[str]) -> None:
        """VOLUME."""

    def expose(self, instruction: tree.Expose, ports: Sequence[Ports]) -> None:
        """EXPOSE."""

    def stop_signal(self, instruction: tree.StopSignal, signal: str) -> None:
        """STOPSIGNAL."""

    def unset_names(self, instruction: tree.Unset, names: Sequence[str]) -> None:
        """UNSET."""

    def env_from_run(self, instruction: tree.EnvFromRun) -> str:  # noqa: ARG002
        """ENV --from-run; gives the value."""
        return ""

    def plain(self, instruction: Instruction) -> None:
        """All others: nothing in them is expanded."""

    def end(self) -> None:
        """Take note that the stage is complete."""


class Observer(Protocol):
    """Takes what a walk finds."""

    def named(self, stage: StageWalk, image: Expansion, platform: Expansion | None) -> None:
        """Take note that the words of a FROM are expanded.

        All FROMs come first, those of stages that nothing needs too.
        """

    def stage(self, stage: StageWalk) -> StageObserver:
        """Return the observer that takes the instructions of a stage that is needed."""


class FileWalk(Protocol):
    """The walk that a stage is part of, as stages and their observers see it; `walk.Walk` says what the members do."""

    file: tree.BuildFile
    settings: Settings
    observer: Observer
    escape: str
    global_env: dict[str, str]
    declared: set[str]
    stages: list[StageWalk]

    def global_arguments(self, given: Mapping[str, str]) -> dict[str, str]: ...  # noqa: D102

    def context(self, name: str, platform: str) -> NamedContext | None: ...  # noqa: D102

    def need(self, stage: StageWalk) -> StageWalk: ...  # noqa: D102

    def origin(self, stage: StageWalk, name: str, span: Span, verb: str) -> FilesOrigin: ...  # noqa: D102

    def similar(self, name: str) -> str: ...  # noqa: D102

    def expansion(  # noqa: D102
        self, text: str, env: Mapping[str, str], span: Span, source: Source | None = None
    ) -> Expansion: ...

    def count(self, found: Expansion, span: Span, source: Source | None = None) -> None: ...  # noqa: D102


class StageWalk:
    """One stage.

    `env` is what instructions see, `image_env` what of that the image keeps. `line` is where what is at hand is
    reported: the FROM for triggers of the base.
    """

    def __init__(self, walk: FileWalk, stage: tree.Stage, image: str, base: StageWalk | None) -> None:
        self.walk = walk
        self.tree = stage
        self.index = stage.index
        self.label = stage.name or f"stage-{stage.index}"
        self.image = image
        self.base = base
        self.platform = walk.settings.platform
        self.is_replaced = stage.name is not None and walk.context(stage.name, self.platform) is not None
        self.begun = False
        self.needs: list[int] = []
        self.source = walk.file.source
        self.line = stage.base.span.start.line
        self.instruction: Instruction = stage.base
        self.env: dict[str, str] = {}
        self.image_env: dict[str, str] = {}
        self.declared: set[str] = set()
        self.workdir = "/"
        self.triggers: list[tuple[Instruction, Source]] = []
        self.observer: StageObserver

    def walk_through(self) -> None:
        """Begin with the base, run its triggers, then the stage's own instructions."""
        self.begun = True
        self.observer = self.walk.observer.stage(self)
        triggers = self._begin()
        self.image_env.setdefault("PATH", DEFAULT_PATH)
        self.image_env |= self.walk.settings.env
        self.env |= self.image_env
        own = self.source
        for instruction, source in triggers:
            self.source = source
            self.apply(instruction)
        self.source = own
        if not self.is_replaced:
            for instruction in self.tree.instructions:
                self.line = instruction.span.start.line
                self.apply(instruction)
        self.observer.end()

    def _begin(self) -> list[tuple[Instruction, Source]]:
        """Take over what the base leaves; give its triggers."""
        name, base, context = self.image, self.base, None
        if self.is_replaced or base is None:
            context = self.walk.context(self.label if self.is_replaced else name, self.platform)
            base = None
        if context is not None and context.kind == "target":
            base = self._stage_of(context)
        if base is not None:
            self.needs.append(base.index)
            self.walk.need(base)
            self.env, self.image_env = dict(base.env), dict(base.image_env)
            self.declared, self.workdir = set(base.declared), base.workdir
            self.observer.inherit(base)
            return [self._readable(*trigger) for trigger in base.triggers]
        if context is not None:
            name, context = (context.location, None) if context.kind == "image" else ("scratch", context)
        known = self.observer.begin(name, context)
        if known is None:
            return []
        self.image_env = dict(known.env)
        self.workdir = known.working_dir or "/"
        return self._parse_triggers(name, known.triggers)

    def _stage_of(self, context: NamedContext) -> StageWalk:
        """Find the stage that the command line gives in place of the base."""
        found = [stage for stage in self.walk.stages[: self.index] if stage.tree.name == context.location.lower()]
        if not found:
            raise self.error(
                f"the context {context.name} is the stage `{context.location}`, and there is none before this one",
                self.tree.base.image.span,
                self.walk.similar(context.location),
            )
        return found[-1]

    def _readable(self, instruction: Instruction, source: Source) -> tuple[Instruction, Source]:
        if isinstance(instruction, tree.Unreadable):
            raise self.error(instruction.error.message, self.tree.base.span, instruction.error.hint)
        return instruction, source

    def _parse_triggers(self, name: str, triggers: Iterable[str]) -> list[tuple[Instruction, Source]]:
        from buildah_py.buildfile.parser import parse_trigger
        from buildah_py.source_text import Source

        sources = [Source(f"ONBUILD {number} of {name}", text) for number, text in enumerate(triggers, 1)]
        return [(parse_trigger(source.text, source), source) for source in sources]

    # what instructions see

    def error(self, message: str, span: Span, hint: str = "") -> BuildFileError:
        """Return an error for the instruction at hand."""
        return BuildFileError(message, self.source, span, hint=hint)

    def expand(self, word: Word) -> str:
        """Expand a word, and report the variables that it uses in vain."""
        return self.expand_text(word.text, word.span)

    def expand_text(self, text: str, span: Span) -> str:
        """Like `expand`, for text that is not a word of the tree."""
        found = self.walk.expansion(text, self.env, span, self.source)
        if found.unset:
            self.observer.unset(found.unset)
        return found.text

    def absolute(self, path: str) -> str:
        """Give a path of the file system as seen from the working directory."""
        return "/" + posixpath.normpath(posixpath.join("/", self.workdir, path)).lstrip("/")

    # instructions

    def apply(self, instruction: Instruction) -> None:
        """Apply one instruction: to the observer first, then to what the next ones see."""
        self.instruction = instruction
        match instruction:
            case tree.Add():
                self._add(instruction)
            case tree.Arg():
                self._arg(instruction)
            case tree.Copy():
                self._copy(instruction)
            case tree.Env():
                self._env(instruction)
            case tree.EnvFromRun():
                self._env_from_run(instruction)
            case tree.Expose():
                self._expose(instruction)
            case tree.If():
                self._if(instruction)
            case tree.Include():
                self._include(instruction)
            case tree.Label():
                self._label(instruction)
            case tree.Run():
                self._run(instruction)
            case tree.StopSignal():
                self._stop_signal(instruction)
            case tree.Unset():
                self._unset(instruction)
            case tree.User():
                self._user(instruction)
            case tree.Volume():
                self._volume(instruction)
            case tree.Workdir():
                self._workdir(instruction)
            case _:
                self._plain(instruction)

    def _plain(self, instruction: Instruction) -> None:
        self.observer.plain(instruction)
        if isinstance(instruction, tree.Onbuild):
            self.triggers.append((instruction.instruction, self.source))

    def _if(self, instruction: tree.If) -> None:
        from buildah_py.buildfile.conditions import holds

        true = holds(instruction.condition, self.env, self.source, self.walk.escape)
        for inner in instruction.then if true else instruction.otherwise:
            self.line = inner.span.start.line
            self.apply(inner)

    def _pairs(self, instruction: tree.Env | tree.Label) -> list[tuple[str, str]]:
        pairs = [(self.expand(key), self.expand(value)) for key, value in instruction.pairs]
        for (key, _), (word, _) in zip(pairs, instruction.pairs, strict=True):
            if not key:
                raise self.error(f"{instruction.keyword.upper()} names can not be blank", word.span)
        return pairs

    def _env(self, instruction: tree.Env) -> None:
        fixed = self.walk.settings.env
        pairs = [(key, fixed.get(key, value)) for key, value in self._pairs(instruction)]
        self.observer.env(instruction, pairs)
        self.image_env.update(pairs)
        self.env.update(pairs)

    def _label(self, instruction: tree.Label) -> None:
        self.observer.label(instruction, self._pairs(instruction))

    def _arg(self, instruction: tree.Arg) -> None:
        settings = self.walk.settings
        values = []
        for argument in instruction.arguments:
            name = argument.name
            if name in settings.build_args:
                value: str | None = settings.build_args[name]
            elif argument.default is not None:
                value = self.expand(argument.default)
            else:
                value = self.walk.global_env.get(name)
            if value is not None and name not in NEVER_IN_ENVIRONMENT:
                self.env[name] = value = settings.env.get(name, value)
            self.walk.declared.add(name)
            self.declared.add(name)
            values.append((name, value))
        self.observer.arg(instruction, values)

    def _workdir(self, instruction: tree.Workdir) -> None:
        path = self.expand(instruction.path)
        absolute = self.absolute(path)
        # The image keeps an absolute path as it was written.
        self.workdir = path if path.startswith("/") else absolute
        self.observer.workdir(instruction, path)

    def _user(self, instruction: tree.User) -> None:
        self.observer.user(instruction, self.expand(instruction.user))

    def _volume(self, instruction: tree.Volume) -> None:
        paths = []
        for word in instruction.paths:
            path = self.expand(word)
            if not path:
                raise self.error("VOLUME specified can not be an empty string", word.span)
            paths.append(path)
        self.observer.volume(instruction, paths)

    def _stop_signal(self, instruction: tree.StopSignal) -> None:
        from buildah_py.buildfile.signals import NAMES, check_signal
        from buildah_py.suggest import did_you_mean

        name = self.expand(instruction.signal)
        try:
            check_signal(name)
        except ValueError as error:
            hint = did_you_mean(name.upper().removeprefix("SIG"), sorted(NAMES), prefix="SIG")
            raise self.error(str(error), instruction.signal.span, hint or "write something like SIGTERM") from None
        self.observer.stop_signal(instruction, name)

    def _expose(self, instruction: tree.Expose) -> None:
        from buildah_py.buildfile.ports import parse_ports

        found = []
        for word in sorted(instruction.ports, key=lambda word: word.text):
            for text in self.walk.expansion(word.text, self.env, word.span, self.source).words:
                try:
                    found.append(parse_ports(text))
                except ValueError as error:
                    raise self.error(str(error), word.span) from None
        self.observer.expose(instruction, found)

    def _unset(self, instruction: tree.Unset) -> None:
        names = [self.expand(word) for word in instruction.names]
        self.observer.unset_names(instruction, names)
        if instruction.kind == "ENV":
            for name in names:
                self.env.pop(name, None)
                self.image_env.pop(name, None)

    def _env_from_run(self, instruction: tree.EnvFromRun) -> None:
        value = self.observer.env_from_run(instruction)
        self.env[instruction.name] = self.image_env[instruction.name] = value

    def _include(self, instruction: tree.Include) -> None:
        raise self.error("there is no file to include from here", instruction.span)

    def _run(self, instruction: tree.Run) -> None:
        self.observer.run(instruction, [self._mount(mount) for mount in instruction.mounts])

    def _mount(self, mount: tree.Mount) -> MountUse:
        from buildah_py.buildfile.mount_flags import read_mount, target_of

        spec = read_mount(mount, lambda text: self.expand_text(text, mount.span))
        takes_files = spec.type in ("bind", "cache")
        origin = None
        if spec.from_ and takes_files:
            origin = self.walk.origin(self, spec.from_, mount.span, "mount")
        target = spec.target
        if takes_files or spec.type == "tmpfs":
            target = target_of(spec, self.workdir, self.source)
        return MountUse(mount, spec, target, origin)

    def _copy(self, instruction: tree.Copy) -> None:
        from buildah_py.buildfile.remote import kind_of

        transfer = self._transfer(instruction)
        if instruction.from_ is not None:
            name = instruction.from_.text
            if self.walk.file.extensions:
                name = self.expand(instruction.from_)
            transfer = transfer._replace(origin=self.walk.origin(self, name, instruction.from_.span, "copy"))
        for word, path in zip(instruction.sources, transfer.sources, strict=True):
            kind = kind_of(path)
            if kind != "path":
                what = "a git ref" if kind == "git" else "a URL"
                raise self.error(f"source can't be {what} for COPY", word.span, "use ADD")
        self.observer.copy(instruction, transfer)

    def _add(self, instruction: tree.Add) -> None:
        from buildah_py.buildfile.remote import kind_of

        transfer = self._transfer(instruction)
        if instruction.checksum is not None:
            checksum = self.expand(instruction.checksum)
            span = instruction.checksum.span
            hint = "--checksum is for one file or repository from elsewhere"
            if checksum and len(transfer.sources) != 1:
                raise self.error("checksum can't be specified for multiple sources", span, hint)
            if checksum and kind_of(transfer.sources[0]) == "path":
                raise self.error("checksum requires HTTP(S) or Git sources", span, hint)
            if checksum and kind_of(transfer.sources[0]) == "http" and not re.fullmatch(_DIGESTS, checksum):
                raise self.error("invalid checksum digest format", span, "write sha256: and 64 hexadecimal digits")
            transfer = transfer._replace(checksum=checksum)
        self.observer.add(instruction, transfer)

    def _transfer(self, instruction: tree.Copy | tree.Add) -> Transfer:
        chown = self.expand(instruction.chown) if instruction.chown else ""
        chmod = self.expand(instruction.chmod) if instruction.chmod else ""
        sources = tuple(self.expand(word) for word in instruction.sources)
        destination = self.expand(instruction.destination)
        files = tuple((document, self._body(document)) for document in instruction.heredocs)
        if chmod and instruction.chmod is not None:
            from buildah_py.buildfile.modes import read_mode

            try:
                read_mode(chmod)
            except ValueError as error:
                raise self.error(str(error), instruction.chmod.span) from None
        exclude = instruction.exclude
        patterns = tuple(self.expand(word) if self.walk.file.extensions else word.text for word in exclude)
        return Transfer(sources, destination, files, chown, chmod, patterns, "", None)

    def _body(self, document: tree.Heredoc) -> str:
        if not document.expand:
            return document.text
        try:
            found = trace_body(document.text, self.env)
        except ExpansionError as error:
            raise self.error(error.message, document.span) from None
        self.walk.count(found, document.span, self.source)
        if found.unset:
            self.observer.unset(found.unset)
        return found.text
