"""`--chmod`: octal modes and symbolic ones (`u=rwX,go=rX`)."""

from __future__ import annotations

import re
from typing import NamedTuple

from buildah_py.errors import UsageError

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007}
_SHIFT = {"u": 6, "g": 3, "o": 0}
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")


class Mode(NamedTuple):
    """A parsed `--chmod`.

    `octal` is the mode itself, or None for a symbolic one, whose clauses are (who, operator, permissions).
    """

    text: str
    octal: int | None
    clauses: tuple[tuple[str, str, str], ...] = ()

    def apply(self, mode: int, *, directory: bool) -> int:
        """Give the twelve bits that a file of that mode gets."""
        if self.octal is not None:
            return self.octal
        executable = directory or bool(mode & 0o111)
        for who, operator, permissions in self.clauses:
            mode = _apply(mode, who, operator, permissions, executable=executable)
        return mode


def parse_mode(text: str) -> Mode:
    """Read the value of `--chmod`; raises UsageError for anything but 0 to 7777 in octal or a symbolic mode.

    The umask has no say: `+x` without a letter before it means everybody.
    """
    if text.isascii() and text.isdigit():
        if text.strip("01234567") == "" and int(text, 8) <= 0o7777:
            return Mode(text, int(text, 8))
        raise UsageError(f"--chmod={text} is no mode", hint="give octal digits from 0 to 7777")
    clauses = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise UsageError(
                f"--chmod={text} is no mode: {clause!r} is not understood",
                hint="give octal digits such as 755, or clauses such as u=rwX,go=rX",
            )
        who = "ugo" if not found[1] or "a" in found[1] else found[1]
        clauses += [(who, operator, permissions) for operator, permissions in _ACTION.findall(found[2])]
    return Mode(text, None, tuple(clauses))


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
