"""The one place where commands print: what others wrote commands neither the terminal nor the CI that reads it.

Control characters are left out. Where GitHub runs the program, no line is one of its workflow commands either.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from buildah_py.progress.text import clean, is_read_for_commands, without_command

if TYPE_CHECKING:
    from typing import TextIO

SCHEMA: Final = 1
"""Number of the forms of `--format=json`."""
_HIDDEN: Final = "[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"


def say(text: str = "") -> None:
    """Print lines for people on the standard output."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print lines on the standard error."""
    _write(sys.stderr, text)


def warn(text: str) -> None:
    """Print a warning."""
    complain(f"pybuild: warning: {text}")


def say_exactly(text: str, end: str = "\n") -> None:
    """Print what programs may read as it is; for a terminal it is cleaned all the same."""
    if sys.stdout.isatty():
        _write(sys.stdout, text, end)
    else:
        sys.stdout.write((text + end).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def say_json(value: Any) -> None:
    """Print plain data as JSON; bytes that are not UTF-8, and what a terminal or a CI would obey, are escaped."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    text = re.sub(_HIDDEN, lambda found: f"\\u{ord(found[0]):04x}", text).replace("##[", "##\\u005b")
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def say_data(value: dict[str, Any] | list[dict[str, Any]]) -> None:
    """Print what `docs/schema/` describes, with the number of its form; each object of a list has it.

    A list stays one: whoever goes through it need not know of the number.
    """
    numbered = [{"schema": SCHEMA, **one} for one in value] if isinstance(value, list) else {"schema": SCHEMA, **value}
    say_json(numbered)


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    lines = [clean(line, colour=False) for line in text.split("\n")]
    if is_read_for_commands(os.environ):
        lines = [without_command(line) for line in lines]
    stream.write("\n".join(lines).encode("utf-8", "backslashreplace").decode() + end)
