"""`pybuild completion`: scripts that complete command lines in bash, zsh and fish."""

from __future__ import annotations

import argparse
import os
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from buildah_py.cli.printing import say_exactly
from buildah_py.errors import PybuildError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

SHELLS: Final = ("bash", "zsh", "fish")
_LISTS: Final = ("images", "containers", "stages", "topics")
_OF_IMAGES: Final = ("IMAGE", "IMAGE|CONTEXT", "IMAGE|CONTAINER", "A", "B")
_OF_CONTAINERS: Final = ("CONTAINER", "[CONTAINER|BUILD] [STEP]")
_FILES: Final = ("FILE", "SOURCE", "ARCHIVE")
_DIRECTORIES: Final = ("CONTEXT", "DIR")
_STAGES: Final = ("STAGE", "STAGE[,STAGE]")
_TOPICS: Final = ("COMMAND|TOPIC[#SECTION]",)
_LONG_OF_ZSH: Final = re.compile(r'^(  (?:"\*")?(?:"\*?|\{[\w,-]+,))(--[\w-]+)(?=\[|\}"\[)(?=.*\]:)', re.MULTILINE)
"""A long option that takes a value, in the script for zsh."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, nargs="?", help="bash, zsh or fish")
    parser.add_argument("--list", choices=_LISTS, help="print what such a script asks for: names, one a line")


def run(args: argparse.Namespace) -> int:
    """Print the script, or what it asks for."""
    if args.list:
        try:
            names = {"images": _images, "containers": _containers, "stages": _stages, "topics": _topics}[args.list]()
        except PybuildError:  # nobody can be told while a line is typed
            return 0
        say_exactly("\n".join(names))
        return 0
    if args.shell is None:
        raise UsageError("for which shell?", hint=f"there are {', '.join(SHELLS)}")
    from buildah_py.cli import COMMANDS

    say_exactly(script(args.shell, COMMANDS))
    return 0


def script(shell: str, commands: Mapping[str, str]) -> str:
    """Return the script for a shell. Raises UsageError where shtab is not installed."""
    try:
        import shtab
    except ImportError as error:
        raise UsageError("shtab, which makes such scripts, is not installed", hint="pip install shtab") from error
    found: str = shtab.complete(_program(commands), shell)
    if shell == "bash":
        from buildah_py.cli.bash_words import around

        return around(found)
    return _mended(found) if shell == "zsh" else found


def _mended(script: str) -> str:
    """Have zsh take `--option=VALUE`, complete each of several arguments, and options of a command as that command's.

    Options of `build`, whose word may be left out, would else count behind other commands too: `logs -f` for `-f FILE`.
    """
    mended = re.sub(r'(?m)^  "\(\*\)::?', '  "*:', _LONG_OF_ZSH.sub(r"\1\2=", script))
    return mended.replace(
        "\n  _arguments -C -s $_shtab_pybuild_options\n", "\n  _arguments -C -s -A '-*' $_shtab_pybuild_options\n"
    )


def _program(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return one parser for all commands, with what each argument is completed with."""
    import shtab

    from buildah_py.cli.arguments import Parser

    asked = {name: _asking(shtab.cmd, f"pybuild completion --list {name} 2>/dev/null") for name in _LISTS}
    program = Parser(prog="pybuild", allow_abbrev=False)
    _configure("build", program)  # whose word may be left out
    program._actions[:] = [action for action in program._actions if action.option_strings]  # noqa: SLF001
    below = program.add_subparsers(parser_class=Parser)
    for name, description in commands.items():
        parser: Any = below.add_parser(name, help=description, description=description, allow_abbrev=False)
        _configure(name, parser)
    _mark(program, asked, shtab.FILE, shtab.DIRECTORY)
    return program


def _asking(cmd: Callable[[str], dict[str, Any]], command: str) -> dict[str, Any]:
    """Say how each shell asks a command for words: zsh not before it needs them, where shtab's own does at once."""
    return {**cmd(command), "zsh": rf"{{compadd -- \$({command})}}"}


def _configure(name: str, parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a command."""
    import_module(f"buildah_py.cli.{'import_' if name == 'import' else name.replace('-', '_')}").configure(parser)


def _mark(parser: argparse.ArgumentParser, asked: Mapping[str, Any], file: Any, directory: Any) -> None:
    """Say of each argument what it is completed with, as far as its metavar tells."""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for one in action.choices.values():
                _mark(one, asked, file, directory)
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        marked: Any = action
        marked.metavar = metavar.replace(":", r"\:") or action.metavar  # zsh takes a colon for the end of it
        if metavar in _STAGES:
            marked.complete = asked["stages"]
        elif metavar in _TOPICS:
            marked.complete = asked["topics"]
        elif metavar in _OF_IMAGES and not action.option_strings:
            marked.complete = asked["images"]
        elif metavar in _OF_CONTAINERS:
            marked.complete = asked["containers"]
        elif metavar in _FILES:
            marked.complete = file
        elif metavar in _DIRECTORIES:
            marked.complete = directory


def _topics() -> Iterable[str]:
    """Name what `pybuild help` can be asked about."""
    from buildah_py.cli import COMMANDS
    from buildah_py.cli.help import topics

    return [*COMMANDS, *topics()]


def _images() -> Iterable[str]:
    """Name the images of the store."""
    from buildah_py.cli.stores import open_store
    from buildah_py.store.names import familiar_name

    with open_store() as store:
        return [familiar_name(name) for image in store.images.all() for name in image.names]


def _containers() -> Iterable[str]:
    """Name the containers, the newest first."""
    from buildah_py.api.state import own_root
    from buildah_py.store.containers import containers

    return [one.name for one in containers(own_root())]


def _stages() -> Iterable[str]:
    """Name the stages of the build file in this directory."""
    from buildah_py.api.state import opened
    from buildah_py.contexts.main import parse_build_file

    with opened(".", None, os.environ) as main:
        return [stage.name for stage in parse_build_file(main, extensions=False).stages if stage.name]
