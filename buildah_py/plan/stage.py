"""One stage: a fold of its instructions over an image config, which leaves steps behind.

The walk gives each instruction with its words expanded; a method treats it as the Dockerfile reference describes it.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import fill_in
from buildah_py.buildfile.stage import Base, StageObserver
from buildah_py.errors import BuildFileError, NotFound, SourceError, UsageError
from buildah_py.image.canonical import MAX_BYTES
from buildah_py.image.config import HealthcheckConfig
from buildah_py.plan.graph import BUILT, WHOLE, Around, HistoryItem, Input
from buildah_py.plan.steps import CaptureStep, CopyStep, InlineFile, MountStep, RunStep, WorkdirStep
from buildah_py.source_text import Where
from buildah_py.sources.urls import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from buildah_py.buildfile.named import NamedContext
    from buildah_py.buildfile.ports import Ports
    from buildah_py.buildfile.stage import FilesOrigin, MountUse, StageWalk, Transfer
    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.graph import BuiltTarget, GraphBuilder, GraphPart
    from buildah_py.plan.steps import Step
    from buildah_py.source_text import Span

DEFAULT_SHELL = ("/bin/sh", "-c")
_SECRETS = "/run/secrets"
_FILE_MODES = {"secret": 0o400, "ssh": 0o600}
_SHEBANG = "#!"
_LONE_HEREDOC = re.compile(r"\s*\d*<<-?\s*(\"[^\"]*\"|'[^']*'|[^\s<>&|;()\"'$`\\]+)\s*")


class RunDefaults(NamedTuple):
    """Settings of containers where an instruction says nothing else; `container` is what of the options enters keys."""

    network: str
    hostname: str
    proxies: tuple[tuple[str, str], ...]
    container: tuple[tuple[str, object], ...]


class StageFold(StageObserver):
    """The config, the last node and the history of a stage, as far as its instructions were read; `name` is for people.

    So is `platform`, see Node. `arguments` are the values that ARGs gave, which need not be what counts now.
    """

    def __init__(
        self,
        graph: GraphBuilder,
        defaults: RunDefaults,
        stage: StageWalk,
        name: str,
        platform: str = "",
        part: GraphPart = WHOLE,
        resolve: Callable[[str, str], ImageConfig] | None = None,
    ) -> None:
        self._graph = graph
        self._defaults = defaults
        self.stage = stage
        self.name = name
        self.platform = platform
        self._part = part
        self._resolve = resolve
        self.config: ImageConfig
        self.node: int
        self.history: list[HistoryItem] = []
        self.arguments: dict[str, str] = {}
        self.noted = 0
        self._cmd_set = False

    def place(self, span: Span) -> str:
        """Name the file and line of a place in the file."""
        name, line = self.stage.source.place(span.start.line)
        return f"{name}:{line}"

    def _note(self, text: str, node: int | None = None) -> None:
        """Add to the history; nothing in the config is longer than what the history says of it."""
        self.noted += len(text)
        if self.noted > MAX_BYTES:
            raise self.stage.error(
                f"the image's config would be longer than {MAX_BYTES} bytes",
                self.stage.instruction.span,
                "look for variables and labels that hold very much",
            )
        self.history.append(HistoryItem(text, node))

    def _input(self, origin: FilesOrigin, span: Span) -> Input:
        """Give the tree that an instruction takes files from."""
        if origin.stage is not None:
            return Input(node=fold_of(origin.stage).node, name=f"the stage {origin.stage.label}")
        if origin.context is not None:
            return Input(context=origin.context.key, name=f"the context {origin.context.name}")
        name, walk = origin.image, self.stage.walk
        if (built := self._built(name, walk.settings.platform, span)) is not None:
            return Input(node=built.node, name=f"the target {name.removeprefix(BUILT)}")
        try:
            node, _ = self._image(name, walk.settings.platform, span)
        except (NotFound, UsageError, SourceError) as error:
            hint = walk.similar(name) or error.hint
            what = f"`{name}` is not a stage of this file, and as an image: "
            raise self.stage.error(
                f"{'' if isinstance(error, SourceError) else what}{error.message}", span, hint
            ) from error
        return Input(node=node, name=f"the image {name}")

    def _built(self, name: str, platform: str, span: Span) -> BuiltTarget | None:
        """Give what another build of the graph makes, if that is what a name means."""
        if not name.startswith(BUILT):
            return None
        built = self._graph.built.get((name, platform))
        if built is None:
            raise self.stage.error(f"the target {name.removeprefix(BUILT)} is not built for {platform}", span)
        return built

    def _image(self, name: str, platform: str, span: Span) -> tuple[int, ImageConfig]:
        place = self.place(span)
        return self._graph.image(
            name, platform, self.name, place, self.platform, part=self._part, resolve=self._resolve
        )

    def _step(self, step: Step, instruction: tree.Instruction, history: str, inputs: tuple[Input, ...] = ()) -> None:
        self.node = self._graph.add(
            step,
            parent=self.node,
            inputs=inputs,
            stage=self.name,
            text=redact(instruction.text),
            place=self.place(instruction.span),
            shown=self._shown(step, instruction.text),
            where=Where(self.stage.source, instruction.span),
            around=self._around(step),
            platform=self.platform,
            part=self._part,
        )
        self._note(history, self.node)

    def _around(self, step: Step) -> Around:
        if isinstance(step, RunStep):
            return Around(step.env, step.cwd, step.user)
        return Around(tuple(self.stage.env.items()), self.stage.absolute(""), self.config.user)

    def _shown(self, step: Step, text: str) -> str:
        """Give an instruction with the values of its variables; those of a RUN are its shell's."""
        if not isinstance(step, CopyStep | WorkdirStep) or "$" not in text:
            return ""
        return redact(fill_in(text, self.stage.env))

    # the beginning

    def begin(self, name: str, context: NamedContext | None) -> Base:
        """Begin with an image, or with the files of a context."""
        stage = self.stage
        base = stage.tree.base
        span = base.image.span
        built = self._built(name, stage.platform, span)
        try:
            self.node, self.config = built[:2] if built else self._image(name, stage.platform, span)
        except (NotFound, UsageError, SourceError) as error:
            hint = error.hint
            if isinstance(error, NotFound):
                hint = stage.walk.similar(name) or hint
            raise BuildFileError(error.message, stage.source, span, hint=hint) from error
        if built is not None:
            self.history = list(built.history)
        if context is not None:
            source = Input(context=context.key, name=f"the context {context.name}")
            self._step(CopyStep(("/",), "/"), base, f"FROM {context.name}", (source,))
        triggers = self.config.onbuild
        if triggers:
            self.config = self.config.without_onbuild()
        return Base(self.config.environment(), str(self.config.platform), self.config.working_dir, triggers)

    def inherit(self, base: StageWalk) -> None:
        """Begin with another stage."""
        below = fold_of(base)
        self.node = below.node
        self.config = below.config.without_onbuild() if below.config.onbuild else below.config
        self.history, self.arguments, self.noted = list(below.history), dict(below.arguments), below.noted

    def end(self) -> None:
        """Have the image keep what ENV set."""
        self.config = self.config.with_environment(self.stage.image_env)

    # instructions that are folded into the config

    def env(self, instruction: tree.Env, pairs: Sequence[tuple[str, str]]) -> None:  # noqa: ARG002
        """ENV."""
        self._note(_pairs_text("ENV", pairs))

    def label(self, instruction: tree.Label, pairs: Sequence[tuple[str, str]]) -> None:  # noqa: ARG002
        """LABEL."""
        self.config = self.config.with_labels(dict(pairs))
        self._note(_pairs_text("LABEL", pairs))

    def arg(self, instruction: tree.Arg, values: Sequence[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """ARG."""
        self.arguments |= {name: value for name, value in values if value is not None}
        shown = [name if value is None else f"{name}={value}" for name, value in values]
        self._note(f"ARG {' '.join(shown)}")

    def user(self, instruction: tree.User, user: str) -> None:  # noqa: ARG002
        """USER."""
        self.config = self.config.with_user(user)
        self._note(f"USER {user}")

    def workdir(self, instruction: tree.Workdir, path: str) -> None:  # noqa: ARG002
        """WORKDIR."""
        absolute = self.stage.absolute("")
        self.config = self.config.with_working_dir(self.stage.workdir)
        if absolute == "/":
            self._note("WORKDIR /")
        else:
            self._step(WorkdirStep(absolute, self.config.user), instruction, f"WORKDIR {absolute}")

    def expose(self, instruction: tree.Expose, ports: Sequence[Ports]) -> None:  # noqa: ARG002
        """EXPOSE."""
        found = [name for port in ports for name in port.names()]
        self.config = self.config.with_exposed_ports(found)
        self._note(f"EXPOSE {' '.join(sorted(found))}")

    def volume(self, instruction: tree.Volume, paths: Sequence[str]) -> None:  # noqa: ARG002
        """VOLUME."""
        self.config = self.config.with_volumes(paths)
        self._note(f"VOLUME {' '.join(paths)}")

    def stop_signal(self, instruction: tree.StopSignal, signal: str) -> None:  # noqa: ARG002
        """STOPSIGNAL."""
        self.config = self.config.with_stop_signal(signal)
        self._note(f"STOPSIGNAL {signal}")

    def unset_names(self, instruction: tree.Unset, names: Sequence[str]) -> None:
        """UNSET."""
        for name in names:
            if instruction.kind == "LABEL":
                self.config = self.config.without_label(name)
            elif instruction.kind == "EXPOSE":
                self.config = self.config.without_exposed_port(name if "/" in name else f"{name}/tcp")
            elif instruction.kind == "VOLUME":
                self.config = self.config.without_volume(name)
        self._note(f"UNSET {instruction.kind} {' '.join(names)}")

    def plain(self, instruction: tree.Instruction) -> None:
        """CMD, ENTRYPOINT, SHELL, HEALTHCHECK, MAINTAINER and ONBUILD."""
        match instruction:
            case tree.Cmd():
                args = self._command(instruction.command)
                self.config = self.config.with_cmd(args).with_args_escaped(True)  # as docker has it, in either form
                self._cmd_set = True
                self._note(_command_text("CMD", args))
            case tree.Entrypoint():
                args = self._command(instruction.command)
                self.config = self.config.with_entrypoint(args)
                if not self._cmd_set:
                    self.config = self.config.with_cmd(())
                self._note(_command_text("ENTRYPOINT", args))
            case tree.Shell():
                self.config = self.config.with_shell(instruction.args)
                self._note(_command_text("SHELL", instruction.args))
            case tree.Healthcheck():
                self._healthcheck(instruction)
            case tree.Maintainer():
                self.config = self.config.with_author(instruction.name)
                self._note(f"MAINTAINER {instruction.name}")
            case tree.Onbuild():
                self.config = self.config.with_onbuild(instruction.trigger)
                self._note(f"ONBUILD {instruction.trigger}")
            case _:
                raise AssertionError(type(instruction))

    def _healthcheck(self, instruction: tree.Healthcheck) -> None:
        command = instruction.command
        if command is None:
            test: tuple[str, ...] = ("NONE",)
        elif isinstance(command, tree.ExecForm):
            test = ("CMD", *command.args)
        else:
            test = ("CMD-SHELL", command.text)
        self.config = self.config.with_healthcheck(
            HealthcheckConfig(
                test,
                instruction.interval,
                instruction.timeout,
                instruction.start_period,
                instruction.start_interval,
                instruction.retries,
            )
        )
        self._note(f"HEALTHCHECK {' '.join(test)}")

    # the instructions that become steps

    def _shell(self) -> tuple[str, ...]:
        return self.config.shell or DEFAULT_SHELL

    def _command(self, command: tree.CommandForm) -> tuple[str, ...]:
        if isinstance(command, tree.ExecForm):
            return command.args
        return (*self._shell(), command.text)

    def run(self, instruction: tree.Run, mounts: Sequence[MountUse]) -> None:
        """RUN."""
        command = instruction.command
        files: tuple[InlineFile, ...] = ()
        if instruction.heredocs and isinstance(command, tree.ShellForm):
            args, files = self._script(command, instruction.heredocs)
        else:
            args = self._command(command)
        steps, inputs = self._mounts(mounts)
        step = self._run_step(args, instruction.network, instruction.security, steps, files)
        env = self.stage.env
        seen = {name: env[name] for name in self.arguments if name in env}
        self._step(step, instruction, _run_text(step.args, seen), inputs)

    def _run_step(
        self,
        args: tuple[str, ...],
        network: str | None = None,
        security: str | None = None,
        mounts: tuple[MountStep, ...] = (),
        files: tuple[InlineFile, ...] = (),
    ) -> RunStep:
        env = self.stage.env
        return RunStep(
            args=args,
            env=tuple(env.items()),
            cwd=self.stage.absolute(""),
            user=self.config.user,
            network=self._defaults.network if network in (None, "default") else str(network),
            security=security or "sandbox",
            platform=self._platform(),
            hostname=self._defaults.hostname,
            mounts=mounts,
            files=files,
            proxies=self._defaults.proxies,
            container=self._defaults.container,
            arguments=tuple(name for name, value in self.arguments.items() if env.get(name) == value),
        )

    def _platform(self) -> str:
        """Return the platform that the stage runs on, which need not be the one that the build is for."""
        own = self.config.platform.normalised()
        return str(own) if own.os and own.architecture else self.stage.walk.settings.platform

    def env_from_run(self, instruction: tree.EnvFromRun) -> str:
        """ENV --from-run."""
        step = CaptureStep(self._run_step(self._command(instruction.command)))
        node = self._graph.add(
            step,
            parent=self.node,
            stage=self.name,
            text=instruction.text,
            place=self.place(instruction.span),
            where=Where(self.stage.source, instruction.span),
            platform=self.platform,
            part=self._part,
        )
        value = self._graph.value(node)
        self._note(_pairs_text("ENV", [(instruction.name, value)]))
        return value

    def _script(
        self, command: tree.ShellForm, heredocs: tuple[tree.Heredoc, ...]
    ) -> tuple[tuple[str, ...], tuple[InlineFile, ...]]:
        """Return the command that a RUN with here-documents starts.

        That is the body itself, a script file, or line and bodies for the shell.
        """
        if not _LONE_HEREDOC.fullmatch(command.text):
            bodies = "".join(f"\n{heredoc.body}{heredoc.name}" for heredoc in heredocs)
            return (*self._shell(), command.text + bodies), ()
        (heredoc,) = heredocs
        if not heredoc.text.startswith(_SHEBANG):
            return (*self._shell(), heredoc.text), ()
        file = InlineFile(heredoc.name, heredoc.text.encode("utf-8", "surrogateescape"), 0o755)
        return (f"/dev/pipes/{heredoc.name}",), (file,)

    def _mounts(self, mounts: Sequence[MountUse]) -> tuple[tuple[MountStep, ...], tuple[Input, ...]]:
        if not mounts:
            return (), ()
        steps: list[MountStep] = []
        inputs: list[Input] = []
        for mount in mounts:
            shown = None
            if mount.origin is not None:
                shown = self._input(mount.origin, mount.spec.span)
            elif mount.spec.type == "bind":
                shown = Input()
            steps.append(_mount_step(mount, None if shown is None else len(inputs)))
            if shown is not None:
                inputs.append(shown)
        return tuple(steps), tuple(inputs)

    def copy(self, instruction: tree.Copy, transfer: Transfer) -> None:
        """COPY."""
        self._transfer(instruction, transfer)

    def add(self, instruction: tree.Add, transfer: Transfer) -> None:
        """ADD."""
        self._transfer(instruction, transfer)

    def _transfer(self, instruction: tree.Copy | tree.Add, transfer: Transfer) -> None:
        origin, parents, unpack, keep_git_dir = Input(), False, None, False
        if isinstance(instruction, tree.Add):
            unpack, keep_git_dir = instruction.unpack, bool(instruction.keep_git_dir)
        else:
            parents = instruction.parents
            if transfer.origin is not None and instruction.from_ is not None:
                origin = self._input(transfer.origin, instruction.from_.span)
        # As in BuildKit, a copy that sets modes looks at what is there: directories on the way keep theirs.
        link = instruction.link and not transfer.chmod
        step = CopyStep(
            sources=transfer.sources,
            destination=self._destination(transfer.destination, link=link),
            files=tuple(
                InlineFile(document.name, body.encode("utf-8", "surrogateescape")) for document, body in transfer.files
            ),
            chown=transfer.chown,
            chmod=transfer.chmod,
            exclude=transfer.exclude,
            parents=parents,
            link=link,
            add=isinstance(instruction, tree.Add),
            unpack=unpack,
            checksum=transfer.checksum,
            keep_git_dir=keep_git_dir,
        )
        names = [*(file.name for file in step.files), *map(redact, transfer.sources)]
        history = _copy_text(instruction.keyword.upper(), names, step, transfer.destination)
        self._step(step, instruction, history, (origin,))

    def _destination(self, path: str, *, link: bool) -> str:
        """Give the absolute destination, with a slash behind it where it can only be a directory."""
        absolute = self.stage.absolute(path)
        # Without a look at what is there, nothing else tells that the working directory is one.
        if path.endswith("/") or posixpath.basename(path) in (".", "..") or (link and not path):
            return absolute.rstrip("/") + "/"
        return absolute


def _mount_step(mount: MountUse, place: int | None) -> MountStep:
    """Plan one mount; its tree, where it shows one, is input number `place` of the node."""
    spec, target = mount.spec, mount.target
    if spec.type == "secret" and not target and not spec.env:
        target = f"{_SECRETS}/{spec.id.rpartition('/')[2]}"
    return MountStep(
        type=spec.type,
        target=target,
        source=spec.source,
        input=place,
        readonly=spec.readonly,
        id=spec.id or (target if spec.type == "cache" else ""),
        sharing=spec.sharing,
        size=spec.size or None,
        mode=_FILE_MODES.get(spec.type) if spec.mode is None else spec.mode,
        uid=spec.uid or 0,
        gid=spec.gid or 0,
        required=spec.required,
        env=spec.env or "",
    )


def fold_of(stage: StageWalk) -> StageFold:
    """Give what a walked stage came to."""
    fold = stage.observer
    assert isinstance(fold, StageFold)
    return fold


_MARK = "# pybuild"


def _pairs_text(keyword: str, values: Sequence[tuple[str, str]]) -> str:
    """Return the history's text of ENV or LABEL, as readers of `docker history` know it."""
    return " ".join([keyword, *(f"{key}={value}" for key, value in values)])


def _command_text(keyword: str, args: Sequence[str]) -> str:
    """Return that of CMD, ENTRYPOINT or SHELL, always in exec form."""
    return f"{keyword} {json.dumps(list(args), ensure_ascii=False)}"


def _run_text(args: Sequence[str], arguments: Mapping[str, str]) -> str:
    """Return that of RUN, with the number and values of the ARGs that it saw."""
    seen = [f"|{len(arguments)}", *(f"{name}={value}" for name, value in arguments.items())] if arguments else []
    return " ".join(["RUN", *seen, *args, _MARK])


def _copy_text(keyword: str, names: Sequence[str], step: CopyStep, destination: str) -> str:
    """Return that of COPY or ADD, with the flags that change the result."""
    flags = [f"--chown={step.chown}"] * bool(step.chown) + [f"--chmod={step.chmod}"] * bool(step.chmod)
    return " ".join([keyword, *flags, *names, destination, _MARK])
