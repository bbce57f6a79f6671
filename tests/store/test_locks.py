"""Locks and leases between threads and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from buildah_py.errors import Interrupted
from buildah_py.store.locks import Lease, living_leases, named_lock

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from buildah_py.store.locks import Lease, named_lock
directory = sys.argv[1]
if sys.argv[2] == "lease":
    Lease(directory)
    print("held", flush=True)
    sys.stdin.read()
else:
    with named_lock(directory, sys.argv[2]):
        print("held", flush=True)
        sys.stdin.read()
"""


def hold(directory: Path, what: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory), what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate()


def test_a_lock_keeps_other_threads_out(tmp_path: Path) -> None:
    inside = 0
    most = 0
    total = 0

    def work() -> None:
        nonlocal inside, most, total
        for _ in range(20):
            with named_lock(str(tmp_path), "step"):
                inside += 1
                most = max(most, inside)
                total += 1
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, total) == (1, 80)
    assert os.listdir(tmp_path) == []


def test_a_lock_is_free_once_its_holder_was_killed(tmp_path: Path) -> None:
    process = hold(tmp_path, "step")
    with pytest.raises(Interrupted), named_lock(str(tmp_path), "step", lambda: True):
        pytest.fail("two holders at once")
    end(process)
    with named_lock(str(tmp_path), "step"):
        pass


def test_waiting_is_told(tmp_path: Path) -> None:
    process = hold(tmp_path, "step")
    looks = 0

    def cancelled() -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            end(process)
        return False

    with named_lock(str(tmp_path), "step", cancelled) as waited:
        assert waited
    with named_lock(str(tmp_path), "other") as waited:
        assert not waited


def test_leases_live_as_long_as_their_processes(tmp_path: Path) -> None:
    own = Lease(str(tmp_path))
    process = hold(tmp_path, "lease")
    assert len(living_leases(str(tmp_path))) == 2
    end(process)
    assert living_leases(str(tmp_path)) == {own.name: own.started}
    assert os.listdir(tmp_path) == [own.name]
    own.release()
    assert os.listdir(tmp_path) == []


def test_files_of_others_among_the_leases_are_nobodys(tmp_path: Path) -> None:
    for name in (".nfs000001", "x", "1-2", ".1-x", "lost+found", "1" * 200):
        (tmp_path / name).touch()
    lease = Lease(str(tmp_path))
    assert living_leases(str(tmp_path)) == {lease.name: lease.started}
    lease.release()
    assert len(list(tmp_path.iterdir())) == 6


def test_a_shared_lock_is_in_the_way_of_those_alone_that_are_not(tmp_path: Path) -> None:
    def try_it(*, shared: bool) -> bool:
        try:
            with named_lock(str(tmp_path), "x", lambda: True, shared=shared):
                return True
        except Interrupted:
            return False

    with named_lock(str(tmp_path), "x", shared=True):
        assert (try_it(shared=True), try_it(shared=False)) == (True, False)
        with named_lock(str(tmp_path), "x", shared=True):
            assert not try_it(shared=False)
        assert not try_it(shared=False)  # the first one still has it
    assert try_it(shared=False)
    with named_lock(str(tmp_path), "x"):
        assert (try_it(shared=True), try_it(shared=False)) == (False, False)
    assert os.listdir(tmp_path) == []


def test_who_waits_says_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildah_py.store.locks._PATIENCE", 0)
    said: list[str] = []
    turns = iter([False, False, False, True])
    with (
        named_lock(str(tmp_path), "x"),
        pytest.raises(Interrupted),
        named_lock(str(tmp_path), "x", lambda: next(turns), waiting=lambda: said.append("waiting")),
    ):
        pass
    assert said == ["waiting"]
