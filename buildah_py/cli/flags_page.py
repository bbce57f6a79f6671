"""The page about flags of docker and buildah, docs/flags.md, made of their table; `pybuild help flags` shows it."""

from __future__ import annotations

from buildah_py.cli.aliases import FOREIGN, GLOBAL, GROUPS, WORDS
from buildah_py.cli.buildx_table import TABLE as BUILDX
from buildah_py.cli.buildx_table import Subcommand
from buildah_py.cli.flags import ANYTHING, DIFFERS, NOTE, REFUSED, SAME, TABLE, ForeignFlag

_HEAD = """\
# Flags of docker and buildah

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
    for option, meaning in GLOBAL.items():
        text = "refused: PYBUILD_ROOT names the state directory" if not meaning else f"no effect: {meaning}"
        rows.append(f"| `{option}` | {f'the same as {meaning}' if meaning.isupper() else text} |\n")
    return "".join(rows)


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
        return text
    fine = [f"`{value}`" if value else "an empty value" for value in flag.fine if value != ANYTHING]
    if fine:
        text += (
            f". No word of that for {', '.join(fine)}" if flag.decision == NOTE else f". Accepted: {', '.join(fine)}"
        )
    return text.replace("|", "\\|")
