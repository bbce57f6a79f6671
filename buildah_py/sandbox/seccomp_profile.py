"""A policy for system calls given as docker's JSON (`--security-opt seccomp=FILE`), and the program it becomes.

Rules that look at arguments are tried first, in their order; then the first that does not; then the default action.
Calls above the highest that the profile knows fail with ENOSYS, unless the default action lets them pass.
"""

from __future__ import annotations

import errno
import json
import os
import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from buildah_py.errors import SandboxError, UsageError
from buildah_py.image.canonical import loads
from buildah_py.sandbox import capabilities, seccomp

if TYPE_CHECKING:
    from buildah_py.sandbox.seccomp import BpfInstruction

_ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_NUMBER = {"SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"}
_LETTING_PASS = {"SCMP_ACT_LOG", "SCMP_ACT_ALLOW"}
_COMPARISONS = {
    "SCMP_CMP_EQ",
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
}
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _ABOVE, _AT_LEAST = 0x05, 0x15, 0x25, 0x35
_ARGUMENTS = 16
_MOST_ARGUMENTS = 6
_MOST_INSTRUCTIONS = 4096
_X32 = 0x40000000
_SECOND = {0x40000003: "SCMP_ARCH_X86", 0x40000028: "SCMP_ARCH_ARM"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "riscv64": "riscv64"}
_OTHER_MACHINES = {0x40000003: "x86", 0x40000028: "arm"}
_KERNEL = re.compile(r"(\d+)\.(\d+)")

_FAIL = -1
"""Target of a test that fails: jump to the end of its rule."""


class _InvalidError(ValueError):
    """The file is not a profile."""


def read_profile(path: str) -> str:
    """Read and check a profile; gives its text. Raises UsageError."""
    option = f"--security-opt seccomp={path}"
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise UsageError(
            f"{option}: {error.strerror}", hint="it takes `default`, `unconfined` or a profile in docker's JSON form"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"{option}: this is not UTF-8") from None
    try:
        _check(loads(text))
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    return text


@lru_cache(maxsize=8)
def compile_profile(text: str, wanted: int) -> bytes:
    """Give a profile as an array of struct sock_filter, for a container with the capabilities of this mask.

    Raises SandboxError where it cannot be had: a policy that was asked for is never left out.
    """
    try:
        profile = _check(loads(text))
        machine, resolve = seccomp.resolver()
    except seccomp.UnavailableError as error:
        raise SandboxError(f"system calls cannot be filtered: {error}") from None
    except ValueError as error:
        raise SandboxError(f"the seccomp profile cannot be used: {error}") from None
    program: list[BpfInstruction] = [(_LOAD, 0, 0, 4)]
    known = _architectures(profile)
    for place, architecture in enumerate(seccomp.ARCHITECTURES[machine]):
        if place and _SECOND[architecture] not in known:
            continue
        name = _OTHER_MACHINES[architecture] if place else _MACHINES[machine]
        numbers: dict[int, list[BpfInstruction]] = {}
        for call, code in _rules(profile, name, wanted).items():
            number = resolve(architecture, call)
            if number >= 0:
                numbers[number] = code
        default = [(_RETURN, 0, 0, _action(profile["defaultAction"], profile.get("defaultErrnoRet")))]
        passing = profile["defaultAction"] in _LETTING_PASS
        missing = [(_RETURN, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS)]
        ranges = seccomp.ranges(numbers, max(numbers, default=0), default, default if passing else missing)
        if machine == "x86_64" and passing:  # else each call could be made a second time, as x32
            ranges.append((_X32, missing))
        section = [(_LOAD, 0, 0, 0), *seccomp.search(ranges)]
        program += [(_EQUAL, 1, 0, architecture), (_JUMP, 0, 0, len(section)), *section]
    program.append((_RETURN, 0, 0, _ACTIONS["SCMP_ACT_ERRNO"] | errno.EPERM))
    if len(program) > _MOST_INSTRUCTIONS:
        raise SandboxError(f"the seccomp profile takes {len(program)} instructions, the kernel {_MOST_INSTRUCTIONS}")
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _check(profile: Any) -> dict[str, Any]:
    """Raise ValueError for what is not a profile, or asks for what is unknown: nothing in a policy is passed over."""
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise _InvalidError("this is not a seccomp profile: it has no defaultAction")
    if profile.get("listenerPath"):
        raise _InvalidError("listenerPath is not supported")
    _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    for entry in _list(profile, "archMap"):
        if not isinstance(entry, dict):
            raise _InvalidError("an entry of archMap is not an object")
    rules = _list(profile, "syscalls")
    for rule in rules:
        if not isinstance(rule, dict) or not _names(rule):
            raise _InvalidError("an entry of syscalls has no names")
        _action(rule.get("action"), rule.get("errnoRet"))
        for key in ("includes", "excludes"):
            if not isinstance(rule.get(key) or {}, dict):
                raise _InvalidError(f"{key} is not an object")
            unknown = (rule.get(key) or {}).keys() - {"caps", "arches", "minKernel"}
            if unknown:
                raise _InvalidError(f"unknown condition {min(unknown)}")
            for name in _list(rule.get(key) or {}, "caps"):
                capabilities.number(str(name))
            _kernel(rule.get(key) or {})
        for test in _list(rule, "args"):
            _check_test(test)
    return profile


