"""From a statement to a node of the syntax tree: one function for each instruction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.expand import SPACES, ExpansionError
from buildah_py.buildfile.flags import Flags
from buildah_py.buildfile.lines import read_delimiter
from buildah_py.buildfile.source import Span
from buildah_py.buildfile.statement import NotStringsError, Statement
from buildah_py.buildfile.suggest import closest
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.buildfile.tree import Command, Heredoc, Instruction, Word

KEYWORDS = (
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
)
EXTENSION_KEYWORDS = ("INCLUDE", "UNSET", "IF", "ELSE", "END")

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*$").match
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_MIN_DURATION = 1_000_000


class Common:
    """What every node takes over from its statement."""

    __slots__ = ("blank_line", "doc", "heredocs", "keyword", "span", "text")

    def __init__(self, statement: Statement, span: Span) -> None:
        self.span = span
        self.keyword = statement.keyword
        self.text = statement.line.text
        self.doc = statement.line.doc
        self.heredocs = statement.heredocs
        self.blank_line = statement.line.last_line if statement.line.has_blank else 0


def build(statement: Statement, common: Common, *, extensions: bool) -> Instruction:
    """The node for `statement`.

    Raises:
        BuildFileError: the instruction is unknown or its arguments are wrong.

    """
    builder = _BUILDERS.get(statement.name)
    if builder is None and extensions:
        builder = _EXTENSIONS.get(statement.name)
    if builder is None:
        raise _unknown(statement, extensions=extensions)
    try:
        return builder(statement, common, extensions)
    except NotStringsError:
        raise _not_strings(statement) from None


def has_json(statement: Statement) -> bool:
    """Whether the arguments are an exec form, in which nothing is a here-document."""
    try:
        return statement.json() is not None
    except NotStringsError:
        return False


def _unknown(statement: Statement, *, extensions: bool) -> BuildFileError:
    known = KEYWORDS + EXTENSION_KEYWORDS if extensions else KEYWORDS
    match = closest(statement.name, known)
    hint = f"did you mean {match}?" if match else ""
    if not match and statement.name in EXTENSION_KEYWORDS:
        hint = f"{statement.name} is an extension: start the file with `# syntax=pybuild/1` to use it"
    elif not match and statement.line.pieces[0].line > 1:
        hint = "if this line belongs to the instruction above, that one has to end in the escape character"
    end = statement.start + len(statement.keyword)
    return statement.error(f"unknown instruction: {statement.keyword}", statement.start, end, hint=hint)


def _not_strings(statement: Statement) -> BuildFileError:
    return statement.error(
        "when using JSON array syntax, arrays must be comprised of strings only",
        statement.offset,
        statement.offset + len(statement.args),
        hint="put each element in double quotes",
    )


def _command(statement: Statement) -> Command:
    args = statement.json()
    span = statement.whole().span
    return tree.ShellForm(statement.args, span) if args is None else tree.ExecForm(tuple(args), span)


def _one(statement: Statement) -> Word:
    if not statement.args:
        raise statement.error(f"{statement.name} requires exactly one argument")
    return statement.whole()


def _from(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    tokens = statement.fits("arguments", "from")
    if tokens is None:
        raise statement.error(
            "FROM requires either one or three arguments", hint="write FROM IMAGE, or FROM IMAGE AS NAME"
        )
    words = [statement.word(start, end) for _, start, end in tokens]
    name = None
    as_ = None
    if len(words) == 3:
        as_ = (words[1], words[2])
        name = words[2].text.lower()
        if not _STAGE_NAME(name):
            raise BuildFileError(
                f'invalid name for build stage: "{words[2].text}", name can\'t start with a number or contain symbols',
                statement.source,
                words[2].span,
            )
    flags = Flags(statement, ("platform",))
    return tree.From(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        image=words[0],
        platform=flags.word("platform"),
        name=name,
        as_=as_,
    )


def _run(statement: Statement, common: Common, extensions: bool) -> Instruction:
    from buildah_py.buildfile.mounts import check_device, parse_mount

    flags = Flags(statement, ("mount*", "network", "security", "device*"))
    if not statement.flags:
        mounts: tuple[tree.Mount, ...] = ()
        devices: tuple[str, ...] = ()
    else:
        mounts = tuple(
            parse_mount(word.text, word.span, statement.source, variables_in_from=extensions)
            for word in flags.words("mount")
        )
        for word in flags.words("device"):
            check_device(word.text, word.span, statement.source)
        devices = tuple(word.text for word in flags.words("device"))
    return tree.Run(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        heredocs=common.heredocs,
        blank_line=common.blank_line,
        command=_command(statement),
        mounts=mounts,
        network=_choice(statement, flags, "network", ("default", "none", "host")),
        security=_choice(statement, flags, "security", ("sandbox", "insecure")),
        devices=devices,
    )


def _choice(statement: Statement, flags: Flags, name: str, allowed: tuple[str, ...]) -> str | None:
    value = flags.text(name)
    if value is None:
        return None
    if value not in allowed:
        match = closest(value, allowed)
        raise BuildFileError(
            f'invalid value "{value}" for --{name}',
            statement.source,
            flags.span(name),
            hint=f"did you mean {match}?" if match else f"use one of {', '.join(allowed)}",
        )
    return value


def _copied(statement: Statement) -> tuple[tuple[Word, ...], Word, tuple[Heredoc, ...], bool]:
    """Sources, destination, here-documents among the sources, and whether it was written in JSON."""
    strings = statement.json()
    span = statement.whole().span
    words = statement.items() if strings is None else [tree.Word(text, span) for text in strings]
    if len(words) < 2:
        raise statement.error(
            f"{statement.name} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            hint=f"write {statement.name} SOURCE DESTINATION",
        )
    if _heredoc(words[-1].text) is not None:
        raise BuildFileError(
            f"{statement.name} cannot accept a heredoc as a destination", statement.source, words[-1].span
        )
    sources = []
    documents = []
    bodies = {document.name: document for document in statement.heredocs}
    for word in words[:-1]:
        document = _heredoc(word.text)
        if document is None:
            sources.append(word)
        else:
            body = bodies[document.name].body if document.name in bodies else ""
            documents.append(
                tree.Heredoc(document.name, document.fd, document.expand, document.strip_tabs, body, word.span)
            )
    return tuple(sources), words[-1], tuple(documents), strings is not None


def _heredoc(text: str) -> Heredoc | None:
    if "<<" not in text:
        return None
    try:
        return read_delimiter(text)
    except ExpansionError:
        return None


def _copy(statement: Statement, common: Common, extensions: bool) -> Instruction:
    sources, destination, documents, json = _copied(statement)
    flags = Flags(statement, ("chown", "from", "chmod", "exclude*"), ("link", "parents"))
    from_ = flags.word("from")
    if from_ is not None and not extensions:
        _check_from(statement, from_)
    return tree.Copy(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        heredocs=documents,
        blank_line=common.blank_line,
        sources=sources,
        destination=destination,
        from_=from_,
        chown=flags.word("chown"),
        chmod=flags.word("chmod"),
        link=flags.boolean("link") or False,
        parents=flags.boolean("parents") or False,
        exclude=flags.words("exclude"),
        json=json,
    )


def _check_from(statement: Statement, from_: Word) -> None:
    from buildah_py.buildfile.expand import expand

    try:
        if expand(from_.text, {}, statement.escape) == from_.text:
            return
    except ExpansionError as error:
        raise BuildFileError(error.message, statement.source, from_.span) from None
    raise BuildFileError(
        "variable expansion is not supported for --from, "
        "define a new stage with FROM using ARG from global scope as a workaround",
        statement.source,
        from_.span,
        hint="a file that starts with `# syntax=pybuild/1` may have variables here",
    )


def _add(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    sources, destination, documents, json = _copied(statement)
    flags = Flags(statement, ("chown", "chmod", "checksum", "exclude*"), ("link", "keep-git-dir", "unpack"))
    return tree.Add(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        heredocs=documents,
        blank_line=common.blank_line,
        sources=sources,
        destination=destination,
        chown=flags.word("chown"),
        chmod=flags.word("chmod"),
        checksum=flags.word("checksum"),
        link=flags.boolean("link") or False,
        keep_git_dir=flags.boolean("keep-git-dir"),
        unpack=flags.boolean("unpack"),
        exclude=flags.words("exclude"),
        json=json,
    )


def _pairs(statement: Statement) -> tuple[tuple[tuple[Word, Word], ...], bool]:
    words = statement.words()
    if not words:
        Flags(statement, ())
        raise statement.error(f"{statement.name} requires at least one argument")
    if "=" not in words[0].text:
        blank = _BLANKS.search(statement.args)
        if blank is None:
            raise BuildFileError(
                f"{statement.name} must have two arguments",
                statement.source,
                words[0].span,
                hint=f"write {statement.name} {words[0].text}=VALUE",
            )
        Flags(statement, ())
        end = len(statement.args)
        return ((statement.word(0, blank.start()), statement.word(blank.end(), end)),), True
    pairs = []
    for word in words:
        key, equals, value = word.text.partition("=")
        if not equals:
            raise BuildFileError(
                f'Syntax error - can\'t find = in "{word.text}". Must be of the form: name=value',
                statement.source,
                word.span,
                hint="put a value that has spaces in it in double quotes",
            )
        pairs.append(_split_pair(word, key, value))
    Flags(statement, ())
    for key_word, _ in pairs:
        if not key_word.text:
            raise BuildFileError(f"{statement.name} names can not be blank", statement.source, key_word.span)
    return tuple(pairs), False


def _split_pair(word: Word, key: str, value: str) -> tuple[Word, Word]:
    start, end = word.span
    if start.line != end.line:
        return tree.Word(key, word.span), tree.Word(value, word.span)
    middle = start._replace(column=start.column + len(key))
    return (
        tree.Word(key, Span(start, middle)),
        tree.Word(value, Span(middle._replace(column=middle.column + 1), end)),
    )


def _env(statement: Statement, common: Common, extensions: bool) -> Instruction:
    if extensions and any(flag.name == "from-run" for flag in statement.flags):
        return _env_from_run(statement, common)
    pairs, legacy = _pairs(statement)
    return tree.Env(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        pairs=pairs,
        legacy=legacy,
    )


def _env_from_run(statement: Statement, common: Common) -> Instruction:
    Flags(statement, (), ("from-run",))
    found = re.match(r"([A-Za-z_][A-Za-z0-9_]*)[\t\v\f\r ]+(?=\S)", statement.args)
    if found is None:
        raise statement.error(
            "ENV --from-run needs a variable's name and a command", hint="write ENV --from-run NAME COMMAND"
        )
    command = statement.word(found.end(), len(statement.args))
    return tree.EnvFromRun(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        name=found.group(1),
        command=tree.ShellForm(command.text, command.span),
    )


def _label(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    pairs, legacy = _pairs(statement)
    return tree.Label(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        pairs=pairs,
        legacy=legacy,
    )


def _arg(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    words = statement.words()
    if not words:
        raise statement.error("ARG requires at least one argument")
    arguments = []
    for word in words:
        key, equals, value = word.text.partition("=")
        if equals and not key:
            raise BuildFileError("ARG names can not be blank", statement.source, word.span)
        default = _split_pair(word, key, value)[1] if equals else None
        arguments.append(tree.Argument(key, default, word.span))
    return tree.Arg(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        arguments=tuple(arguments),
    )


def _workdir(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    path = _one(statement)
    Flags(statement, ())
    return tree.Workdir(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        path=path,
    )


def _user(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    user = _one(statement)
    Flags(statement, ())
    return tree.User(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        user=user,
    )


def _stopsignal(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    return tree.StopSignal(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        signal=_one(statement),
    )


def _maintainer(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    name = _one(statement).text
    Flags(statement, ())
    return tree.Maintainer(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        name=name,
    )


def _cmd(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    Flags(statement, ())
    return tree.Cmd(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        command=_command(statement),
    )


def _entrypoint(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    Flags(statement, ())
    return tree.Entrypoint(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        command=_command(statement),
    )


def _shell(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    Flags(statement, ())
    args = statement.json()
    if not statement.args or args == []:
        raise statement.error("SHELL requires at least one argument", hint='write SHELL ["PROGRAM", "ARGUMENT"]')
    if args is None:
        raise statement.error(
            "SHELL requires the arguments to be in JSON form",
            statement.offset,
            statement.offset + len(statement.args),
            hint='write SHELL ["/bin/bash", "-c"], with double quotes',
        )
    return tree.Shell(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        args=tuple(args),
    )


def _expose(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    ports = statement.items()
    if not ports:
        raise statement.error("EXPOSE requires at least one argument")
    Flags(statement, ())
    return tree.Expose(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        ports=tuple(ports),
    )


def _volume(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    strings = statement.json()
    span = statement.whole().span
    paths = statement.items() if strings is None else [tree.Word(text.strip(SPACES), span) for text in strings]
    if not paths:
        raise statement.error("VOLUME requires at least one argument")
    Flags(statement, ())
    if any(not path.text for path in paths):
        raise statement.error("VOLUME specified can not be an empty string")
    return tree.Volume(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        paths=tuple(paths),
        json=strings is not None,
    )


def _healthcheck(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    tokens = statement.fits("arguments", "healthcheck") if statement.args else None
    if tokens is None:
        raise statement.error("HEALTHCHECK requires at least one argument", hint="write HEALTHCHECK CMD COMMAND")
    _, start, end = tokens[0]
    kind = statement.args[start:end]
    rest_start = tokens[1][1] if len(tokens) > 1 else len(statement.args)
    rest = Statement.__new__(Statement)
    rest.args = statement.args[rest_start:]
    rest.offset = statement.offset + rest_start
    rest.line, rest.source, rest.escape = statement.line, statement.source, statement.escape
    strings = rest.json()
    span = rest.whole().span
    durations = {"interval": 0, "timeout": 0, "start_period": 0, "start_interval": 0}
    retries = 0
    command: Command | None = None
    if kind.upper() == "NONE":
        if rest.args and strings != []:
            raise statement.error("HEALTHCHECK NONE takes no arguments", rest.offset, rest.offset + len(rest.args))
    else:
        flags = Flags(statement, ("interval", "timeout", "start-period", "start-interval", "retries"))
        if kind.upper() != "CMD":
            match = closest(kind.upper(), ("CMD", "NONE"))
            raise statement.error(
                f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)',
                statement.offset + start,
                statement.offset + end,
                hint=f"did you mean {match}?" if match else "",
            )
        if not rest.args or strings == []:
            raise statement.error("Missing command after HEALTHCHECK CMD")
        command = tree.ShellForm(rest.args, span) if strings is None else tree.ExecForm(tuple(strings), span)
        for name in durations:
            durations[name] = _duration(statement, flags, name.replace("_", "-"))
        retries = _retries(statement, flags)
    return tree.Healthcheck(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        command=command,
        interval=durations["interval"],
        timeout=durations["timeout"],
        start_period=durations["start_period"],
        start_interval=durations["start_interval"],
        retries=retries,
    )


def _duration(statement: Statement, flags: Flags, name: str) -> int:
    from buildah_py.buildfile.durations import parse_duration

    value = flags.text(name)
    if not value:
        return 0
    try:
        duration = parse_duration(value)
    except ValueError as error:
        raise BuildFileError(str(error), statement.source, flags.span(name)) from None
    if duration != 0 and duration < _MIN_DURATION:
        raise BuildFileError(f'Interval "{name}" cannot be less than 1ms', statement.source, flags.span(name))
    return duration


def _retries(statement: Statement, flags: Flags) -> int:
    value = flags.text("retries")
    if not value:
        return 0
    if not re.fullmatch(r"[+-]?[0-9]+", value) or not -(1 << 31) <= int(value) < 1 << 31:
        raise BuildFileError(f'--retries needs a number, not "{value}"', statement.source, flags.span("retries"))
    if int(value) < 0:
        raise BuildFileError(f"--retries cannot be negative ({int(value)})", statement.source, flags.span("retries"))
    return int(value)


def _onbuild(statement: Statement, common: Common, extensions: bool) -> Instruction:
    if not statement.args:
        raise statement.error("ONBUILD requires at least one argument", hint="write ONBUILD INSTRUCTION")
    Flags(statement, ())
    inner = Statement(statement.source, statement.line, statement.escape, statement.offset)
    inner.heredocs = statement.heredocs
    if inner.name == "ONBUILD":
        raise statement.error(
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", inner.start, inner.start + len(inner.keyword)
        )
    if inner.name in ("MAINTAINER", "FROM"):
        raise statement.error(
            f"{inner.name} isn't allowed as an ONBUILD trigger", inner.start, inner.start + len(inner.keyword)
        )
    _check_words(inner)
    trigger = re.sub(r"(?i)^\s*ONBUILD\s*", "", statement.line.text, count=1)
    trigger += "".join(f"\n{document.body}{document.name}" for document in statement.heredocs)
    inner_common = Common(inner, common.span)
    inner_common.doc = ()
    try:
        instruction = build(inner, inner_common, extensions=extensions)
    except BuildFileError as error:
        instruction = tree.Unreadable(
            span=common.span, keyword=inner.keyword, text=common.text, heredocs=common.heredocs, error=error
        )
    return tree.Onbuild(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        heredocs=common.heredocs,
        blank_line=common.blank_line,
        trigger=trigger,
        instruction=instruction,
    )


def _check_words(inner: Statement) -> None:
    """What is refused in a trigger before anyone uses it: arrays of other things than strings, ENV without `=`."""
    if inner.name in ("ENV", "LABEL") and inner.args:
        words = inner.words()
        if words and ("=" in words[0].text or _BLANKS.search(inner.args) is None):
            flags, inner.flags = inner.flags, ()
            try:
                _pairs(inner)
            except BuildFileError as error:
                if "names can not be blank" not in error.message:
                    raise
            finally:
                inner.flags = flags
    if inner.name in ("RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD", "VOLUME"):
        try:
            inner.json()
        except NotStringsError:
            raise _not_strings(inner) from None


def _include(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    path = _one(statement)
    Flags(statement, ())
    return tree.Include(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        path=path,
    )


def _unset(statement: Statement, common: Common, extensions: bool) -> Instruction:  # noqa: ARG001
    words = statement.words()
    kinds = ("ENV", "LABEL", "EXPOSE", "VOLUME")
    if not words or words[0].text.upper() not in kinds:
        match = closest(words[0].text.upper(), kinds) if words else ""
        raise statement.error(
            "UNSET needs to know what: ENV, LABEL, EXPOSE or VOLUME",
            hint=f"did you mean UNSET {match}?" if match else "write UNSET ENV NAME",
        )
    Flags(statement, ())
    if len(words) < 2:
        raise statement.error(f"UNSET {words[0].text.upper()} needs a name")
    return tree.Unset(
        span=common.span,
        keyword=common.keyword,
        text=common.text,
        doc=common.doc,
        blank_line=common.blank_line,
        kind=words[0].text.upper(),
        names=tuple(words[1:]),
    )


_BUILDERS: dict[str, Callable[[Statement, Common, bool], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

_EXTENSIONS: dict[str, Callable[[Statement, Common, bool], Instruction]] = {"INCLUDE": _include, "UNSET": _unset}
