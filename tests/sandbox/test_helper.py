"""What goes wrong with one container is of no consequence for those after it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import SandboxError
from buildah_py.sandbox import ResourceLimits
from buildah_py.sandbox.cgroups import _hierarchies, name_of

if TYPE_CHECKING:
    from tests.sandbox.conftest import Bench

_OF_THE_C_LIBRARY = 1 << 31 | 1 << 32  # whose posix_spawn leaves them ignored

pytestmark = pytest.mark.root


@pytest.fixture
def groups() -> Path:
    """Give the directory in which the control groups of containers with limits are made."""
    known = dict(_hierarchies())
    if "pids" not in known or not os.access(os.path.dirname(known["pids"][0]), os.W_OK):
        pytest.skip("this machine lets us make no control groups for pids")
    return Path(known["pids"][0])


def test_a_control_group_that_stays_busy(bench: Bench, groups: Path) -> None:
    assert bench.sh("true").status == 0
    group = groups / name_of(bench.sandbox.helper, 1)
    reading, writing = os.pipe()
    container = bench.sandbox.start_container(
        bench.spec("sh", "-c", "echo up; sleep 1000", limits=ResourceLimits(pids=50)), stdout=writing
    )
    assert os.read(reading, 3) == b"up\n"
    os.close(writing)
    os.close(reading)
    (group / "inner").mkdir()
    container.kill()
    assert container.wait().signal == 9
    assert bench.sh("echo on").out == "on\n"
    (group / "inner").rmdir()
    bench.sandbox.close()
    assert not group.exists()


def test_a_process_that_cannot_be_made(bench: Bench, groups: Path) -> None:
    assert bench.sh("true").status == 0
    group = groups / f"pybuild-test-{os.getpid()}"
    group.mkdir(parents=True)
    try:
        (group / "pids.max").write_text("1")
        (group / "cgroup.procs").write_text(str(bench.sandbox.helper))
        assert bench.sh("true").status == 0  # by the one that was forked before
        with pytest.raises(SandboxError, match="making a process"):
            bench.sh("true")
        (group / "pids.max").write_text("max")
        assert bench.sh("echo on").out == "on\n"
    finally:
        bench.sandbox.close()
        group.rmdir()


def test_a_process_that_was_forked_ahead_and_ended(bench: Bench) -> None:
    assert bench.sh("true").status == 0
    helper = bench.sandbox.helper
    children = Path(f"/proc/{helper}/task/{helper}/children")
    while not (ahead := children.read_text().split()):
        time.sleep(0.01)
    os.kill(int(ahead[0]), signal.SIGKILL)
    assert bench.sh("echo on").out == "on\n"
    assert ahead[0] not in children.read_text().split()


def test_no_process_is_left(bench: Bench) -> None:
    assert bench.sh("true").status == 0
    helper = bench.sandbox.helper
    children = Path(f"/proc/{helper}/task/{helper}/children")
    while not (ahead := children.read_text().split()):
        time.sleep(0.01)
    bench.sandbox.close()
    assert not Path(f"/proc/{ahead[0]}").exists()


def test_signals_that_the_caller_ignores(bench: Bench) -> None:
    old = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        shown = bench.run("grep", "SigIgn:", "/proc/self/status").out.split()[1]
        assert int(shown, 16) & ~_OF_THE_C_LIBRARY == 0
    finally:
        signal.signal(signal.SIGUSR1, old)
