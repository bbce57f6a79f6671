"""Interpreters of our own take nothing from the current directory."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from buildah_py import debug
from buildah_py.linux import interpreter

if TYPE_CHECKING:
    from pathlib import Path

NAMES = sorted({*sys.stdlib_module_names, "buildah_py", "pyroute2", "sitecustomize", "usercustomize"})


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the current directory: one that has a module of every name, as a checkout of somebody else's might."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text('raise SystemExit("of the current directory")')
    monkeypatch.chdir(tmp_path)
    for variable in ("PYTHONPATH", "PYTHONHOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("packages", [False, True])
@pytest.mark.parametrize("entry", ["", ".", "itself"])
def test_modules_of_the_current_directory_are_not_taken(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, *, packages: bool, entry: str
) -> None:
    monkeypatch.syspath_prepend(str(hostile) if entry == "itself" else entry)
    argv = interpreter.command("buildah_py.linux.identity", "has_single_id()", packages=packages)
    assert argv[0] == sys.executable
    ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


def test_packages_come_from_where_this_interpreter_has_them(hostile: Path) -> None:
    argv = interpreter.command("importlib.util", "find_spec('pyroute2').origin", packages=True)
    ran = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=60)
    assert "site-packages/pyroute2" in ran.stderr.replace("dist-packages", "site-packages")
    assert str(hostile) not in ran.stderr


@pytest.mark.parametrize("traceback", [False, True])
def test_a_helper_that_fails_says_so_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *, traceback: bool
) -> None:
    monkeypatch.setattr(debug, "is_on", lambda: traceback)
    pid = interpreter.spawn("os", "listdir('/none such')", [])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    told = capfd.readouterr().err
    line = "pybuild: internal error: FileNotFoundError: [Errno 2] No such file or directory: '/none such'\n"
    assert ("Traceback" in told) is traceback
    assert (told == line) is not traceback
