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
    assert "HIT" in _CONTROL.sub("", again.before or "")


def test_a_failure_on_a_terminal_shows_the_output(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nRUN echo this went wrong; exit 4\n")
    child = spawn(busybox, context)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 4
    shown = _CONTROL.sub("", child.before or "")
    assert "this went wrong" in shown
    assert "Buildfile:2: the command ended with status 4" in shown


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
