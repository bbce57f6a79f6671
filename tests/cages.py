"""Containers as other programs make them, to build in: few capabilities, masked parts of /proc, an overlay as root.

    python tests/cages.py CAGE [--root DIR] [--through DIR]... -- COMMAND...

executes a command in one; `--through` names directories that are the machine's own in there. The rest of the file
system, which is the machine's or that of `--root`, can be written to, and is forgotten. What the cages are like follows
the defaults of docker, containerd and CRI-O, and Kubernetes' pod security standards. They are for tests and hold nobody
who wants to get out. Needs root, and x86-64 or arm64.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import struct
import sys
import tempfile
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWUTS, _NEWIPC, _NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
_READ_ONLY, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_USUAL = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""Numbers of the fourteen capabilities that runtimes give."""
_MASKED = ("acpi", "asound", "interrupts", "kcore", "keys", "latency_stats", "scsi", "timer_list")
_PROTECTED = ("bus", "fs", "irq", "sys", "sysrq-trigger")


class Cage(NamedTuple):
    """One kind of container."""

    uid: int = 0
    capabilities: tuple[int, ...] = _USUAL
    new_privileges: bool = True
    namespaces: bool = True
    """Whether the filter of system calls lets through what makes namespaces and mounts."""
    masked: bool = True
    overlay: bool = True
    """Whether /state, where the store lies, is on the overlay that the root is; else it is a volume, in memory."""
    fuse: bool = False
    network: bool = False
    """Whether there is /dev/net/tun."""


CAGES = {
    "nested": Cage(),
    "nested-fuse": Cage(fuse=True),
    "nested-volume": Cage(overlay=False),
    "nested-unmasked": Cage(overlay=False, masked=False),
    "nested-user": Cage(uid=1000, capabilities=(), new_privileges=False),
    "pod": Cage(namespaces=False),
    "restricted": Cage(uid=1000, capabilities=(), new_privileges=False, namespaces=False),
}


def _check(result: int, what: object) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(what))


def _mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _check(_LIBC.mount(*words), f"{kind or 'bind'} {target}")


_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse", "net")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


def _make_devices(dev: str) -> None:
    """Fill /dev as runtimes do: the usual nodes, terminals and shared memory of its own."""
    os.makedirs(dev, exist_ok=True)
    _mount("tmpfs", dev, "tmpfs", options="mode=755")
    for name in _DEVICES:
        if os.path.isdir(f"/dev/{name}"):
            os.mkdir(f"{dev}/{name}")
        elif os.path.exists(f"/dev/{name}"):
            os.close(os.open(f"{dev}/{name}", os.O_CREAT, 0o666))
        else:
            continue
        _mount(f"/dev/{name}", f"{dev}/{name}", flags=_BIND)
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}")
    _mount("devpts", f"{dev}/pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620")
    _mount("tmpfs", f"{dev}/shm", "tmpfs", options="mode=1777")
    for name, target in {**_LINKS, "ptmx": "pts/ptmx"}.items():
        os.symlink(target, f"{dev}/{name}")


def _lend_files(etc: str, place: str) -> None:
    """Mount the three files that runtimes make for each container."""
    for name in ("hosts", "hostname", "resolv.conf"):
        with open(f"{place}/{name}", "wb") as copy, open(f"/etc/{name}", "rb") as file:
            copy.write(file.read())
        os.close(os.open(f"{etc}/{name}", os.O_CREAT, 0o644))
        _mount(f"{place}/{name}", f"{etc}/{name}", flags=_BIND)


