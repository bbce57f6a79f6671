from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from buildah_py.sandbox import ResourceLimits
from buildah_py.sandbox.cgroups import _hierarchies

if TYPE_CHECKING:
    from tests.sandbox.conftest import Bench

pytestmark = [pytest.mark.root, pytest.mark.slow]

_CONTAINERS, _THREADS = 300, 2
_GROWTH = 4 << 20


def _rss(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _blocks() -> int:
    """What the interpreter has allocated: how much memory this process takes depends on the tests before."""
    gc.collect()
    return sys.getallocatedblocks()


def _mounts(pid: int) -> int:
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8") as file:
        return sum(1 for _ in file)


def _descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind: `/dev/null`, `socket`, `net` (a namespace)."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[os.readlink(f"/proc/{pid}/fd/{name}").partition(":")[0]] += 1
        except FileNotFoundError:  # the one that lists
            continue
    return found


def _children(pid: int) -> str:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return file.read()


def _groups() -> int:
    parents = {parent for parent, _ in dict(_hierarchies()).values() if os.path.isdir(parent)}
    return sum(name.startswith(f"pybuild-{os.getpid()}") for parent in parents for name in os.listdir(parent))


def test_hundreds_of_containers_leave_nothing_behind(bench: Bench) -> None:
    """Every other one has a network, every tenth limits, every twentieth may change its interfaces."""
    known = dict(_hierarchies())
    limited = "pids" in known and os.access(os.path.dirname(known["pids"][0]), os.W_OK)
    failed: list[int] = []
    spec = bench.spec("/bin/sh", "-c", "(sleep 100 &); echo written > /file")
    lock = threading.Lock()

    def one(number: int) -> None:
        with lock:
            spec = bench.spec("/bin/sh", "-c", "(true &); echo written > /file")
        changes: dict[str, object] = {"network": "default" if number % 2 else "none"}
        if limited and number % 10 == 0:
            changes["limits"] = ResourceLimits(pids=50)
        if number % 20 == 1:
            changes["cap_add"] = ("NET_ADMIN",)
        from dataclasses import replace

        if bench.sandbox.run(replace(spec, **changes)).status:  # type: ignore[arg-type]
            failed.append(number)

    def several(numbers: range) -> None:
        for number in numbers:
            one(number)

    def together(first: int, last: int) -> None:
        threads = [threading.Thread(target=several, args=(range(first + k, last, _THREADS),)) for k in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert bench.sandbox.run(spec).status == 0
    together(0, 100)  # whatever is made once and kept is there now
    pids = {"main": os.getpid(), "helper": bench.sandbox.helper, "network": bench.sandbox.networks.process}
    before = {name: (_mounts(pid), _descriptors(pid)) for name, pid in pids.items()}
    memory = {name: _rss(pid) for name, pid in pids.items() if name != "main"}
    blocks = _blocks()
    interfaces = len(os.listdir("/sys/class/net"))
    together(100, _CONTAINERS)
    assert failed == []
    for name, pid in pids.items():
        count, open_ = before[name]
        assert _mounts(pid) <= count + _THREADS, name  # other tests mount things too
        more = _descriptors(pid) - open_
        assert sum(more.values()) <= _THREADS, (name, more)  # at most a namespace for each that ran at once
        if name in memory:
            assert _rss(pid) - memory[name] < _GROWTH, name
    assert _blocks() - blocks < _CONTAINERS * 2
    assert len(_children(pids["helper"]).split()) <= 1  # the first process of the next container
    assert len(os.listdir("/sys/class/net")) <= interfaces + 3 * _THREADS  # other builds of this machine come and go
    assert _groups() == 0
