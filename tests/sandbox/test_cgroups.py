from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox import cgroups
from buildah_py.sandbox.cgroups import Group

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = {
    "memory": 64 << 20,
    "memory_swap": 0,
    "cpus": 1.5,
    "cpu_shares": 1024,
    "cpuset_cpus": "0",
    "pids": 100,
    "cgroup_parent": "",
}


def test_what_is_written_on_the_unified_hierarchy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree of plain files stands for it: names and values are those of the kernel's cgroup-v2 documentation."""
    top = tmp_path / "cgroup"
    top.mkdir()
    (top / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (top / "cgroup.subtree_control").write_text("")
    (top / "pybuild").mkdir()
    (top / "pybuild" / "cgroup.subtree_control").write_text("")
    mounted = f"30 20 0:26 / {top} rw,nosuid - cgroup2 cgroup2 rw\n"
    read = cgroups._read
    texts = {"/proc/self/cgroup": "0::/user.slice\n", "/proc/self/mountinfo": mounted}
    monkeypatch.setattr(cgroups, "_read", lambda path: texts.get(path) or read(path))
    group = Group(LIMITS, "pybuild-1-1")
    made = top / "pybuild" / "pybuild-1-1"
    assert group.directories == [str(made)]
    assert {path.name: path.read_text() for path in made.iterdir()} == {
        "memory.max": "67108864",
        "memory.swap.max": "67108864",
        "memory.oom.group": "0",
        "pids.max": "100",
        "cpu.max": "150000 100000",
        "cpu.weight": "39",
        "cpuset.cpus": "0",
    }
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n")
    (made / "memory.peak").write_text("66000000\n")
    assert group.measured() == (66000000, 1)
    (made / "memory.peak").unlink()  # before Linux 5.19
    assert group.measured() == (0, 1)


def _hierarchies() -> list[str]:
    """The unified hierarchy and one of version 1, where they are."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    found = {}
    for words in lines:
        kind, options = words[words.index("-") + 1], words[-1]
        if kind == "cgroup2" or (kind == "cgroup" and "pids" in options.split(",")):
            found[kind] = words[4]
    return sorted(found.values())


@pytest.mark.root
@pytest.mark.parametrize("kind", [0, 1])
def test_whatever_is_in_a_group_is_ended(kind: int) -> None:
    places = _hierarchies()
    if kind >= len(places) or not os.access(places[kind], os.W_OK):
        pytest.skip("no control groups can be made here")
    directory = f"{places[kind]}/pybuild-test-{os.getpid()}"
    os.mkdir(directory)
    group = object.__new__(Group)
    group.directories = [directory]
    reading, writing = os.pipe()
    # A process that goes on forking, and children that have left their parent, their session and their signals.
    script = (
        f"echo 0 > {directory}/cgroup.procs; trap '' TERM HUP INT;"
        "for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM; while :; do sleep 1000 & wait $!; done' &); done;"
        "echo up; while :; do (sleep 0.01 &); sleep 0.01; done"
    )
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, pass_fds=[writing]) as process:
        os.close(writing)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        group.remove()
        assert os.read(reading, 1) == b"", "nobody is left who could write"
        assert process.wait() == -signal.SIGKILL
    os.close(reading)
    assert not os.path.exists(directory)
