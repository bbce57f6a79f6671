"""RUN, HEALTHCHECK, and the commands of CMD and ENTRYPOINT."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.statement import Flags
from buildah_py.errors import BuildFileError

if TYPE_CHECKING:
    from buildah_py.buildfile.statement import Common, Statement
    from buildah_py.buildfile.tree import CommandForm, Instruction

_MIN_DURATION = 1_000_000


def command_of(statement: Statement) -> CommandForm:
    """Return the arguments as a command: exec form where they are a JSON array of strings."""
    args = statement.json()
    span = statement.whole().span
    return tree.ShellForm(statement.args, span) if args is None else tree.ExecForm(tuple(args), span)


def run(statement: Statement, common: Common) -> Instruction:
    """Return the node for RUN."""
    flags = Flags(statement, ("mount*", "network", "security", "device*"))
    if not statement.flags:
        mounts: tuple[tree.Mount, ...] = ()
        devices: tuple[str, ...] = ()
    else:
        from buildah_py.buildfile.mount_flags import check_device, parse_mount

        mounts = tuple(
            parse_mount(word.text, word.span, statement.source, variables_in_from=statement.extensions)
            for word in flags.words("mount")
        )
        for word in flags.words("device"):
            check_device(word.text, word.span, statement.source)
        devices = tuple(word.text for word in flags.words("device"))
    return tree.Run(
        **common,
        command=command_of(statement),
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
        from buildah_py.suggest import did_you_mean

        raise BuildFileError(
            f'invalid value "{value}" for --{name}',
            statement.source,
            flags.span(name),
            hint=did_you_mean(value, allowed) or f"use one of {', '.join(allowed)}",
        )
    return value


def healthcheck(statement: Statement, common: Common) -> Instruction:
    """Return the node for HEALTHCHECK."""
    tokens = statement.fits("arguments", "healthcheck") if statement.args else None
    if tokens is None:
        raise statement.error("HEALTHCHECK requires at least one argument", hint="write HEALTHCHECK CMD COMMAND")
    _, start, end = tokens[0]
    kind = statement.args[start:end]
    rest_start = tokens[1][1] if len(tokens) > 1 else len(statement.args)
    rest = statement.rest(rest_start)
    strings = rest.json()
    span = rest.whole().span
    durations = {"interval": 0, "timeout": 0, "start_period": 0, "start_interval": 0}
    retries = 0
    command: CommandForm | None = None
    if kind.upper() == "NONE":
        if rest.args and strings != []:
            raise statement.error("HEALTHCHECK NONE takes no arguments", rest.offset, rest.offset + len(rest.args))
    else:
        flags = Flags(statement, ("interval", "timeout", "start-period", "start-interval", "retries"))
        if kind.upper() != "CMD":
            from buildah_py.suggest import did_you_mean

            raise statement.error(
                f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)',
                statement.offset + start,
                statement.offset + end,
                hint=did_you_mean(kind.upper(), ("CMD", "NONE")),
            )
        if not rest.args or strings == []:
            raise statement.error("Missing command after HEALTHCHECK CMD")
        command = tree.ShellForm(rest.args, span) if strings is None else tree.ExecForm(tuple(strings), span)
        for name in durations:
            durations[name] = _duration(statement, flags, name.replace("_", "-"))
        retries = _retries(statement, flags)
    return tree.Healthcheck(
        **common,
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
    if not re.fullmatch(r"[+-]?0*[0-9]{1,10}", value) or not -(1 << 31) <= int(value) < 1 << 31:
        raise BuildFileError(f'--retries needs a number, not "{value}"', statement.source, flags.span("retries"))
    if int(value) < 0:
        raise BuildFileError(f"--retries cannot be negative ({int(value)})", statement.source, flags.span("retries"))
    return int(value)