def _check_test(test: Any) -> None:
    if not isinstance(test, dict) or test.get("op") not in _COMPARISONS:
        raise _InvalidError(f"unknown comparison of an argument: {json.dumps(test)}")
    values = [test.get("index", 0), test.get("value", 0), test.get("valueTwo", 0)]
    if not all(isinstance(value, int) and 0 <= value < 1 << 64 for value in values) or values[0] >= _MOST_ARGUMENTS:
        raise _InvalidError(f"impossible comparison of an argument: {json.dumps(test)}")


def _list(owner: dict[str, Any], key: str) -> list[Any]:
    value = owner.get(key) or []
    if not isinstance(value, list):
        raise _InvalidError(f"{key} is not a list")
    return value


def _names(rule: dict[str, Any]) -> list[str]:
    return [str(name) for name in (*_list(rule, "names"), rule.get("name")) if name]


def _action(name: Any, number: Any) -> int:
    if name not in _ACTIONS:
        raise _InvalidError(f"unknown action {name}")
    if number is None:
        number = errno.EPERM
    if not isinstance(number, int) or not 0 <= number < 1 << 16:
        raise _InvalidError(f"impossible error number {number}")
    return _ACTIONS[name] | (number if name in _WITH_NUMBER else 0)


def _kernel(condition: dict[str, Any]) -> tuple[int, int] | None:
    text = condition.get("minKernel")
    if not text:
        return None
    match = _KERNEL.fullmatch(str(text))
    if match is None:
        raise _InvalidError(f"impossible minKernel {text}")
    return int(match[1]), int(match[2])


def _architectures(profile: dict[str, Any]) -> set[str]:
    found = set(map(str, _list(profile, "architectures")))
    for entry in _list(profile, "archMap"):
        found |= {str(entry.get("architecture")), *map(str, _list(entry, "subArchitectures"))}
    return found


def _applies(rule: dict[str, Any], machine: str, wanted: int) -> bool:
    running = _KERNEL.match(os.uname().release)
    assert running is not None
    kernel = int(running[1]), int(running[2])
    only, never = rule.get("includes") or {}, rule.get("excludes") or {}

    def has(name: str) -> bool:
        return bool(wanted >> capabilities.number(name) & 1)

    if not all(map(has, _list(only, "caps"))) or any(map(has, _list(never, "caps"))):
        return False
    if (_list(only, "arches") and machine not in only["arches"]) or machine in _list(never, "arches"):
        return False
    least, below = _kernel(only), _kernel(never)
    return not (least and kernel < least) and not (below and kernel >= below)


def _rules(profile: dict[str, Any], machine: str, wanted: int) -> dict[str, list[BpfInstruction]]:
    """Give for each call the instructions that decide it."""
    tested: dict[str, list[BpfInstruction]] = {}
    plain: dict[str, int] = {}
    for rule in _list(profile, "syscalls"):
        if not _applies(rule, machine, wanted):
            continue
        action = _action(rule["action"], rule.get("errnoRet"))
        for name in _names(rule):
            if tests := _list(rule, "args"):
                tested.setdefault(name, []).extend(_rule(tests, action))
            else:
                plain.setdefault(name, action)
    otherwise = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    return {
        name: [*tested.get(name, []), (_RETURN, 0, 0, plain.get(name, otherwise))]
        for name in (*plain, *(name for name in tested if name not in plain))
    }


def _rule(tests: list[dict[str, Any]], action: int) -> list[BpfInstruction]:
    """Return `action` where all tests hold, else go on behind; several tests of one argument are alternatives."""
    indexes = [test.get("index", 0) for test in tests]
    if len(set(indexes)) < len(indexes):
        return [instruction for test in tests for instruction in _rule([test], action)]
    code: list[tuple[int, int, int, int]] = [instruction for test in tests for instruction in _test(test)]
    code.append((_RETURN, 0, 0, action))
    size = len(code)
    return [
        (kind, size - place - 1 if true == _FAIL else true, size - place - 1 if false == _FAIL else false, value)
        for place, (kind, true, false, value) in enumerate(code)
    ]


def _test(test: dict[str, Any]) -> list[BpfInstruction]:
    """Compare 64 bits in two halves; go on where it holds."""
    low = _ARGUMENTS + 8 * int(test.get("index", 0))
    value, second = int(test.get("value", 0)), int(test.get("valueTwo", 0))
    upper, lower = value >> 32, value & 0xFFFFFFFF
    first, then = (_LOAD, 0, 0, low + 4), (_LOAD, 0, 0, low)
    match test["op"]:
        case "SCMP_CMP_EQ":
            return [first, (_EQUAL, 0, _FAIL, upper), then, (_EQUAL, 0, _FAIL, lower)]
        case "SCMP_CMP_NE":
            return [first, (_EQUAL, 0, 2, upper), then, (_EQUAL, _FAIL, 0, lower)]
        case "SCMP_CMP_GT" | "SCMP_CMP_GE" as kind:
            last = _ABOVE if kind == "SCMP_CMP_GT" else _AT_LEAST
            return [first, (_ABOVE, 3, 0, upper), (_EQUAL, 0, _FAIL, upper), then, (last, 0, _FAIL, lower)]
        case "SCMP_CMP_LT" | "SCMP_CMP_LE" as kind:
            last = _AT_LEAST if kind == "SCMP_CMP_LT" else _ABOVE
            return [first, (_ABOVE, _FAIL, 0, upper), (_EQUAL, 0, 2, upper), then, (last, _FAIL, 0, lower)]
    masked = [first, (_AND, 0, 0, upper), (_EQUAL, 0, _FAIL, second >> 32)]
    return [*masked, then, (_AND, 0, 0, lower), (_EQUAL, 0, _FAIL, second & 0xFFFFFFFF)]
