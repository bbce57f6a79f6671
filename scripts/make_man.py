"""Write man pages, made of the parsers of the commands: `scripts/run python scripts/make_man.py DIRECTORY`."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from buildah_py.cli import COMMANDS
from buildah_py.cli.arguments import Parser, make_parser
from buildah_py.cli.examples import EXAMPLES, OVERVIEW
from buildah_py.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def escaped(text: str) -> str:
    """Return text as roff prints it, whatever it begins with."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def overview() -> str:
    """Return the page pybuild(1)."""
    lines = [*_head("pybuild", "builds OCI images from Dockerfiles: no daemon, root or not")]
    lines += [".SH SYNOPSIS", "\\fBpybuild\\fR [build] [\\-f FILE] [\\-t NAME[:TAG]] [OPTION…] CONTEXT", ".br"]
    lines += ["\\fBpybuild\\fR COMMAND [OPTION…] [ARGUMENT…]", *_examples(OVERVIEW), ".SH COMMANDS"]
    for name, text in COMMANDS.items():
        lines += [".TP", f"\\fBpybuild\\-{escaped(name)}\\fR(1)", escaped(text)]
    return "\n".join(lines) + "\n"


def page(name: str) -> str:
    """Return the page of a command."""
    parser = make_parser(name, COMMANDS[name])
    import_module(f"buildah_py.cli.{'import_' if name == 'import' else name.replace('-', '_')}").configure(parser)
    parser.declare_further()
    lines = [*_head(f"pybuild-{name}", COMMANDS[name]), ".SH SYNOPSIS", *_synopsis(parser)]
    lines += [*_examples(EXAMPLES.get(name, ())), *_groups(parser)]
    for below, one in _commands_below(parser):
        lines += [f".SH {escaped(below.upper())}", *_synopsis(one), *_groups(one, ".SS")]
    return "\n".join([*lines, ".SH SEE ALSO", "\\fBpybuild\\fR(1)"]) + "\n"


def _head(name: str, text: str) -> Iterator[str]:
    yield f'.TH {escaped(name.upper())} 1 "" "pybuild {__version__}"'
    yield ".SH NAME"
    yield f"{escaped(name)} \\- {escaped(text)}"


def _synopsis(parser: Parser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield f"\\fB{escaped(parser.prog)}\\fR{escaped(usage.removeprefix(parser.prog))}"


def _examples(examples: Iterable[tuple[str, str]]) -> Iterator[str]:
    for number, (line, remark) in enumerate(examples):
        if not number:
            yield ".SH EXAMPLES"
        yield ".TP"
        yield f"\\fB{escaped(line)}\\fR"
        yield escaped(remark) if remark else "\\&"


def _groups(parser: argparse.ArgumentParser, macro: str = ".SH") -> Iterator[str]:
    """Describe the arguments, group by group."""
    for group in parser._action_groups:  # noqa: SLF001
        actions = [one for one in group._group_actions if one.help != argparse.SUPPRESS]  # noqa: SLF001
        actions = [one for one in actions if not isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
        if not actions:
            continue
        yield f"{macro} {escaped((group.title or '').upper())}"
        if group.description:
            yield escaped(group.description)
        for action in actions:
            yield ".TP"
            yield _heading(action)
            text = (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")
            yield escaped(text) if text else "\\&"


def _heading(action: argparse.Action) -> str:
    choices = f"{{{','.join(map(str, action.choices))}}}" if action.choices else ""
    value = action.metavar if isinstance(action.metavar, str) else choices or action.dest.upper()
    if not action.option_strings:
        return f"\\fI{escaped(value)}\\fR"
    names = ", ".join(f"\\fB{escaped(option)}\\fR" for option in action.option_strings)
    return names if action.nargs == 0 else f"{names} \\fI{escaped(value)}\\fR"


def _commands_below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, Parser]]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for name, one in action.choices.items():
                yield name, one
                yield from ((f"{name} {below}", other) for below, other in _commands_below(one))


def main(directory: str) -> None:
    """Write all pages."""
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    (target / "pybuild.1").write_text(overview(), encoding="utf-8")
    for name in COMMANDS:
        (target / f"pybuild-{name}.1").write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
