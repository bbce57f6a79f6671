"""What a person at a terminal sees, and ^C typed there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pexpect
import pytest

from .conftest import PYBUILD

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Pybuild

pytestmark = pytest.mark.root

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def spawn(pybuild: Pybuild, *arguments: str | Path) -> pexpect.spawn[str]:
    return pexpect.spawn(
        PYBUILD,
        [str(argument) for argument in arguments],
        env={**pybuild.environ(), "TERM": "xterm"},
        encoding="utf-8",
        dimensions=(30, 100),
        timeout=30,
    )


def test_a_build_on_a_terminal(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo output of the step; sleep 0.3\nRUN echo second\n")
    child = spawn(busybox, "-t", "test", context)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    shown = _CONTROL.sub("", child.before or "")
    assert "RUN echo second" in shown
    assert "test:latest" in shown
    again = spawn(busybox, "-t", "test", context)
    again.expect(pexpect.EOF)
    again.close()
    assert "CACHED" in _CONTROL.sub("", again.before or "")


def test_a_failure_on_a_terminal_shows_the_output(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo this went wrong; exit 4\n")
    child = spawn(busybox, context)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4
    shown = _CONTROL.sub("", child.before or "")
    assert "this went wrong" in shown
    assert "Buildfile:2: the command ended with status 4" in shown


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("", 1), ("y", 0)])
def test_prune_asks_on_a_terminal(busybox: Pybuild, answer: str, status: int) -> None:
    busybox.run("-t", "keep", busybox.context("FROM scratch\nCOPY a /\n", a="1"))
    child = spawn(busybox, "prune", "--all")
    child.expect(r"This removes 2 images \(.*keep:latest.*\), \d+ layers and 0 cache mounts, .*B\. Go on\? \[y/N\]")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == status
    left = busybox.run("images").stdout
    assert ("keep" in left) == (status == 1)
    if status == 1:
        forced = spawn(busybox, "prune", "--all", "--force")
        forced.expect("removed 2 images")
        forced.expect(pexpect.EOF)
        forced.close()
        assert "keep" not in busybox.run("images").stdout


def test_interrupt_from_the_keyboard(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo has started; sleep 1000\n")
    child = spawn(busybox, context)
    child.expect("has started")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "interrupted" in child.before
    assert "Traceback" not in child.before


def test_run_on_a_terminal(busybox: Pybuild) -> None:
    child = spawn(busybox, "run", "-i", "--network=none", "busybox", "sh", "-c", "read x; echo got $x; exit 5")
    child.sendline("hello")
    child.expect("got hello")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 5


def test_a_shell_with_job_control(busybox: Pybuild) -> None:
    child = spawn(busybox, "run", "-it", "--network=none", "busybox")
    child.expect("/ # ")
    child.sendline("tty; stty size; echo $((6*7))")
    child.expect("/dev/pts/0\r\n30 100\r\n42")
    child.setwinsize(20, 60)
    child.expect("/ # ")
    child.sendline("stty size")
    child.expect("20 60")
    child.sendline("sleep 1000")
    child.sendintr()
    child.expect("/ # ")
    child.sendline("sleep 1000")
    child.sendcontrol("z")
    child.expect("Stopped")
    child.sendline("exit 6")
    child.expect("stopped jobs")
    child.sendline("exit 6")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 6


def test_a_shell_that_reads_a_script(busybox: Pybuild) -> None:
    shown = busybox.run("shell", "--network=none", "busybox", stdin="echo $((6*7)); test -t 0 || exit 3\n", status=3)
    assert shown.stdout == "42\n"


def test_a_shell_in_a_stage(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox AS one\nRUN echo inside > /where\nFROM busybox\nRUN false\n")
    child = spawn(busybox, "shell", "--network=none", "--stage", "one", context)
    child.expect("/ # ")
    child.sendline("cat /where; touch /thrown; exit")
    child.expect("inside")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_terminal_has_to_be_there(busybox: Pybuild) -> None:
    assert "is not a terminal" in busybox.run("run", "-t", "busybox", status=2).stderr
    assert busybox.run("shell", "busybox", stdin="echo hi\n").stdout == "hi\n"  # a script needs none


def test_a_shell_may_do_no_more_than_a_step(busybox: Pybuild) -> None:
    """CVE-2024-23653: what a build file asks for and was not allowed is not had by looking into its stage."""
    context = busybox.context("FROM busybox AS one\nRUN --security=insecure true\n")
    child = spawn(busybox, "shell", "--stage=one", context)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    assert "asks for security.insecure, which is not allowed" in _CONTROL.sub("", child.before or "")
    child = spawn(busybox, "shell", "--network=none", "busybox")
    child.expect("/ # ")
    child.sendline("grep CapEff /proc/self/status; exit")
    child.expect(pexpect.EOF)
    assert "00000000a80425fb" in (child.before or "")
