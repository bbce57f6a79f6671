"""A machine to throw away, in which a hole may be opened: what an attack does there, it does to nothing of this one.

It has namespaces of its own for processes, mounts, networks, control groups, names and IPC. Its files are this
machine's, with an overlay in memory that takes what is written; its devices, /proc, /sys, /run and /tmp are its own; it
knows no other network. The kernel is this machine's: no test may change a setting of it that has no namespace.
"""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildah_py.linux import mounts, namespaces, process

from .variant import TREE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEMORY, FILE, PROCESSES = 6 << 30, 32 << 30, 4000
"""Bytes of all processes and files together, bytes of a file, processes."""

_OWN = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWCGROUP
)
_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_NETWORK = """
    link set lo up
    link add lan0 type veth peer name lan1
    link set lan1 up
    address add 192.0.2.2/24 dev lan0
    -6 address add fd00:1ab::2/64 dev lan0 nodad
    link set lan0 up
    route add default via 192.0.2.1
    -6 route add default via fd00:1ab::1 dev lan0
"""
_TRIES = 100
_OUTCOME = re.compile(r"^tests/(\S+?::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b", re.MULTILINE)
_BEGUN = re.compile(r"^tests/(\S+?::.+?)(?: (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL)\b.*)? *$", re.MULTILINE)


class Ran(NamedTuple):
    """What became of some tests."""

    outcomes: dict[str, str]
    """By a test's id below tests/: PASSED, FAILED, ERROR, SKIPPED, or CUT where it was under way when time was over."""
    output: str


