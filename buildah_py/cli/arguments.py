"""Parts that the commands' argument parsers share."""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NoReturn

from buildah_py.errors import UsageError
from buildah_py.image import numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping


class _Once(argparse.Action):
    """Store a value, and refuse another one: nobody can know which of the two was meant. Values may be passwords."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        assert isinstance(parser, Parser)
        if option_string is not None and parser.given.setdefault(self.dest, values) != values:
            from buildah_py.cli.docker_plugin import MARK

            if MARK not in os.environ:  # to docker's command line the last one counts, and Compose makes use of that
                raise UsageError(f"{option_string} is given twice, with different values", hint="leave one of them out")
            parser.given[self.dest] = values
        setattr(namespace, self.dest, values)


class _Joined(argparse.Action):
    """Store values with commas between them, each once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, _option_string: str | None = None
    ) -> None:
        assert isinstance(parser, Parser)
        before = parser.given.get(self.dest, "")
        joined = ",".join(dict.fromkeys(one for one in f"{before},{values}".split(",") if one.strip()))
        parser.given[self.dest] = joined
        setattr(namespace, self.dest, joined)


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors, and in which options that take one value are given once.

    `bare` gives options that may stand without a value the value that they have then: unlike argparse's own way, no
    argument behind such an option is taken for its value. Flags may have a value, `--flag=true` or `--flag=false`.
    `further` declares more options, once one is met that is not known.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bare: dict[str, str] = {}
        self.given: dict[str, Any] = {}
        self.further: Callable[[Parser], None] | None = None
        self.register("action", None, _Once)
        self.register("action", "store", _Once)
        self.register("action", "joined", _Joined)
        self.add_argument(
            "-D",
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,  # or a subcommand that is not asked for it would take it back
            help="say on standard error what the program does, and where errors come up",
        )

    def format_usage(self) -> str:
        """Say in one line what the command takes."""
        if any(isinstance(action, argparse._SubParsersAction) for action in self._actions):  # noqa: SLF001
            return super().format_usage()
        return f"usage: {self.prog} [OPTION…]{self._taken()}\n"

    def _taken(self) -> str:
        found = ""
        for action in self._get_positional_actions():
            name = action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or ()))
            form = {"?": "[{}]", "*": "[{}…]", "+": "{}…", argparse.REMAINDER: "[{} …]"}.get(str(action.nargs), "{}")
            found += f" {form.format(name)}"
        return found

    def format_help(self) -> str:
        """Give the help: usage and examples before the options."""
        from buildah_py.cli.examples import EXAMPLES, shown

        self.usage = self.format_usage().removeprefix("usage: ").strip()
        text = super().format_help()
        examples = EXAMPLES.get(self.prog.removeprefix("pybuild "))
        if not examples or not self.description:
            return text
        head, description, options = text.partition(self.description)
        if not description:  # it was wrapped
            head, _, options = text.partition("\n\n")
            return f"{head}\n\n{shown(examples, _width())}\n\n{options}"
        return f"{head}{description}\n\n{shown(examples, _width())}{options}"

    def knows(self, option: str) -> bool:
        """Whether an option is declared."""
        return option in self._option_string_actions

    def options(self) -> list[str]:
        """Return all options that are declared and meant to be used."""
        shown = (action for action in self._actions if action.help != argparse.SUPPRESS)
        return [option for action in shown for option in action.option_strings]

    def value_of(self, option: str, given: list[str]) -> str:
        """Return the last value that an option has in a command line, be that line right or not; "" for none."""
        end = self._end_of_options(given) if self.knows(option) else 0
        found = ""
        for place, word in enumerate(given[:end]):
            name, equals, value = word.partition("=")
            if name == option:
                found = value if equals else " ".join(given[place + 1 : place + 2])
        return found

    def declare_further(self) -> None:
        """Declare the options that few ask for."""
        if self.further is not None:
            declare, self.further = self.further, None
            declare(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with values put behind bare options, and taken from flags."""
        self.given.clear()
        given = list(sys.argv[1:] if args is None else args)
        if self.further is not None and any(self._is_strange(word) for word in given):
            self.declare_further()
        end = self._end_of_options(given)
        given[:end] = [one for word in given[:end] if (one := self._plain(word)) is not None]
        return super().parse_known_args(given, namespace)

    def _is_strange(self, word: str) -> bool:
        if not word.startswith("-") or word in ("-", "--"):
            return False
        return word in ("-h", "--help") or not self.knows(word.partition("=")[0] if word[1] == "-" else word[:2])

    def _end_of_options(self, given: list[str]) -> int:
        """Return where options of this command can no longer stand: behind `--`, or behind another command's name."""
        end = given.index("--") if "--" in given else len(given)
        if not any(action.nargs == argparse.REMAINDER for action in self._actions):
            return end
        position = 0
        while position < end:
            word = given[position]
            if not word.startswith("-") or word == "-":
                return position
            position += 1 + self._takes_next(word)
        return end

    def _takes_next(self, word: str) -> bool:
        """Whether the value of an option is the next word."""
        if word.startswith("--"):
            action = self._option_string_actions.get(word)
            return action is not None and action.nargs is None and word not in self.bare
        for position, letter in enumerate(word[1:], 2):
            action = self._option_string_actions.get(f"-{letter}")
            if action is None or action.nargs != 0:
                return action is not None and position == len(word)
        return False

    def _plain(self, word: str) -> str | None:
        """Give a word as argparse wants it; None for a flag that is not set."""
        if word in self.bare:
            return f"{word}={self.bare[word]}"
        name, equals, value = word.partition("=")
        action = self._option_string_actions.get(name) if equals else None
        if action is None or action.nargs != 0:
            return word
        wanted = numbers.boolean(value.lower())
        if wanted is None:
            raise UsageError(f"{word}: this is neither true nor false", hint=f"write {name}, or {name}=false")
        return name if wanted else None

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is not one of an argument's choices. Raises UsageError."""
        if action.choices is None or value in action.choices:
            return
        from buildah_py.suggest import did_you_mean

        choices = [str(choice) for choice in action.choices]
        where = action.option_strings[-1] if action.option_strings else self.prog
        hint = did_you_mean(str(value), choices) or f"there are {', '.join(choices)}"
        raise UsageError(f"{where}: there is no {value}", hint=hint)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError: with what was meant as the hint, or the command's own help."""
        hint = f"`{self.prog} --help` lists what it takes"
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            words = unknown.split(" ")
            option = next((word for word in words if word.startswith("-") and word != "-"), "")
            if option:
                from buildah_py.suggest import did_you_mean

                self.declare_further()
                name = option.partition("=")[0]
                message = f"unknown option {name}"
                hint = did_you_mean(name, self.options()) or hint
            else:
                message = f"{words[0]} is one argument too many"
        raise UsageError(message, hint=hint)


def make_parser(command: str, description: str) -> Parser:
    """Make the parser of a command; abbreviated options are not accepted."""
    return Parser(
        prog=f"pybuild {command}",
        description=f"{description[0].upper()}{description[1:]}.",
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=_width()),
    )


