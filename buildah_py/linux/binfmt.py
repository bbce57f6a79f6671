"""Emulators that the kernel runs programs with: interpreters of binfmt_misc (Documentation/admin-guide/binfmt-misc)."""

from __future__ import annotations

import os
from typing import Final, Literal, NamedTuple

from buildah_py import debug

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

# QEMU's names of architectures that have another one there.
_EMULATORS: Final = {
    "386": "i386",
    "amd64": "x86_64",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "mipsle": "mipsel",
}
_TOLD: Final = "-binfmt-P"


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


def emulated(directory: str = _MOUNTED) -> list[str]:
    """Return the architectures (Go's names) whose programs run in any container here by an emulator."""
    found = ((name, find_interpreter(name, directory)) for name in _MACHINES)
    return [name for name, interpreter in found if interpreter is not None and interpreter.fixed]


def find_emulator(architecture: str, path: str) -> str:
    """Find a program in the directories of `path` that could be registered; "" where there is none.

    It is one that needs no other file, as Debian and Fedora call it. That package also has it under a name by which
    it knows that the kernel tells it how a program was called.
    """
    name = _EMULATORS.get(architecture, architecture)
    for directory in path.split(":"):
        place = os.path.join(directory, f"qemu-{name}-static")
        if directory and os.access(place, os.X_OK):
            told = os.path.join(os.path.dirname(directory), "libexec/qemu-binfmt", f"{name}{_TOLD}")
            return told if os.access(told, os.X_OK) else place
    return ""


def register_here(architecture: str, emulator: str) -> bool:
    """Have the kernel run programs of an architecture with `emulator` in this user namespace; whether it does.

    A user namespace has a binfmt_misc of its own since Linux 6.7; before, this is not allowed. This process has to have
    a mount namespace of its own. Nothing outside changes.
    """
    from buildah_py.linux.mounts import mount

    wanted = _MACHINES.get(architecture)
    if wanted is None:
        return False
    try:
        if not os.path.exists(os.path.join(_MOUNTED, "register")) or not os.access(
            os.path.join(_MOUNTED, "register"), os.W_OK
        ):
            mount("binfmt_misc", _MOUNTED, "binfmt_misc")
        with open(os.path.join(_MOUNTED, "register"), "wb") as file:
            file.write(_rule(f"pybuild-{architecture}", wanted, emulator))
    except OSError as error:
        debug.log("no emulator for %s can be registered here: %s", architecture, error)
        return False
    debug.log("%s runs programs for %s in this user namespace", emulator, architecture)
    return True


def _rule(name: str, wanted: tuple[int, int, int], emulator: str) -> bytes:
    """Return what is written to `register`: `:name:type:offset:magic:mask:interpreter:flags`.

    The magic is the beginning of an executable or a shared object (e_type 2 or 3), whatever its OS ABI.
    """
    kind, order, machine = wanted
    word: Literal["little", "big"] = "little" if order == _LITTLE else "big"
    ident = bytes((0x7F, 0x45, 0x4C, 0x46, kind, order, 1)) + bytes(9)
    magic = ident + (2).to_bytes(2, word) + machine.to_bytes(2, word)
    mask = b"\xff" * 7 + bytes(9) + (0xFFFE).to_bytes(2, word) + b"\xff\xff"
    flags = "OPF" if emulator.endswith(_TOLD) else "OF"
    return f":{name}:M::{_escaped(magic)}:{_escaped(mask)}:{emulator}:{flags}".encode()


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _machine(magic: str) -> tuple[int, int, int] | None:
    try:
        data = bytes.fromhex(magic)
    except ValueError:
        return None
    if len(data) < _MACHINE.stop or not data.startswith(b"\x7fELF"):
        return None
    machine = int.from_bytes(data[_MACHINE], "little" if data[_ORDER] == _LITTLE else "big")
    return data[_CLASS], data[_ORDER], machine
