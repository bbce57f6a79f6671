"""How the program starts, and starts itself again: in whatever directory, whatever lies there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.conftest import PYBUILD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.end_to_end.conftest import OrdinaryUser, Pybuild


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Give a directory that has a module of every name, as a checkout of somebody else's might."""
    directory = tmp_path / "checkout"
    directory.mkdir()
    for name in (*sys.stdlib_module_names, "pyroute2", "lark", "isal"):
        (directory / f"{name}.py").write_text('raise SystemExit("of the current directory")')
    (directory / "buildah_py").mkdir()
    for name in ("__init__", "__main__"):
        (directory / "buildah_py" / f"{name}.py").write_text('raise SystemExit("of the current directory")')
    (directory / "Buildfile").write_text("FROM scratch\nCOPY Buildfile /\n")
    return directory


@pytest.mark.parametrize(
    "variables",
    [{}, {"PYTHONPATH": ":/nowhere"}, {"PYTHONPATH": ":/nowhere", "PYTHONUTF8": "1"}],
    ids=["plain", "empty-entry", "empty-entry-in-utf-8"],  # the last does not start itself again
)
def test_another_locale_in_a_hostile_directory(hostile: Path, tmp_path: Path, variables: dict[str, str]) -> None:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYBUILD_ROOT": str(tmp_path / "state")}
    if variables:
        # Python itself takes its first modules from there then; those that pybuild imports later are not.
        shutil.rmtree(hostile / "buildah_py")
        for path in hostile.glob("*.py"):
            if path.stem not in ("pyroute2", "argparse", "sqlite3", "json"):
                path.unlink()
    ran = subprocess.run(
        [PYBUILD, "du", "--format=json"],
        check=False,
        capture_output=True,
        text=True,
        cwd=hostile,
        env=environ | variables,
        timeout=60,
    )
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout.startswith("{")


@pytest.mark.root
@pytest.mark.userns
@pytest.mark.parametrize("command", [["build", "."], ["doctor"], ["--debug", "build", "."], ["--debug", "doctor"]])
def test_an_ordinary_user_in_a_hostile_directory(
    ordinary_user: OrdinaryUser, hostile: Path, tmp_path: Path, command: list[str]
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o777)
    state.chmod(0o777)
    assert ordinary_user.command[-3:] == ("-P", "-m", "buildah_py")
    ran = subprocess.run(
        ["env", f"PYBUILD_ROOT={state}", *ordinary_user.command, *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=hostile,
        timeout=120,
    )
    assert "of the current directory" not in ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stderr


@pytest.mark.either_user
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_the_containers_command_is_the_containers(busybox: Pybuild, option: str) -> None:
    shown = busybox.run("run", "--network=none", "busybox", "sh", "-c", 'id -u; echo "$@"', "sh", option).stdout
    assert shown == f"0\n{option}\n"


MOST_MODULES = 131
"""Modules of pybuild that a build of hits imports: each costs a stat, an open and an exec at every start."""
MOST_OF_ANSWER = 28
"""Those that are imported where the same command was given before, and nothing has changed."""


def modules_of_hits(busybox: Pybuild, context: Path, *options: str) -> list[str]:
    """Build what is all hits; the modules that were imported."""
    code = "import sys; sys.argv[0] = 'pybuild'; from buildah_py.cli import main; print(main(), *sys.modules)"
    command = [sys.executable, "-c", code, "--progress=plain", "-t", "test", *options, str(context)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=busybox.environ(), timeout=60)
    assert ran.stderr.count(" CACHED") == 4, ran.stderr
    status, *modules = ran.stdout.splitlines()[-1].split()
    assert status == "0"
    heavy = {"lark", "pyroute2", "yaml", "tqdm", "urllib3", "dataclasses", "logging", "ssl"}
    assert not heavy & {name.partition(".")[0] for name in modules}
    return sorted(name for name in modules if name.partition(".")[0] == "buildah_py")


def test_a_build_of_hits_imports_few_modules(busybox: Pybuild) -> None:
    context = busybox.context("FROM busybox\nWORKDIR /srv\nCOPY a .\nRUN cat a >b\nCMD cat b\n", a="text")
    time.sleep(0.1)  # the digest of a file that was written in this moment is not relied on
    busybox.build(context)
    ours = modules_of_hits(busybox, context, "--pull=missing")
    assert len(ours) <= MOST_MODULES, " ".join(ours)
    modules_of_hits(busybox, context)
    ours = modules_of_hits(busybox, context)
    assert len(ours) <= MOST_OF_ANSWER, " ".join(ours)
