"""Attacks on the kernel and the machine from inside of a container: each was tried, and each was held."""

from __future__ import annotations

import errno
import os
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root

only_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers here are those of x86_64")

REFUSED = {
    "mount": 165,
    "umount2": 166,
    "pivot_root": 155,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
    "unshare": 272,
    "setns": 308,
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "keyctl": 250,
    "add_key": 248,
    "request_key": 249,
    "userfaultfd": 323,
    "bpf": 321,
    "perf_event_open": 298,
    "kexec_load": 246,
    "init_module": 175,
    "delete_module": 176,
    "finit_module": 313,
    "reboot": 169,
    "acct": 163,
    "swapon": 167,
    "syslog": 103,
    "iopl": 172,
    "ioperm": 173,
    "open_by_handle_at": 304,
    "kcmp": 312,
    "pidfd_getfd": 438,
    "process_madvise": 440,
    "fanotify_init": 300,
    "quotactl": 179,
    "vhangup": 153,
    "settimeofday": 164,
    "sethostname": 170,
    "lookup_dcookie": 212,
}
RECENT = (467, 468, 470, 600, 0x40000000 | 39)
"""Calls that the policy does not know: three of kernels after it, one of none, one of x32."""


@only_x86_64
def test_system_calls_that_no_build_needs(bench: Bench) -> None:
    program = f"""
    import ctypes, sys
    call = ctypes.CDLL(None, use_errno=True).syscall
    def number(*words):
        return ctypes.get_errno() if call(*words) == -1 else 0
    for name, place in {REFUSED!r}.items():
        print(name, number(place, 0, 0, 0, 0, 0))
    print("unshare", number(272, 0x10000000))
    print("clone", number(56, 0x10000011, 0, 0, 0, 0))
    print("personality", number(135, 0x0400000))
    print("clone3", number(435, 0, 0))
    for recent in {RECENT!r}:
        print(recent, number(recent, 0, 0, 0))
    """
    lines = [line.split() for line in bench.python(textwrap.dedent(program)).out.splitlines()]
    unknown = {"clone3", *map(str, RECENT)}
    assert {name: int(code) for name, code in lines if int(code) != errno.EPERM} == dict.fromkeys(unknown, errno.ENOSYS)
    assert len(lines) == len(REFUSED) + 4 + len(RECENT)


I386 = {
    "mount": 21, "umount2": 52, "unshare": 310, "setns": 346, "bpf": 357, "io_uring_setup": 425, "keyctl": 288,
    "add_key": 286, "vm86": 166, "init_module": 128, "kexec_load": 283, "reboot": 88, "open_by_handle_at": 342,
    "perf_event_open": 336, "userfaultfd": 374, "fsopen": 430, "move_mount": 429, "pivot_root": 217,
}  # fmt: skip


@only_x86_64
def test_system_calls_of_another_architecture(bench: Bench) -> None:
    """By `int 0x80` every program can make them, whatever it was built for."""
    program = f"""
    import ctypes, mmap
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, edi; mov ebx, esi; no further arguments; int 0x80; pop rbx; ret
    page.write(bytes.fromhex("5389f889f331c931d231f631ffcd805bc3"))
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    assert call(20, 0) > 0, "getpid"
    for name, number in {I386!r}.items():
        print(name, call(number, 0))
    print("clone", call(120, 0x10000011))
    print("clone3", call(435, 0))
    """
    result = bench.python(textwrap.dedent(program))
    if result.status >= 128:
        pytest.skip("this kernel runs no programs of i386")
    found = dict(line.split() for line in result.out.splitlines())
    assert found.pop("clone3") == str(-errno.ENOSYS)
    assert found == dict.fromkeys([*I386, "clone"], str(-errno.EPERM)), result.err


@pytest.mark.parametrize("added", [(), ("SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN", "SYS_RAWIO")])
def test_settings_of_the_machine(bench: Bench, added: tuple[str, ...]) -> None:
    places = (
        "/proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches "
        "/proc/irq/default_smp_affinity /proc/sys/fs/binfmt_misc/register /sys/kernel/uevent_helper /sys/power/state "
        "/sys/kernel/mm/ksm/run /proc/sys/net/ipv4/ip_forward /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/release_agent"
    )
    # To open is enough: where it is not held, nothing comes of it.
    script = f"for file in {places}; do (: >> $file) 2> /dev/null && echo $file; done; echo done"
    assert bench.sh(script, cap_add=added).out == "done\n"


def test_devices_of_the_machine(bench: Bench) -> None:
    disk = os.stat("/").st_dev
    script = (
        "for at in / /dev/ /dev/shm/; do "
        f"mknod ${{at}}disk b {os.major(disk)} {os.minor(disk)}; head -c 1 ${{at}}disk > /dev/null && echo opened; "
        "mknod ${at}zero2 c 1 5; head -c 1 ${at}zero2 > /dev/null && echo opened $at; done; "
        "mknod /dev/pts/x c 1 3 && echo made; echo done"
    )
    assert bench.sh(script).out == "done\n"


def test_whatever_is_left_running_is_gone(bench: Bench) -> None:
    script = (
        "trap '' TERM HUP INT; "
        "(setsid sh -c 'trap \"\" TERM HUP; : 31337; while :; do sleep 1 & wait; done' &) > /dev/null 2>&1; "
        "sleep 31337 > /dev/null 2>&1 & kill -STOP 1; kill -9 1; echo on"
    )
    assert bench.sh(script).out == "on\n"
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                found.append(file.read())
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert [line for line in found if b"31337" in line] == []


def test_overlays_own_attributes_and_whiteouts_cannot_be_made(bench: Bench) -> None:
    program = """
    import os, stat
    os.mkdir("/d")
    for name in ("trusted.overlay.redirect", "trusted.overlay.opaque", "trusted.overlay.metacopy"):
        try:
            os.setxattr("/d", name, b"/etc")
            print("set", name)
        except OSError as error:
            print(error.errno)
    try:
        os.mknod("/d/gone", stat.S_IFCHR, 0)
        print("made")
    except OSError as error:
        print(error.errno)
    """
    assert bench.python(textwrap.dedent(program)).out.split() == [str(errno.EPERM)] * 4
