"""What the commands' argument parsers share."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from buildah_py.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are UsageErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the command's own help as the hint."""
        raise UsageError(message, hint=f"`{self.prog} --help` lists what it takes")


def make_parser(command: str, description: str) -> Parser:
    """Make the parser of a command; abbreviated options are not accepted."""
    return Parser(
        prog=f"pybuild {command}", description=f"{description[0].upper()}{description[1:]}.", allow_abbrev=False
    )


def warn(text: str) -> None:
    """Print a warning."""
    print(f"pybuild: warning: {text}", file=sys.stderr)


def key_values(items: list[str], option: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    """Turn `K=V` items into a dict; a bare `K` takes its value from `environ`, where it has one.

    Raises UsageError for an item without a name, or a bare one where no environment is given.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not name or (not equals and environ is None):
            raise UsageError(f"{option} {item}: write it as NAME=VALUE")
        if equals:
            found[name] = value
        elif environ is not None and name in environ:
            found[name] = environ[name]
    return found
