from __future__ import annotations

import errno
import json
import os
import struct

import pytest

from buildah_py.sandbox import capabilities, seccomp, seccomp_profile

ALLOW = 0x7FFF0000
X86_64, I386 = 0xC000003E, 0x40000003

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers here are those of x86_64")


def decide(program: bytes, number: int, argument: int = 0, architecture: int = X86_64) -> int:
    """Execute a filter as the kernel does; 0 for allowed, else the errno (-1 for an errno of 0)."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, argument, 0, 0, 0, 0, 0)
    instructions = list(struct.iter_unpack("=HBBI", program))
    place, loaded = 0, 0
    while True:
        code, true, false, value = instructions[place]
        place += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", data, value)
        elif code == 0x54:
            loaded &= value
        elif code == 0x05:
            place += value
        elif code == 0x15:
            place += true if loaded == value else false
        elif code == 0x25:
            place += true if loaded > value else false
        elif code == 0x35:
            place += true if loaded >= value else false
        elif code == 0x06:
            return 0 if value == ALLOW else (value & 0xFFFF) or -1
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(scope="module")
def default() -> bytes:
    try:
        return seccomp.compile_filter(capabilities.DEFAULT)
    except seccomp.UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("number", "argument", "expected"),
    [
        (0, 0, 0),  # read
        (1, 0, 0),  # write
        (59, 0, 0),  # execve
        (101, 0, 0),  # ptrace
        (161, 0, 0),  # chroot
        (165, 0, errno.EPERM),  # mount
        (166, 0, errno.EPERM),  # umount2
        (272, 0, errno.EPERM),  # unshare
        (308, 0, errno.EPERM),  # setns
        (321, 0, errno.EPERM),  # bpf
        (425, 0, errno.EPERM),  # io_uring_setup
        (250, 0, errno.EPERM),  # keyctl
        (169, 0, errno.EPERM),  # reboot
        (435, 0, errno.ENOSYS),  # clone3
        (452, 0, 0),  # fchmodat2
        (457, 0, errno.EPERM),  # statmount
        (467, 0, errno.ENOSYS),
        (100000, 0, errno.ENOSYS),
        (0x40000000, 0, errno.ENOSYS),  # read as x32
        (56, 0x01200011, 0),  # clone, as fork does it
        (56, 0x10000000, errno.EPERM),  # with a user namespace
        (56, 0x00020000, errno.EPERM),  # with a mount namespace
        (41, 1, 0),  # socket: AF_UNIX
        (41, 2, 0),
        (41, 38, errno.EPERM),  # AF_ALG
        (41, 39, 0),
        (41, 40, errno.EPERM),  # AF_VSOCK
        (41, (1 << 32) + 40, errno.EPERM),  # the kernel looks at the lower half alone
        (135, 0xFFFFFFFF, 0),  # personality: ask
        (135, 0x0040000, errno.EPERM),  # without address randomisation
    ],
)
def test_default_policy(default: bytes, number: int, argument: int, expected: int) -> None:
    assert decide(default, number, argument) == expected


def test_other_architectures(default: bytes) -> None:
    assert decide(default, 4, architecture=I386) == 0  # write
    assert decide(default, 21, architecture=I386) == errno.EPERM  # mount
    assert decide(default, 359, 40, architecture=I386) == errno.EPERM  # socket, AF_VSOCK
    assert decide(default, 369, architecture=I386) == 0  # sendto
    assert decide(default, 64, architecture=0xC00000B7) == errno.EPERM


def test_every_number_is_decided(default: bytes) -> None:
    for architecture in (X86_64, I386):
        decisions = [decide(default, number, architecture=architecture) for number in range(600)]
        assert set(decisions) == {0, errno.EPERM, errno.ENOSYS}
        assert 300 < decisions.count(0) < 420


def test_capabilities_open_calls(default: bytes) -> None:
    wide = seccomp.compile_filter(capabilities.ALL)
    for number in (165, 272, 308, 321, 435, 169):
        assert decide(wide, number) == 0
    assert decide(wide, 250) == errno.EPERM
    without = seccomp.compile_filter(0)
    assert decide(without, 161) == errno.EPERM


def test_owners_ignored() -> None:
    program = seccomp.compile_filter(capabilities.DEFAULT, ignore_owners=True)
    assert [decide(program, number) for number in (92, 93, 94, 260, 116)] == [-1] * 5
    assert decide(program, 90) == 0


def test_what_the_kernel_takes(default: bytes) -> None:
    assert len(default) // 8 < 4096
    assert len(default) % 8 == 0


HUGE = (5 << 32) + 7


@pytest.mark.parametrize(
    ("operation", "holds", "fails"),
    [
        ("EQ", [HUGE], [HUGE + 1, 7, HUGE + (1 << 32), 0]),
        ("NE", [HUGE + 1, 7, 0], [HUGE]),
        ("LT", [HUGE - 1, 0xFFFFFFFF, 0], [HUGE, HUGE + 1, 6 << 32]),
        ("LE", [HUGE, HUGE - 1, 0xFFFFFFFF], [HUGE + 1, 6 << 32]),
        ("GT", [HUGE + 1, 6 << 32], [HUGE, HUGE - 1, 0xFFFFFFFF]),
        ("GE", [HUGE, HUGE + 1, 6 << 32], [HUGE - 1, 0xFFFFFFFF, 0]),
    ],
)
def test_comparisons_of_a_profile(default: bytes, operation: str, holds: list[int], fails: list[int]) -> None:
    tests = [{"index": 0, "value": HUGE, "op": f"SCMP_CMP_{operation}"}]
    program = compiled(rules=[{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": tests}])
    assert {decide(program, 39, value) for value in holds} == {77}
    assert {decide(program, 39, value) for value in fails} == {0}


def test_masks_and_several_tests_of_a_profile(default: bytes) -> None:
    masked = {"index": 0, "value": 0xF0, "valueTwo": 0x30, "op": "SCMP_CMP_MASKED_EQ"}
    either = [{"index": 0, "value": number, "op": "SCMP_CMP_EQ"} for number in (1, 2)]
    program = compiled(
        rules=[
            {"name": "getpid", "action": "SCMP_ACT_ERRNO", "args": [masked]},
            {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "args": either},
            {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9},
        ]
    )
    assert [decide(program, 39, value) for value in (0x3F, 1, 2, 3)] == [1, 5, 5, 9]


def test_conditions_of_a_profile(default: bytes) -> None:
    refuse: dict[str, object] = {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}
    conditions: tuple[tuple[dict[str, object], bool], ...] = (
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "999.0"}}, False),
    )
    for condition, applies in conditions:
        assert decide(compiled(rules=[refuse | condition]), 165) == (errno.EPERM if applies else 0)


def test_a_profile_of_what_is_allowed(default: bytes) -> None:
    """Calls that are too new say so; neither x32 nor an architecture that was not named is a way around."""
    allow: dict[str, object] = {"names": ["read", "write", "openat2"], "action": "SCMP_ACT_ALLOW"}
    program = compiled("SCMP_ACT_ERRNO", rules=[allow])
    assert [decide(program, number) for number in (0, 1, 2, 437, 438)] == [0, 0, errno.EPERM, 0, errno.ENOSYS]
    for closed in (program, compiled(rules=[{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}])):
        assert decide(closed, 0x40000000 + 165) == errno.ENOSYS
        assert decide(closed, 3, architecture=I386) == errno.EPERM
    both = compiled("SCMP_ACT_ERRNO", rules=[allow], architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    assert decide(both, 3, architecture=I386) == 0


def compiled(action: str = "SCMP_ACT_ALLOW", *, rules: list[dict[str, object]], **parts: object) -> bytes:
    text = json.dumps({"defaultAction": action, "syscalls": rules, **parts})
    return seccomp_profile.compile_profile(text, capabilities.DEFAULT)
