"""The page about flags of docker, buildah and kaniko, docs/flags.md, made of tables; `pybuild help flags` shows it."""

from __future__ import annotations

from buildah_py.cli.aliases import FOREIGN, GLOBAL, GROUPS, WORDS
from buildah_py.cli.buildx_table import TABLE as BUILDX
from buildah_py.cli.buildx_table import Subcommand
from buildah_py.cli.executor_flags import TABLE as EXECUTOR
from buildah_py.cli.executor_variables import SO_ANYWAY, VARIABLES, WITHOUT_MEANING
from buildah_py.cli.flags import ANYTHING, DIFFERS, NOTE, REFUSED, SAME, TABLE, ForeignFlag

_HEAD = """\
# Flags of docker, buildah and kaniko

All flags of `docker buildx build` ({docker}) and of `buildah build` ({buildah}), and what becomes of them here.
The program's own table is the source of this page: `scripts/make_pages.py` writes it.

- **same**: the flag does what it does there.
- **differs**: it does so but for what is said.
- **note**: it is accepted and has no effect. Where that is not what was asked for, a warning says so.
- **refused**: the build ends before it begins, with what to do instead.

Flags that are on or off take `=true` and `=false`, and all other spellings that Go reads (`1`, `0`, `t`, `f`, …).

| flag | docker | buildah | here | |
|---|---|---|---|---|
"""
_COMMANDS = """
## Commands

`alias docker=pybuild` and `alias buildah=pybuild` do for scripts that build, look at images and move them.

| typed | means |
|---|---|
"""
_NOT_HERE = """
Commands that are not supported, and what to do instead:

| typed | |
|---|---|
"""
_BUILDX = """
## Commands of buildx

Commands that `docker buildx …` calls where pybuild is [docker's plug-in](docker-plugin.md), and `pybuild buildx …`:

| command | here | |
|---|---|---|
"""
_KANIKO = """
## Flags of kaniko

All flags of kaniko's executor ({count}), those of its README and the others, and what becomes of them by
`pybuild executor`, which is also what the program does where it is called by the name `executor`:
[from-kaniko.md](how-to/from-kaniko.md). Its status is 1 for whatever fails, and of two values of one flag the last
counts. `--isolation` is a flag of pybuild's that it has as well.

| flag | here | |
|---|---|---|
"""
_VARIABLES = """
Variables that kaniko reads:

| variable | here |
|---|---|
"""
_FEATURES = """
Feature flags `FF_KANIKO_…` of its forks. Of those that are so anyway, a warning tells where they are switched off:

| flags | here |
|---|---|
"""
_BEFORE = """
Options before the command:

| option | |
|---|---|
"""


def page() -> str:
    """Return the page."""
    docker, buildah = sum(flag.docker for flag in TABLE), sum(flag.buildah for flag in TABLE)
    rows = (
        f"| `{flag.option()}` | {'x' if flag.docker else ''} | {'x' if flag.buildah else ''} | {flag.decision} "
        f"| {_remark(flag)} |\n"
        for flag in TABLE
    )
    return _HEAD.format(docker=docker, buildah=buildah) + "".join(rows) + _commands()


def _commands() -> str:
    meant = dict(WORDS)
    meant |= {f"{group} {typed}": words for group, known in GROUPS.items() for typed, words in known.items()}
    same: dict[tuple[str, str], list[str]] = {}
    for typed, reasons in FOREIGN.items():
        same.setdefault(reasons, []).append(f"`{typed}`")
    rows = [_COMMANDS, *(f"| `{typed}` | `pybuild {' '.join(words)}` |\n" for typed, words in meant.items())]
    rows += [
        _NOT_HERE,
        *(f"| {', '.join(typed)} | pybuild {why}; {instead} |\n" for (why, instead), typed in same.items()),
    ]
    rows += [_BUILDX, *(f"| `{one.name}` | {one.decision} | {_of_buildx(one)} |\n" for one in BUILDX)]
    rows.append(_BEFORE)
    rows += [_before(option, meaning) for option, meaning in GLOBAL.items()]
    return "".join([*rows, *_kaniko()])


def _before(option: str, meaning: str) -> str:
    text = "refused: PYBUILD_ROOT names the state directory" if not meaning else f"no effect: {meaning}"
    return f"| `{option}` | {f'the same as {meaning}' if meaning.isupper() else text} |\n"


def _kaniko() -> list[str]:
    rows = [_KANIKO.format(count=len(EXECUTOR))]
    for flag in EXECUTOR:
        spelled = ", ".join(f"`{one}`" for one in (flag.option(), *flag.spelled))
        rows.append(f"| {spelled} | {flag.decision} | {_remark(flag)} |\n")
    rows.append(_VARIABLES)
    for one in VARIABLES:
        names = ", ".join(f"`{name}`" for name in one.name.split(", "))
        rows.append(f"| {names} | {'no effect: ' if one.noted else ''}{one.text} |\n")
    rows.append(_FEATURES)
    for known, word in ((SO_ANYWAY, "so anyway"), (WITHOUT_MEANING, "no meaning")):
        same: dict[str, list[str]] = {}
        for name, why in known.items():
            same.setdefault(why, []).append(f"`{name}`")
        rows += [f"| {', '.join(sorted(names))} | {word}: {why} |\n" for why, names in same.items()]
    return rows


def _of_buildx(one: Subcommand) -> str:
    parts = [f"`pybuild {' '.join(one.words)}`"] if one.words else []
    parts += [one.text] if one.text else []
    parts += [f"instead: {one.instead}"] if one.instead else []
    return "; ".join(parts)


def _remark(flag: ForeignFlag) -> str:
    """Say what there is to say; a bar would end the cell of the table."""
    text = flag.text
    if flag.decision == REFUSED:
        text += f"; instead: {flag.instead}"
    elif flag.decision in (SAME, DIFFERS):
        return text.replace("|", "\\|")
    fine = [f"`{value}`" if value else "an empty value" for value in flag.fine if value != ANYTHING]
    if fine:
        text += (
            f". No word of that for {', '.join(fine)}" if flag.decision == NOTE else f". Accepted: {', '.join(fine)}"
        )
    return text.replace("|", "\\|")
