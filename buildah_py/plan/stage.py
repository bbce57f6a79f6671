"""One stage: a fold of its instructions over an image config, which leaves steps behind.

Each method `_fold_…` treats one instruction as the Dockerfile reference describes it. All words of an
instruction see the variables from before it.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import expand as expansion
from buildah_py.buildfile import tree
from buildah_py.buildfile.conditions import holds
from buildah_py.buildfile.ports import parse_ports
from buildah_py.buildfile.signals import check_signal
from buildah_py.errors import BuildFileError
from buildah_py.image.config import Healthcheck
from buildah_py.plan import created_by
from buildah_py.plan.graph import HistoryItem, Input
from buildah_py.plan.steps import CaptureStep, CopyStep, InlineFile, MountStep, RunStep, WorkdirStep
from buildah_py.plan.variables import NEVER_IN_ENVIRONMENT, split_environment
from buildah_py.sources.urls import kind_of, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from buildah_py.buildfile.source import Source, Span
    from buildah_py.image.config import ImageConfig
    from buildah_py.plan.planner import Planner
    from buildah_py.plan.steps import Step

DEFAULT_SHELL = ("/bin/sh", "-c")
_SHEBANG = "#!"
_LONE_HEREDOC = re.compile(r"\s*\d*<<-?\s*(\"[^\"]*\"|'[^']*'|[^\s<>&|;()\"'$`\\]+)\s*")


class StageFold:
    """The state of a stage while its instructions are read."""

    def __init__(self, planner: Planner, label: str, source: Source, escape: str) -> None:
        self.planner = planner
        self.label = label
        self.source = source
        self.escape = escape
        self.config: ImageConfig
        self.node: int
        self.history: list[HistoryItem] = []
        self.environment: dict[str, str] = {}
        self.arguments: dict[str, str] = {}
        self._cmd_set = False

    # what instructions see

    def begin(self, base: StageFold | None) -> None:
        """Take over what the base stage's instructions saw. What its config sets counts again, as behind any FROM."""
        if base is not None:
            self.environment, self.arguments = dict(base.environment), dict(base.arguments)
        self.environment |= split_environment(self.config.env)

    def _set(self, name: str, value: str) -> None:
        """Set a variable of the image."""
        self.config = self.config.with_env(name, value)
        self.environment[name] = value

    def expand(self, word: tree.Word, variables: Mapping[str, str] | None = None) -> str:
        """Expand a word where it stands; BuildFileError at its span where that fails."""
        return self.expand_text(word.text, word.span, self.environment if variables is None else variables)

    def expand_text(self, text: str, span: Span, variables: Mapping[str, str]) -> str:
        """Expand `text`, which stands at `span`."""
        try:
            return expansion.expand(text, variables, self.escape)
        except expansion.ExpansionError as error:
            raise self.error(str(error), span) from error

    def error(self, message: str, span: Span, hint: str = "") -> BuildFileError:
        """An error of the build file at a place of it."""
        return BuildFileError(message, self.source, span, hint=hint)

    def place(self, span: Span) -> str:
        """Name the file and line of a place of it."""
        return f"{self.source.name}:{span.start.line}"

    # the fold

    def apply(self, instruction: tree.Instruction) -> None:
        """Fold one instruction."""
        getattr(self, f"_fold_{type(instruction).__name__.lower()}")(instruction)

    def _note(self, text: str, node: int | None = None) -> None:
        self.history.append(HistoryItem(text, node))

    def _step(self, step: Step, instruction: tree.Instruction, history: str, inputs: tuple[Input, ...] = ()) -> None:
        self.node = self.planner.add(
            step,
            parent=self.node,
            inputs=inputs,
            stage=self.label,
            text=redact(instruction.text),
            place=self.place(instruction.span),
        )
        self._note(history, self.node)

    def _shell(self) -> tuple[str, ...]:
        return self.config.shell or DEFAULT_SHELL

    def _command(self, command: tree.Command) -> tuple[str, ...]:
        if isinstance(command, tree.ExecForm):
            return command.args
        return (*self._shell(), command.text)

    def _fold_env(self, instruction: tree.Env) -> None:
        said = [(self.expand(key), self.expand(value)) for key, value in instruction.pairs]
        pairs = [(key, self.planner.env.get(key, value)) for key, value in said]
        for (key, value), (word, _) in zip(pairs, instruction.pairs, strict=True):
            if not key:
                raise self.error("ENV: a variable needs a name", word.span)
            self._set(key, value)
        self._note(created_by.pairs("ENV", pairs))

    def _fold_label(self, instruction: tree.Label) -> None:
        pairs = [(self.expand(key), self.expand(value)) for key, value in instruction.pairs]
        for (key, _), (word, _) in zip(pairs, instruction.pairs, strict=True):
            if not key:
                raise self.error("LABEL: a label needs a name", word.span)
        self.config = self.config.with_labels(dict(pairs))
        self._note(created_by.pairs("LABEL", pairs))

    def _fold_arg(self, instruction: tree.Arg) -> None:
        shown = []
        for argument in instruction.arguments:
            value = self.planner.arguments.get(argument.name)
            if value is None and argument.default is not None:
                value = self.expand(argument.default)
            if value is None:
                value = self.planner.global_arguments.get(argument.name)
            if value is not None and argument.name not in NEVER_IN_ENVIRONMENT:
                value = self.planner.env.get(argument.name, value)
                self.environment[argument.name] = self.arguments[argument.name] = value
            shown.append(argument.name if value is None else f"{argument.name}={value}")
        self._note(f"ARG {' '.join(shown)}")

    def _fold_maintainer(self, instruction: tree.Maintainer) -> None:
        self.config = self.config.with_author(instruction.name)
        self._note(f"MAINTAINER {instruction.name}")

    def _fold_user(self, instruction: tree.User) -> None:
        user = self.expand(instruction.user)
        self.config = self.config.with_user(user)
        self._note(f"USER {user}")

    def _fold_workdir(self, instruction: tree.Workdir) -> None:
        given = self.expand(instruction.path)
        path = self._absolute(given)
        self.config = self.config.with_working_dir(given if given.startswith("/") else path)
        if path == "/":
            self._note("WORKDIR /")
        else:
            self._step(WorkdirStep(path, self.config.user), instruction, f"WORKDIR {path}")

    def _absolute(self, path: str) -> str:
        joined = posixpath.normpath(posixpath.join("/", self.config.working_dir or "/", path))
        return "/" + joined.lstrip("/")

    def _fold_cmd(self, instruction: tree.Cmd) -> None:
        args = self._command(instruction.command)
        self.config = self.config.with_cmd(args).with_args_escaped(True)  # as docker has it, in either form
        self._cmd_set = True
        self._note(created_by.command("CMD", args))

    def _fold_entrypoint(self, instruction: tree.Entrypoint) -> None:
        args = self._command(instruction.command)
        self.config = self.config.with_entrypoint(args)
        if not self._cmd_set:
            self.config = self.config.with_cmd(())
        self._note(created_by.command("ENTRYPOINT", args))

    def _fold_shell(self, instruction: tree.Shell) -> None:
        self.config = self.config.with_shell(instruction.args)
        self._note(created_by.command("SHELL", instruction.args))

    def _fold_expose(self, instruction: tree.Expose) -> None:
        found: list[str] = []
        for word in instruction.ports:
            try:
                words = expansion.expand_words(word.text, self.environment, self.escape)
                found += [port for text in words for port in parse_ports(text).names()]
            except ValueError as error:
                raise self.error(f"EXPOSE: {error}", word.span) from error
        self.config = self.config.with_exposed_ports(found)
        self._note(f"EXPOSE {' '.join(sorted(found))}")

    def _fold_volume(self, instruction: tree.Volume) -> None:
        paths = []
        for word in instruction.paths:
            path = self.expand(word)
            if not path:
                raise self.error("VOLUME: a path is empty after expansion", word.span)
            paths.append(path)
        self.config = self.config.with_volumes(paths)
        self._note(f"VOLUME {' '.join(paths)}")

    def _fold_stopsignal(self, instruction: tree.StopSignal) -> None:
        signal = self.expand(instruction.signal)
        try:
            check_signal(signal)
        except ValueError as error:
            raise self.error(f"STOPSIGNAL: {error}", instruction.signal.span, "for example SIGTERM or 15") from error
        self.config = self.config.with_stop_signal(signal)
        self._note(f"STOPSIGNAL {signal}")

    def _fold_healthcheck(self, instruction: tree.Healthcheck) -> None:
        command = instruction.command
        if command is None:
            test: tuple[str, ...] = ("NONE",)
        elif isinstance(command, tree.ExecForm):
            test = ("CMD", *command.args)
        else:
            test = ("CMD-SHELL", command.text)
        self.config = self.config.with_healthcheck(
            Healthcheck(
                test,
                instruction.interval,
                instruction.timeout,
                instruction.start_period,
                instruction.start_interval,
                instruction.retries,
            )
        )
        self._note(f"HEALTHCHECK {' '.join(test)}")

    def _fold_onbuild(self, instruction: tree.Onbuild) -> None:
        self.config = self.config.with_onbuild(instruction.trigger)
        self._note(f"ONBUILD {instruction.trigger}")

    # extensions of the language

    def _fold_if(self, instruction: tree.If) -> None:
        true = holds(instruction.condition, self.environment, self.source, self.escape)
        for inner in instruction.then if true else instruction.otherwise:
            self.apply(inner)

    def _fold_unset(self, instruction: tree.Unset) -> None:
        names = [self.expand(word) for word in instruction.names]
        for name in names:
            if instruction.kind == "ENV":
                self.config = self.config.without_env(name)
                self.environment.pop(name, None)
            elif instruction.kind == "LABEL":
                self.config = self.config.without_label(name)
            elif instruction.kind == "EXPOSE":
                self.config = self.config.without_exposed_port(name if "/" in name else f"{name}/tcp")
            else:
                self.config = self.config.without_volume(name)
        self._note(f"UNSET {instruction.kind} {' '.join(names)}")

    def _fold_include(self, instruction: tree.Include) -> None:
        raise self.error("there is no file to include from here", instruction.span)

    # the instructions that become steps

    def _fold_run(self, instruction: tree.Run) -> None:
        command = instruction.command
        files: tuple[InlineFile, ...] = ()
        if instruction.heredocs and isinstance(command, tree.ShellForm):
            args, files = self._script(command, instruction.heredocs)
        else:
            args = self._command(command)
        mounts, inputs = self._mounts(instruction)
        step = self._run_step(args, instruction.network, instruction.security, mounts, files)
        seen = {name: self.environment[name] for name in self.arguments if name in self.environment}
        self._step(step, instruction, created_by.run(step.args, seen), inputs)

    def _run_step(
        self,
        args: tuple[str, ...],
        network: str | None = None,
        security: str | None = None,
        mounts: tuple[MountStep, ...] = (),
        files: tuple[InlineFile, ...] = (),
    ) -> RunStep:
        return RunStep(
            args=args,
            env=tuple(self.environment.items()),
            cwd=self._absolute(""),
            user=self.config.user,
            network=self.planner.network if network in (None, "default") else str(network),
            security=security or "sandbox",
            platform=self._platform(),
            hostname=self.planner.hostname,
            mounts=mounts,
            files=files,
            proxies=self.planner.arguments.proxies(),
            container=self.planner.container,
            arguments=tuple(name for name, value in self.arguments.items() if self.environment.get(name) == value),
        )

    def _platform(self) -> str:
        """What the stage runs on, which need not be what the build is for."""
        own = self.config.platform.normalised()
        return str(own) if own.os and own.architecture else self.planner.platform

    def _fold_envfromrun(self, instruction: tree.EnvFromRun) -> None:
        step = CaptureStep(self._run_step(self._command(instruction.command)))
        self.planner.add(
            step,
            parent=self.node,
            stage=self.label,
            text=instruction.text,
            place=self.place(instruction.span),
        )
        value = self.planner.evaluate()
        self._set(instruction.name, value)
        self._note(created_by.pairs("ENV", [(instruction.name, value)]))

    def _script(
        self, command: tree.ShellForm, heredocs: tuple[tree.Heredoc, ...]
    ) -> tuple[tuple[str, ...], tuple[InlineFile, ...]]:
        """What a RUN with here-documents starts: the body itself, a script file, or line and bodies for the shell."""
        if not _LONE_HEREDOC.fullmatch(command.text):
            bodies = "".join(f"\n{heredoc.body}{heredoc.name}" for heredoc in heredocs)
            return (*self._shell(), command.text + bodies), ()
        (heredoc,) = heredocs
        body = re.sub(r"(?m)^\t+", "", heredoc.body) if heredoc.strip_tabs else heredoc.body
        if not body.startswith(_SHEBANG):
            return (*self._shell(), body), ()
        file = InlineFile(heredoc.name, body.encode("utf-8", "surrogateescape"), 0o755)
        return (f"/dev/pipes/{heredoc.name}",), (file,)

    def _mounts(self, instruction: tree.Run) -> tuple[tuple[MountStep, ...], tuple[Input, ...]]:
        if not instruction.mounts:
            return (), ()
        from buildah_py.plan.mounts import plan_mount

        steps: list[MountStep] = []
        inputs: list[Input] = []
        for mount in instruction.mounts:
            step, tree_input = plan_mount(self, mount, len(inputs))
            steps.append(step)
            if tree_input is not None:
                inputs.append(tree_input)
        return tuple(steps), tuple(inputs)

    def _fold_copy(self, instruction: tree.Copy) -> None:
        origin = Input()
        if instruction.from_ is not None:
            origin = self.planner.origin(self, instruction.from_)
        self._transfer(instruction, origin, parents=instruction.parents, link=instruction.link)

    def _fold_add(self, instruction: tree.Add) -> None:
        self._transfer(
            instruction,
            Input(),
            link=instruction.link,
            add=True,
            unpack=instruction.unpack,
            checksum=self.expand(instruction.checksum) if instruction.checksum else "",
            keep_git_dir=bool(instruction.keep_git_dir),
        )

    def _transfer(
        self,
        instruction: tree.Copy | tree.Add,
        origin: Input,
        *,
        parents: bool = False,
        link: bool = False,
        add: bool = False,
        unpack: bool | None = None,
        checksum: str = "",
        keep_git_dir: bool = False,
    ) -> None:
        sources = tuple(self.expand(word) for word in instruction.sources)
        destination = self.expand(instruction.destination)
        absolute = self._absolute(destination)
        if destination.endswith("/") or posixpath.basename(destination) in (".", ".."):
            absolute = absolute.rstrip("/") + "/"
        if checksum and (len(sources) != 1 or kind_of(sources[0]) == "path"):
            raise self.error(
                "--checksum is for one file or repository from elsewhere",
                instruction.destination.span,
                "leave it out, or give an http(s) or git URL as the only source",
            )
        chmod = self.expand(instruction.chmod) if instruction.chmod else ""
        step = CopyStep(
            sources=sources,
            destination=absolute,
            files=tuple(self._inline(heredoc) for heredoc in instruction.heredocs),
            chown=self.expand(instruction.chown) if instruction.chown else "",
            chmod=chmod,
            exclude=tuple(self.expand(word) if self.planner.extensions else word.text for word in instruction.exclude),
            parents=parents,
            # As in BuildKit, a copy that sets modes looks at what is there: directories on the way keep theirs.
            link=link and not chmod,
            add=add,
            unpack=unpack,
            checksum=checksum,
            keep_git_dir=keep_git_dir,
        )
        names = [*(file.name for file in step.files), *map(redact, sources)]
        self._step(step, instruction, created_by.copy(instruction.keyword.upper(), names, step, destination), (origin,))

    def _inline(self, heredoc: tree.Heredoc) -> InlineFile:
        body = re.sub(r"(?m)^\t+", "", heredoc.body) if heredoc.strip_tabs else heredoc.body
        if heredoc.expand:
            try:
                body = expansion.expand_body(body, self.environment)
            except expansion.ExpansionError as error:
                raise self.error(str(error), heredoc.span) from error
        return InlineFile(heredoc.name, body.encode("utf-8", "surrogateescape"))
