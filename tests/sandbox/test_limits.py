from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox import ResourceLimits
from buildah_py.sandbox.cgroups import _hierarchies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Bench

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _controllers(bench: Bench) -> Iterator[None]:
    known = dict(_hierarchies())
    missing = {"memory", "pids", "cpu"} - known.keys()
    if missing:
        pytest.skip(f"this machine has no control groups for {', '.join(sorted(missing))}")
    if not all(os.access(os.path.dirname(parent), os.W_OK) for parent, _ in known.values()):
        pytest.skip("control groups cannot be made here")
    yield
    parents = [parent for parent, _ in known.values() if os.path.isdir(parent)]
    groups = [name for parent in parents for name in os.listdir(parent)]
    assert [name for name in groups if name.startswith(f"pybuild-{bench.sandbox.helper}-")] == []


def test_more_memory_than_the_limit_is_killed(bench: Bench) -> None:
    result = bench.sh("dd if=/dev/zero of=/dev/null bs=90000000 count=1; true", limits=ResourceLimits(memory=32 << 20))
    assert result.exit_status.out_of_memory
    assert 16 << 20 < result.exit_status.peak_memory <= 32 << 20
    assert not bench.sh("true", limits=ResourceLimits(memory=32 << 20)).exit_status.out_of_memory


def test_processes_are_limited(bench: Bench) -> None:
    result = bench.sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait", limits=ResourceLimits(pids=5))
    assert "can't fork" in result.err


def test_processors_are_limited(bench: Bench) -> None:
    script = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; cut -d' ' -f1,2 /proc/self/schedstat"
    assert bench.sh(script, limits=ResourceLimits(cpus=0.5, cpu_shares=512, cpuset_cpus="0")).status == 0
    assert (
        bench.sh("grep Cpus_allowed_list /proc/self/status", limits=ResourceLimits(cpuset_cpus="0")).out.split()[1]
        == "0"
    )


def test_limits_that_cannot_be_set_are_errors(bench: Bench) -> None:
    with pytest.raises(SandboxError, match="setting limits"):
        bench.sh("true", limits=ResourceLimits(cpuset_cpus="4000"))


def test_the_group_below_which_it_is_made(bench: Bench) -> None:
    parents = {parent for parent, _ in dict(_hierarchies("/pybuild-test/inner")).values()}
    limits = ResourceLimits(pids=50, cpuset_cpus="0", cgroup_parent="/pybuild-test/inner")
    try:
        result = bench.sh("cat /proc/self/cgroup; grep Cpus_allowed_list /proc/self/status", limits=limits)
        assert result.out.split()[-1] == "0"
        made = [parent for parent in parents if os.path.isdir(parent)]
        assert made
        assert [name for parent in made for name in os.listdir(parent) if name.startswith("pybuild-")] == []
    finally:
        for directory in (*parents, *map(os.path.dirname, parents)):
            if os.path.isdir(directory):
                os.rmdir(directory)
