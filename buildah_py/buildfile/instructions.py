"""From a statement to a node of the syntax tree: one function for each instruction."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from buildah_py.buildfile import tree
from buildah_py.buildfile.copying import add, copy
from buildah_py.buildfile.running import command_of, healthcheck, run
from buildah_py.buildfile.spaces import BLANKS, SPACES
from buildah_py.buildfile.statement import Flags, NotStringsError, Statement
from buildah_py.errors import BuildFileError
from buildah_py.source_text import Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildah_py.buildfile.statement import Common
    from buildah_py.buildfile.tree import Instruction, Word


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

_STAGE_NAME = r"[a-z][a-z0-9\-_.]*"
_MIN_DURATION = 1_000_000


def build(statement: Statement, common: Common) -> Instruction:
    """Return the node for `statement`.

    Raises:
        BuildFileError: the instruction is unknown or its arguments are wrong.

    """
    builder = _BUILDERS.get(statement.name)
    try:
        if builder is not None:
            return builder(statement, common)
        if statement.extensions and statement.name in EXTENSION_KEYWORDS:
            from buildah_py.buildfile.extensions import extension

            return extension(statement, common)
    except NotStringsError:
        raise _not_strings(statement) from None
    raise _unknown(statement)


_COMMANDS: Final = (
    " apk apt apt-get awk bash bundle cargo cat cd chgrp chmod chown cmake composer cp curl dnf dpkg echo exit export "
    "find gem git go grep groupadd gunzip gzip install java ln ls make microdnf mkdir mv node npm pip pip3 pnpm printf "
    "python python3 rm rmdir sed set sh sudo tar tee test touch unzip uv wget xargs yarn yum zypper "
)
"""Commands of shells, some of which look like misspelt instructions."""
_NO_WORD: Final = r"(?:\.{0,2}/|&&|\|\||[-\[$]).*"


def _unknown(statement: Statement) -> BuildFileError:
    known = KEYWORDS + EXTENSION_KEYWORDS if statement.extensions else KEYWORDS
    from buildah_py.suggest import did_you_mean

    first = statement.line.pieces[0].line
    if f" {statement.keyword} " in _COMMANDS or re.fullmatch(_NO_WORD, statement.keyword):
        hint = "is RUN missing before it" + (f", or a `{statement.escape}` on the line above?" if first > 1 else "?")
    else:
        hint = did_you_mean(statement.name, known)
    if not hint and statement.name in EXTENSION_KEYWORDS:
        hint = f"{statement.name} is an extension: start the file with `# syntax=pybuild/1` to use it"
    elif not hint and first > 1:
        hint = f"is RUN missing before it, or a `{statement.escape}` on the line above?"
    end = statement.start + len(statement.keyword)
    return statement.error(f"unknown instruction: {statement.keyword}", statement.start, end, hint=hint)


def _not_strings(statement: Statement) -> BuildFileError:
    return statement.error(
        "when using JSON array syntax, arrays must be comprised of strings only",
        statement.offset,
        statement.offset + len(statement.args),
        hint="put each element in double quotes",
    )


def _one(statement: Statement) -> Word:
    if not statement.args:
        raise statement.error(f"{statement.name} requires exactly one argument")
    return statement.whole()


def _from(statement: Statement, common: Common) -> Instruction:
    words = statement.items()
    if len(words) != 1 and not (len(words) == 3 and words[1].text.lower() == "as"):
        raise statement.error(
            "FROM requires either one or three arguments", hint="write FROM IMAGE, or FROM IMAGE AS NAME"
        )
    name = None
    as_ = None
    if len(words) == 3:
        as_ = (words[1], words[2])
        name = words[2].text.lower()
        if not re.fullmatch(_STAGE_NAME, name):
            raise BuildFileError(
                f'invalid name for build stage: "{words[2].text}", name can\'t start with a number or contain symbols',
                statement.source,
                words[2].span,
            )
    flags = Flags(statement, ("platform",))
    return tree.From(**common, image=words[0], platform=flags.word("platform"), name=name, as_=as_)


def _pairs(statement: Statement) -> tuple[tuple[tuple[Word, Word], ...], bool]:
    words = statement.words()
    if not words:
        Flags(statement, ())
        raise statement.error(f"{statement.name} requires at least one argument")
    if "=" not in words[0].text:
        blank = BLANKS.search(statement.args)
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


def _env(statement: Statement, common: Common) -> Instruction:
    if statement.extensions and any(flag.name == "from-run" for flag in statement.flags):
        from buildah_py.buildfile.extensions import env_from_run

        return env_from_run(statement, common)
    pairs, legacy = _pairs(statement)
    return tree.Env(**common, pairs=pairs, legacy=legacy)


def _label(statement: Statement, common: Common) -> Instruction:
    pairs, legacy = _pairs(statement)
    return tree.Label(**common, pairs=pairs, legacy=legacy)


def _arg(statement: Statement, common: Common) -> Instruction:
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
    return tree.Arg(**common, arguments=tuple(arguments))


def _workdir(statement: Statement, common: Common) -> Instruction:
    path = _one(statement)
    Flags(statement, ())
    return tree.Workdir(**common, path=path)


def _user(statement: Statement, common: Common) -> Instruction:
    user = _one(statement)
    Flags(statement, ())
    return tree.User(**common, user=user)


def _stopsignal(statement: Statement, common: Common) -> Instruction:
    return tree.StopSignal(**common, signal=_one(statement))


def _maintainer(statement: Statement, common: Common) -> Instruction:
    name = _one(statement).text
    Flags(statement, ())
    return tree.Maintainer(**common, name=name)


def _cmd(statement: Statement, common: Common) -> Instruction:
    Flags(statement, ())
    return tree.Cmd(**common, command=command_of(statement))


def _entrypoint(statement: Statement, common: Common) -> Instruction:
    Flags(statement, ())
    return tree.Entrypoint(**common, command=command_of(statement))


def _shell(statement: Statement, common: Common) -> Instruction:
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
    return tree.Shell(**common, args=tuple(args))


def _expose(statement: Statement, common: Common) -> Instruction:
    ports = statement.items()
    if not ports:
        raise statement.error("EXPOSE requires at least one argument")
    Flags(statement, ())
    return tree.Expose(**common, ports=tuple(ports))


def _volume(statement: Statement, common: Common) -> Instruction:
    strings = statement.json()
    span = statement.whole().span
    words = statement.items() if strings is None else [tree.Word(text, span) for text in strings]
    paths = [tree.Word(word.text.strip(SPACES), word.span) for word in words]
    if not paths:
        raise statement.error("VOLUME requires at least one argument")
    Flags(statement, ())
    if any(not path.text for path in paths):
        raise statement.error("VOLUME specified can not be an empty string")
    return tree.Volume(**common, paths=tuple(paths), json=strings is not None)


def _onbuild(statement: Statement, common: Common) -> Instruction:
    if not statement.args:
        raise statement.error("ONBUILD requires at least one argument", hint="write ONBUILD INSTRUCTION")
    Flags(statement, ())
    inner = Statement(statement.source, statement.line, statement.escape, statement.offset)
    inner.heredocs, inner.extensions = statement.heredocs, statement.extensions
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
    inner_common = inner.common(common["span"])
    inner_common["doc"] = ()
    try:
        instruction = build(inner, inner_common)
    except BuildFileError as error:
        instruction = tree.Unreadable(
            span=common["span"],
            keyword=inner.keyword,
            text=common["text"],
            heredocs=common["heredocs"],
            error=error,
        )
    return tree.Onbuild(**common, trigger=trigger, instruction=instruction)


def _check_words(inner: Statement) -> None:
    """Refuse faults of a trigger before anyone uses it: arrays of other things than strings, ENV without `=`."""
    if inner.name in ("ENV", "LABEL") and inner.args:
        words = inner.words()
        if words and ("=" in words[0].text or BLANKS.search(inner.args) is None):
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


_BUILDERS: dict[str, Callable[[Statement, Common], Instruction]] = {
    "ADD": add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
