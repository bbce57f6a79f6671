"""A program for arm64 that needs no compiler: an ELF file of two dozen instructions, which QEMU runs without a libc."""

from __future__ import annotations

import struct

_BASE = 0x400000
_HEADERS = 64 + 56
_AT_FDCWD = -100
_CREATE = 0o101  # O_WRONLY | O_CREAT


def arm64_program(path: str, text: str) -> bytes:
    """Give a program that writes `text` to the new file `path`, and to its standard output."""
    name, data = path.encode() + b"\0", text.encode()
    code_length = 4 * 18
    name_at = _BASE + _HEADERS + code_length
    text_at = name_at + len(name)
    code = [
        # openat(AT_FDCWD, path, O_WRONLY | O_CREAT, 0644)
        _movn(0, -_AT_FDCWD - 1),
        *_address(1, name_at),
        _movz(2, _CREATE),
        _movz(3, 0o644),
        *_call(56),
        # write(what openat gave, text, length); x0 is that already
        *_address(1, text_at),
        _movz(2, len(data)),
        *_call(64),
        # write(1, text, length)
        _movz(0, 1),
        *_call(64),
        # exit_group(0)
        _movz(0, 0),
        *_call(94),
    ]
    assert len(code) * 4 == code_length, len(code)
    body = b"".join(struct.pack("<I", word) for word in code) + name + data
    size = _HEADERS + len(body)
    ident = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return header + segment + body


def _movz(register: int, value: int, shift: int = 0) -> int:
    return 0xD2800000 | (shift // 16) << 21 | value << 5 | register


def _movn(register: int, value: int) -> int:
    """Put the complement of a value into a register."""
    return 0x92800000 | value << 5 | register


def _address(register: int, address: int) -> tuple[int, int]:
    high = 0xF2800000 | 1 << 21 | (address >> 16) << 5 | register  # movk …, lsl 16
    return _movz(register, address & 0xFFFF), high


def _call(number: int) -> tuple[int, int]:
    return _movz(8, number), 0xD4000001  # svc 0