def _new_root(cage: Cage, below: str, through: list[str], top: str) -> None:
    """Become a process whose root is an overlay on `below`, with parts of /proc covered as runtimes do it."""
    _check(_LIBC.unshare(_NEWNS | _NEWUTS | _NEWIPC), "unshare")
    _mount("none", "/", flags=_REC | _PRIVATE)
    _mount("tmpfs", top, "tmpfs")
    os.chmod(top, 0o755)
    root = f"{top}/root"
    for name in ("root", "upper", "work"):
        os.mkdir(f"{top}/{name}")
    _mount("overlay", root, "overlay", options=f"lowerdir={below},upperdir={top}/upper,workdir={top}/work,xino=on")
    _make_devices(f"{root}/dev")
    for name in ("sys", "proc", "etc"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _mount("/sys", f"{root}/sys", flags=_BIND | _REC)
    _mount("proc", f"{root}/proc", "proc")
    for path in through:
        os.makedirs(root + path, exist_ok=True)
        _mount(path, root + path, flags=_BIND)
    os.mkdir(f"{root}/state")
    if below != "/":
        _lend_files(f"{root}/etc", top)
    if not cage.overlay:
        _mount("tmpfs", f"{root}/state", "tmpfs")
    os.chmod(f"{root}/state", 0o777)
    if os.path.isdir(f"{root}/root"):
        os.chmod(f"{root}/root", 0o755)  # where the interpreter may lie
    os.chdir(root)
    _check(_LIBC.pivot_root(b".", b"."), "pivot_root")
    _check(_LIBC.umount2(b".", 2), "umount")
    os.chdir("/")
    hidden = [*(() if cage.fuse else ("/dev/fuse",)), *(() if cage.network else ("/dev/net",))]
    hidden += [f"/proc/{name}" for name in _MASKED if cage.masked] + ["/sys/firmware"]
    for path in hidden:
        if os.path.isdir(path):
            _mount("tmpfs", path, "tmpfs", _READ_ONLY)
        elif os.path.exists(path):
            _mount("/dev/null" if path.startswith("/proc") else "/proc/version", path, flags=_BIND)
    for path in (f"/proc/{name}" for name in _PROTECTED if cage.masked):
        if not os.path.exists(path):
            continue
        _mount(path, path, flags=_BIND)
        _mount(path, path, flags=_BIND | _REMOUNT | _READ_ONLY)
    _mount("tmpfs", "/sys/fs/cgroup", "tmpfs", _READ_ONLY)


def _refuse_namespaces() -> None:
    """Install a filter as runtimes do: namespaces and mounts are refused, and clone3 is said not to exist."""
    intel = platform.machine() == "x86_64"
    old = (165, 166, 155, 272, 308) if intel else (40, 39, 41, 97, 268)  # mount, umount2, pivot_root, unshare, setns
    clone = 56 if intel else 220

    def statement(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    load, equal, both, give = 0x20, 0x15, 0x54, 0x06
    refuse, allow = statement(give, 0x50000 | 1), statement(give, 0x7FFF0000)
    program = [statement(load, 0)]
    for number in (*old, *range(428, 434), 442):
        program += [statement(equal, number, 0, 1), refuse]
    program += [statement(equal, 435, 0, 1), statement(give, 0x50000 | 38)]
    program += [statement(equal, clone, 0, 4), statement(load, 16), statement(both, 0x7E020000)]
    program += [statement(equal, 0, 1, 0), refuse, allow]
    code = ctypes.create_string_buffer(b"".join(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    _check(_LIBC.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(header)), 0, 0), "seccomp")


def _give_up(cage: Cage) -> None:
    for number in range(64):
        if number not in cage.capabilities and _LIBC.prctl(24, number, 0, 0, 0) == -1:
            break
    if not cage.new_privileges:
        _check(_LIBC.prctl(38, 1, 0, 0, 0), "no_new_privs")
    if not cage.namespaces:
        _refuse_namespaces()
    os.setgroups([])
    if cage.uid:
        os.setresgid(cage.uid, cage.uid, cage.uid)
        os.setresuid(cage.uid, cage.uid, cage.uid)
    else:
        mask = sum(1 << number for number in cage.capabilities)
        header = ctypes.create_string_buffer(struct.pack("=II", 0x20080522, 0))
        low, high = mask & 0xFFFFFFFF, mask >> 32
        data = ctypes.create_string_buffer(struct.pack("=6I", low, low, 0, high, high, 0))
        _check(_LIBC.capset(header, data), "capset")


def main() -> int:
    """Execute the command in the cage; gives its status."""
    parser = argparse.ArgumentParser(description="execute a command as a container without privileges would")
    parser.add_argument("cage", choices=sorted(CAGES))
    parser.add_argument("--through", action="append", default=[], metavar="DIR")
    parser.add_argument("--root", default="/", metavar="DIR")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    cage = CAGES[args.cage]
    _check(_LIBC.unshare(_NEWPID), "unshare")
    top = tempfile.mkdtemp(prefix="pybuild-cage-")
    child = os.fork()
    if child == 0:
        _new_root(cage, args.root, args.through, top)
        _give_up(cage)
        home = {"HOME": "/state", "PYBUILD_ROOT": "/state/pybuild"}
        os.execvpe(args.command[0], args.command, {**os.environ, **home})
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.rmdir(top)


if __name__ == "__main__":
    sys.exit(main())
