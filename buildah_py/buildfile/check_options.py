"""Which checks are to run: `# check=skip=A,B;error=true;experimental=C`, and the comment above one instruction."""

from __future__ import annotations

import re
from typing import NamedTuple

from buildah_py.buildfile.spaces import SPACES
from buildah_py.image import numbers

_DIRECTIVE = r"([a-zA-Z][a-zA-Z0-9]*)[ \t\n\f\r]*=[ \t\n\f\r]*(.+?)[ \t\n\f\r]*"


class CheckOptions(NamedTuple):
    """Options of a check directive."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False

    def merged(self, other: CheckOptions) -> CheckOptions:
        """Return these options with those of a comment added."""
        return CheckOptions(
            self.skip | other.skip,
            self.skip_all or other.skip_all,
            self.experimental | other.experimental,
            self.experimental_all or other.experimental_all,
            self.error,
        )

    def wants(self, name: str, *, experimental: bool) -> bool:
        """Whether the check `name` is to run."""
        if experimental:
            return self.experimental_all or name in self.experimental
        return not self.skip_all and name not in self.skip


def parse_options(text: str) -> CheckOptions:
    """Read the value of a check directive.

    Raises:
        ValueError: with a message for people.

    """
    text = text.strip(SPACES)
    options = CheckOptions()
    if not text:
        return options
    for part in text.split(";", 2):
        key, equals, value = part.partition("=")
        key, value = key.strip(SPACES), value.strip(SPACES)
        if not equals:
            raise ValueError(f'invalid check option "{part}"')
        if key == "skip":
            names = frozenset(name.strip(SPACES) for name in value.split(","))
            options = options._replace(skip_all=True) if value == "all" else options._replace(skip=names)
        elif key == "experimental":
            names = frozenset(name.strip(SPACES) for name in value.split(","))
            if value == "all":
                options = options._replace(experimental_all=True)
            else:
                options = options._replace(experimental=names)
        elif key == "error":
            error = numbers.boolean(value)
            if error is None:
                raise ValueError(f'failed to parse check option "{part}": use true or false')
            options = options._replace(error=error)
        else:
            raise ValueError(f'invalid check option "{key}"')
    return options


def directive_of(text: str) -> tuple[int, str] | None:
    """Return the line and the value of the check directive of a file; only what stands before the first blank counts.

    Other than for the directives that the parser obeys, a first line that begins with `#!` is passed over.
    """
    lines = text.split("\n")
    first = 1 if lines[0].startswith("#!") else 0
    seen: set[str] = set()
    for number in range(first, len(lines)):
        line = lines[number].rstrip("\r")
        found = re.fullmatch(_DIRECTIVE, line[1:].lstrip(SPACES)) if line.startswith("#") else None
        name = found.group(1).lower() if found else ""
        if found is None or name not in ("syntax", "escape", "check") or name in seen:
            return None
        if name == "check":
            return number + 1, found.group(2).partition(" ")[0]
        seen.add(name)
    return None


def options_of_comments(comments: tuple[str, ...]) -> CheckOptions:
    """Return the options in the comments above an instruction; the first `check=` counts, if it can be read."""
    for comment in comments:
        if not comment[:5].lower().startswith("check"):
            continue
        found = re.fullmatch(_DIRECTIVE, comment)
        if found and found.group(1).lower() == "check":
            try:
                return parse_options(found.group(2).partition(" ")[0])
            except ValueError:
                return CheckOptions()
    return CheckOptions()
