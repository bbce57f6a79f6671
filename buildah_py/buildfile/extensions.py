"""The instructions that only pybuild has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from buildah_py.buildfile import tree
from buildah_py.buildfile.statement import Flags
from buildah_py.suggest import did_you_mean

if TYPE_CHECKING:
    from buildah_py.buildfile.statement import Common, Statement
    from buildah_py.buildfile.tree import Instruction


def extension(statement: Statement, common: Common) -> Instruction:
    """Return the node for INCLUDE or UNSET; IF, ELSE and END are put together by the parser.

    Raises:
        BuildFileError: its arguments are wrong.

    """
    return _include(statement, common) if statement.name == "INCLUDE" else _unset(statement, common)


def env_from_run(statement: Statement, common: Common) -> Instruction:
    """Return the node for ENV --from-run."""
    Flags(statement, (), ("from-run",))
    found = re.match(r"([A-Za-z_][A-Za-z0-9_]*)[\t\v\f\r ]+(?=\S)", statement.args)
    if found is None:
        raise statement.error(
            "ENV --from-run needs a variable's name and a command", hint="write ENV --from-run NAME COMMAND"
        )
    command = statement.word(found.end(), len(statement.args))
    return tree.EnvFromRun(
        **common,
        name=found.group(1),
        command=tree.ShellForm(command.text, command.span),
    )


def _include(statement: Statement, common: Common) -> Instruction:
    if not statement.args:
        raise statement.error("INCLUDE requires exactly one argument", hint="write INCLUDE PATH")
    path = statement.whole()
    Flags(statement, ())
    return tree.Include(
        **common,
        path=path,
    )


def _unset(statement: Statement, common: Common) -> Instruction:
    words = statement.words()
    kinds = ("ENV", "LABEL", "EXPOSE", "VOLUME")
    if not words or words[0].text.upper() not in kinds:
        hint = did_you_mean(words[0].text.upper(), kinds, prefix="UNSET ") if words else ""
        raise statement.error(
            "UNSET needs to know what: ENV, LABEL, EXPOSE or VOLUME", hint=hint or "write UNSET ENV NAME"
        )
    Flags(statement, ())
    if len(words) < 2:
        raise statement.error(f"UNSET {words[0].text.upper()} needs a name")
    return tree.Unset(
        **common,
        kind=words[0].text.upper(),
        names=tuple(words[1:]),
    )
