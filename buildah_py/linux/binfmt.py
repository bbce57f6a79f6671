"""Emulators that the kernel runs programs with: interpreters of binfmt_misc (Documentation/admin-guide/binfmt-misc)."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

_MOUNTED: Final = "/proc/sys/fs/binfmt_misc"
_CLASS: Final = 4
_ORDER: Final = 5
_MACHINE: Final = slice(18, 20)
_LITTLE: Final = 1

# EI_CLASS, EI_DATA and e_machine of elf(5), by Go's names of architectures.
_MACHINES: Final = {
    "386": (1, 1, 3),
    "amd64": (2, 1, 62),
    "arm": (1, 1, 40),
    "arm64": (2, 1, 183),
    "loong64": (2, 1, 258),
    "mips": (1, 2, 8),
    "mipsle": (1, 1, 8),
    "mips64": (2, 2, 8),
    "mips64le": (2, 1, 8),
    "ppc64": (2, 2, 21),
    "ppc64le": (2, 1, 21),
    "riscv64": (2, 1, 243),
    "s390x": (2, 2, 22),
}


class Interpreter(NamedTuple):
    """Runs programs of another machine. `fixed` ones are held open, so that a container needs not have them."""

    path: str
    fixed: bool


def find_interpreter(architecture: str, directory: str = _MOUNTED) -> Interpreter | None:
    """Find what runs programs of an architecture; None where nothing does, or nobody may know."""
    wanted = _MACHINES.get(architecture)
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return None
    for name in names:
        try:
            with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except OSError:
            continue  # `register` is only written to
        fields = dict(line.partition(" ")[::2] for line in lines)
        if "enabled" in fields and wanted is not None and _machine(fields.get("magic", "")) == wanted:
            return Interpreter(fields.get("interpreter", ""), "F" in fields.get("flags:", ""))
    return None


def _machine(magic: str) -> tuple[int, int, int] | None:
    try:
        data = bytes.fromhex(magic)
    except ValueError:
        return None
    if len(data) < _MACHINE.stop or not data.startswith(b"\x7fELF"):
        return None
    machine = int.from_bytes(data[_MACHINE], "little" if data[_ORDER] == _LITTLE else "big")
    return data[_CLASS], data[_ORDER], machine
