"""The front end that `# syntax=` asks for. None is ever run: pybuild reads what Docker's own would read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from buildah_py.buildfile.tree import BuildFile

_OWN: Final = re.compile(r"(?:.*/)?docker/dockerfile(?:-upstream)?(?:[:@].*)?|pybuild/1(?:\..*)?")
_DIRECTIVE: Final = re.compile(r"(?:#|//)\s*syntax\s*=", re.IGNORECASE)


class ForeignFrontEnd(NamedTuple):
    """A front end that reads another language than this one, and the line that names it."""

    name: str
    line: int

    def message(self) -> str:
        """Say what comes of it."""
        return f"the front end {self.name} is not run: the file is read as a Dockerfile"


def foreign_front_end(file: BuildFile) -> ForeignFrontEnd | None:
    """Give the front end that a file asks for, where it is neither Docker's nor ours."""
    name = file.directives.syntax.split(" ", 1)[0]
    if not name or _OWN.fullmatch(name):
        return None
    lines = enumerate(file.source.text.split("\n"), 1)
    return ForeignFrontEnd(name, next((number for number, line in lines if _DIRECTIVE.match(line.strip())), 1))