_DESTS: Final = {"compression": "compression_format"}


@cache
def _width() -> int:
    """Give the width of help; asked for the first option already, argparse would import much to find it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns) - 2
    try:
        return (os.get_terminal_size(sys.stdout.fileno()).columns or 80) - 2
    except (OSError, ValueError):
        return 78


def fill(args: argparse.Namespace, given: Container[str], command: str, environ: Mapping[str, str]) -> None:
    """Give options that were not given what the environment or the configuration file says. Raises UsageError."""
    from buildah_py.api.config import SETTINGS, effective, read_config

    file = read_config(environ)
    for setting in SETTINGS:
        name = _DESTS.get(setting.name, setting.name.replace("-", "_"))
        if (
            command not in setting.commands
            or name in given
            or (setting.kind == "list" and bool(getattr(args, name, None)))
        ):
            continue
        if name == "platform" and any(getattr(args, part, "") for part in ("os", "arch", "variant")):
            continue
        value, origin = effective(setting, environ, file)
        if not origin or (value == "tty" and not sys.stderr.isatty()):
            continue
        if setting.kind == "list":
            setattr(args, name, value.split("\n"))
        else:
            setattr(args, name, int(value) if setting.name == "compression-level" else value)


def key_values(
    items: list[str], option: str, environ: Mapping[str, str] | None = None, *, bare: str | None = None
) -> dict[str, str]:
    """Turn `K=V` items into a dict; a bare `K` takes its value from `environ`, where it has one, or is `bare`.

    Raises UsageError for an item without a name, or a bare one where neither is given.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not name or (not equals and environ is None and bare is None):
            raise UsageError(f"{option} {item}: write it as NAME=VALUE")
        if equals:
            found[name] = value
        elif environ is not None and name in environ:
            found[name] = environ[name]
        elif bare is not None:
            found[name] = bare
    return found
