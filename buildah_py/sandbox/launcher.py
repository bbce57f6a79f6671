"""A program of a few instructions that starts a command below another program, and has it become our own child.

PRoot tells its caller how the last of its processes ended, and not whether a signal ended it. The first one that it is
given is this: it forks, says the child's number, and ends, so that the child is given to the nearest subreaper; the
child executes the command, or says which errors it got. It takes nothing of an image, not even a C library. Its
source is in tests/sandbox/programs; a test assembles that again.
"""

from __future__ import annotations

import binascii
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

TOLD, ASKED = 5, 6
"""Descriptors: what it tells (four bytes each: a process id, else a negative errno), and what `request` has made."""
CODE = {
    "x86_64": (
        62,
        (
            "SL8AAAAAACAAAL4AAAACugEAAABBuhIAAABBuAYAAABFMcm4CQAAAA8FSInDuDkAAAAPBVCFwHQO6EsAAAAx/7jnAAAADwW/BQAAAOhPAAAA"
            "vwYAAADoRQAAAEyNYxBJizwkSIX/dBpIizNIi1MIuDsAAAAPBVDoDQAAAEmDxAjr3b9/AAAA67e/BQAAAEiNdCQIugQAAAC4AQAAAA8Fw74C"
            "AAAAugEAAAC4SAAAAA8Fww=="
        ),
    ),
    "aarch64": (
        183,
        (
            "AADE0gFAoNIiAIDSQwKA0sQAgNIFAIDSyBuA0gEAANT0AwCqIAKA0gEAgNICAIDSAwCA0gQAgNKIG4DSAQAA1KAAALQTAACUAACA0sgLgNIB"
            "AADUoACA0hYAAJTAAIDSFAAAlJVCAJGghkD44AAAtIECQPmCBkD5qBuA0gEAANQEAACU+f//F+APgNLw//8X4A8f+KAAgNLhAwCRggCA0ggI"
            "gNIBAADU/0MAkcADX9ZBAIDSIgCA0igDgNIBAADUwANf1g=="
        ),
    ),
}
"""By machine: its number in ELF files, and the instructions."""
_BASE = 0x2000_0000_0000
_MOST = 32 << 20
"""Where the request is in the program's memory, and how long it may be: more than execve(2) takes."""
_ELF = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ADDRESS = 0x400000


def program(machine: str = os.uname().machine) -> bytes:
    """Give the program as an ELF file; empty where there is none for this kind of machine."""
    if machine not in CODE:
        return b""
    number, text = CODE[machine]
    code = binascii.a2b_base64(text)
    start = _ELF.size + _SEGMENT.size
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    sizes = (_ELF.size, _SEGMENT.size, 1, 0, 0, 0)
    header = _ELF.pack(ident, 2, number, 1, _ADDRESS + start, _ELF.size, 0, 0, *sizes)
    length = start + len(code)
    return header + _SEGMENT.pack(1, 5, 0, _ADDRESS, _ADDRESS, length, length, 0x1000) + code


def request(paths: Sequence[str], argv: Sequence[str], env: Sequence[str]) -> bytes:
    """Write down what it is to execute: the first of `paths` that can be. Raises ValueError where that is too much."""
    strings = bytearray()
    count = 2 + len(paths) + 1 + len(argv) + 1 + len(env) + 1
    first = _BASE + 8 * count

    def addresses(texts: Sequence[str]) -> list[int]:
        found = []
        for text in texts:
            found.append(first + len(strings))
            strings.extend(os.fsencode(text) + b"\0")
        return [*found, 0]

    tables = [addresses(paths), addresses(argv), addresses(env)]
    places = [_BASE + 8 * (2 + len(tables[0])), _BASE + 8 * (2 + len(tables[0]) + len(tables[1]))]
    words = [*places, *tables[0], *tables[1], *tables[2]]
    data = struct.pack(f"<{len(words)}Q", *words) + strings
    if len(data) > _MOST:
        raise ValueError("too many arguments and variables")
    return data


def candidates(name: str, path: str) -> list[str]:
    """Give the paths at which a command is looked for: itself where it has a slash, else in the directories of PATH."""
    if "/" in name:
        return [name]
    return [f"{directory or '.'}/{name}" for directory in path.split(":")]