def run_tests(tests: Sequence[str], changes: Mapping[str, str], *, seconds: int) -> Ran:
    """Run tests, by their ids below tests/, in a machine where files of the tree have other texts; all of it is over
    after `seconds`.

    Raises RuntimeError where the machine cannot be made, or leaves something mounted.
    """
    before = _mounted()
    top = tempfile.mkdtemp(prefix="pybuild-naive-")
    asked = json.dumps({"tests": tests, "changes": changes}).encode()
    command = [sys.executable, "-m", "tests.naive.machine", top]
    machine = subprocess.Popen(
        command, cwd=TREE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        shown, _ = machine.communicate(asked, timeout=seconds)
    except subprocess.TimeoutExpired:
        machine.kill()  # and with it whatever is in there
        shown, _ = machine.communicate()
    finally:
        machine.kill()
        machine.wait()
        _remove_groups(os.path.basename(top))
        os.rmdir(top)
    if _mounted() != before:
        raise RuntimeError("something of the machine is still mounted")
    output = shown.decode(errors="replace")
    if "MACHINE READY" not in output:
        raise RuntimeError(f"no machine can be made here:\n{output}")
    outcomes = dict(_OUTCOME.findall(output))
    begun = _BEGUN.findall(output)
    if begun and begun[-1] not in outcomes:
        outcomes[begun[-1]] = "CUT"
    return Ran(outcomes, output)


def _mounted() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return [line for line in file if "pybuild-naive-" in line]


# The machine


def _become(top: str) -> int:
    """Make the machine in the directory `top` and run what standard input says; gives the exit status."""
    process.set_parent_death_signal(signal.SIGKILL)
    asked = json.loads(sys.stdin.buffer.read())
    _join_groups(os.path.basename(top))
    namespaces.unshare(_OWN)
    first = os.fork()
    if first:
        return os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    process.set_parent_death_signal(signal.SIGKILL)
    _enter(top)
    for words in _NETWORK.strip().splitlines():
        subprocess.run(["ip", *words.split()], check=True)
    for path, text in asked["changes"].items():
        (TREE / path).write_text(text)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write("MACHINE READY\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", "-v", "-rfE", "--tb=short", "-p", "no:cacheprovider"]
    os.environ["COLUMNS"] = "250"  # of what a failure says
    command += ["--timeout=60", "--timeout-method=signal"]
    tests = [f"tests/{test}" for test in asked["tests"]]
    running = subprocess.Popen([*command, *tests], cwd=TREE, stdin=subprocess.DEVNULL)
    while True:  # as the first process of all: reap whoever has lost his parent
        pid, status = os.wait()
        if pid == running.pid:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _enter(top: str) -> None:
    """Make the machine's files and let go of the host's."""
    mounts.mount_setattr(mounts.AT_FDCWD, "/", propagation=mounts.MS_PRIVATE, recursive=True)
    mounts.mount("tmpfs", top, "tmpfs", 0, f"size={MEMORY // 2},mode=755")
    root = f"{top}/root"
    for name in ("upper", "work", "root"):
        os.mkdir(f"{top}/{name}")
    mounts.mount("overlay", root, "overlay", 0, f"lowerdir=/,upperdir={top}/upper,workdir={top}/work")
    mounts.mount("proc", f"{root}/proc", "proc")
    mounts.mount("sysfs", f"{root}/sys", "sysfs")
    groups = f"{root}/sys/fs/cgroup"
    if _hierarchies().keys() != {groups[len(root) :]}:
        mounts.mount("tmpfs", groups, "tmpfs", 0, "mode=755")
    for place, (kind, controllers) in _hierarchies().items():
        os.makedirs(root + place, exist_ok=True)
        mounts.mount(kind, root + place, kind, 0, controllers)
    for place, options in (("dev", "mode=755"), ("run", "mode=755"), ("tmp", "mode=1777")):
        mounts.mount("tmpfs", f"{root}/{place}", "tmpfs", 0, f"size={MEMORY // 2},{options}")
    for name in ("run/lock", "dev/pts", "dev/shm", "dev/net"):
        os.mkdir(f"{root}/{name}")
    mounts.mount("tmpfs", f"{root}/dev/shm", "tmpfs", 0, "mode=1777")
    mounts.mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=666,mode=620,gid=5")
    os.umask(0)
    for name, numbers in (*_NODES.items(), ("fuse", (10, 229)), ("net/tun", (10, 200))):
        os.mknod(f"{root}/dev/{name}", 0o20666, os.makedev(*numbers))
    os.umask(0o022)
    for name, target in _LINKS.items():
        os.symlink(target, f"{root}/dev/{name}")
    os.chdir(root)
    mounts.pivot_root(".", ".")
    mounts.umount2(".", mounts.MNT_DETACH)
    os.chdir(TREE)


def _hierarchies() -> dict[str, tuple[str, str]]:
    """Give the kind and the controllers of each mount of control groups."""
    found = {}
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for _, place, kind, options, *_ in map(str.split, file):
            if kind in {"cgroup", "cgroup2"}:
                of_group = [
                    word
                    for word in options.split(",")
                    if word not in {"rw", "ro", "relatime", "nosuid", "nodev", "noexec"}
                ]
                found[place] = kind, ",".join(of_group) if kind == "cgroup" else ""
    return found


def _join_groups(name: str) -> None:
    """Enter control groups that become the topmost of the machine: it sees, and ends, none of this one's."""
    for place, (_, controllers) in _hierarchies().items():
        group = f"{place}/{name}"
        os.mkdir(group)
        for controller, file, value in (
            ("cpuset", "cpuset.cpus", ""),
            ("cpuset", "cpuset.mems", ""),
            ("memory", "memory.limit_in_bytes", str(MEMORY)),
            ("pids", "pids.max", str(PROCESSES)),
        ):
            if controller in controllers.split(","):
                value = value or Path(place, file).read_text()
                Path(group, file).write_text(value)
        Path(group, "cgroup.procs").write_text("0")


def _remove_groups(name: str) -> None:
    for place in _hierarchies():
        for directory, _, _ in os.walk(f"{place}/{name}", topdown=False):
            for attempt in range(_TRIES):  # what was killed takes a moment to end
                try:
                    os.rmdir(directory)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or attempt == _TRIES - 1:
                        raise
                    time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(_become(sys.argv[1]))
