"""`--chmod`: octal modes and symbolic ones (`u=rwX,go=rX`)."""

from __future__ import annotations

from typing import NamedTuple

from buildah_py.buildfile.modes import Clause, read_mode
from buildah_py.errors import UsageError

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007}
_SHIFT = {"u": 6, "g": 3, "o": 0}


class Mode(NamedTuple):
    """A parsed `--chmod`.

    `octal` is the mode itself, or None for a symbolic one, which has clauses.
    """

    text: str
    octal: int | None
    clauses: tuple[Clause, ...] = ()

    def apply(self, mode: int, *, directory: bool) -> int:
        """Give the twelve bits that a file of that mode gets."""
        if self.octal is not None:
            return self.octal
        executable = directory or bool(mode & 0o111)
        for who, operator, permissions in self.clauses:
            mode = _apply(mode, who, operator, permissions, executable=executable)
        return mode


def parse_mode(text: str) -> Mode:
    """Read the value of `--chmod`; raises UsageError for anything but 0 to 7777 in octal or a symbolic mode."""
    try:
        found = read_mode(text)
    except ValueError as error:
        raise UsageError(
            f"--chmod={text}: {error}", hint="give octal digits such as 755, or clauses such as u=rwX,go=rX"
        ) from error
    return Mode(text, found) if isinstance(found, int) else Mode(text, None, found)


def _apply(mode: int, who: str, operator: str, permissions: str, *, executable: bool) -> int:
    """Apply one clause as BSD's setmode(3) does. `executable` is what X asks, of the mode before all clauses."""
    selected = 0
    for letter in who:
        selected |= _WHO[letter]
    if permissions in _SHIFT and permissions:
        bits = (mode >> _SHIFT[permissions] & 7) * 0o111 & selected & 0o777
        cleared = selected & 0o777
    else:
        if "t" in permissions and who.strip("o"):
            selected |= 0o1000
        bits = 0o1000
        if "r" in permissions:
            bits |= 0o444
        if "w" in permissions:
            bits |= 0o222
        if "x" in permissions or ("X" in permissions and executable):
            bits |= 0o111
        if "s" in permissions:
            bits |= 0o6000
        bits &= selected
        cleared = selected
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return mode & ~cleared | bits
