"""Output of `bake --print` and `bake --list`, held to what buildx prints: see scripts/bake_cases.py."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from buildah_py.cli import bake
from buildah_py.cli.arguments import make_parser
from buildah_py.cli.failures import tell
from buildah_py.errors import PybuildError

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(__file__).parent.parent.parent / "scripts" / "bake_cases.py"
BUILDX = "/usr/libexec/docker/cli-plugins/docker-buildx"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bake_cases", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CASES = _script()


def answer(case: dict[str, Any], directory: Path) -> tuple[str | None, str]:
    """Answer a case as the command does: what it prints, None where it fails; and what it says on standard error."""
    arguments = CASES.laid_out(case, directory)
    out, err = io.StringIO(), io.StringIO()
    parser = make_parser("bake", "bake")
    bake.configure(parser)
    before = Path.cwd()
    os.chdir(directory)
    try:
        with (
            mock.patch.dict(os.environ, CASES.environ_of(case), clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                bake.run(parser.parse_intermixed_args(arguments))
            except PybuildError as error:
                tell(error)
                return None, err.getvalue()
    finally:
        os.chdir(before)
    return CASES.answer_of(case, out.getvalue()), err.getvalue()


@pytest.mark.parametrize("name", ["cases.json", "expressions.json"])
def test_cases_print_what_buildx_prints(name: str, tmp_path: Path) -> None:
    wrong = []
    for number, case in enumerate(CASES.read(name)):
        directory = tmp_path / str(number)
        directory.mkdir()
        found, said = answer(case, directory)
        expected = case.get("pybuild", case["expected"])
        if found != expected:
            wrong.append(f"{case.get('title') or case['expression']}:\n{expected}\n---\n{found}\n{said}")
        elif found is None:
            assert said.startswith("pybuild: "), case
            assert "Traceback" not in said
    assert not wrong, f"{len(wrong)}\n" + "\n\n".join(wrong)


def test_cases_with_another_answer_say_why() -> None:
    for name in ("cases.json", "expressions.json"):
        for case in CASES.read(name):
            assert ("pybuild" in case) == ("because" in case)
            assert case.get("pybuild", "") != case["expected"], "this difference is gone"


@pytest.mark.slow
def test_buildx_still_answers_so() -> None:
    buildx = os.environ.get("BUILDX", BUILDX)
    if not os.access(buildx, os.X_OK):
        pytest.skip(f"{buildx} is not there; BUILDX may name another")
    if CASES.version_of(buildx) != CASES.VERSION:
        pytest.skip(f"it is not the buildx that was asked, which is {CASES.VERSION}")
    done = subprocess.run([sys.executable, SCRIPT, buildx, "--each", "40"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
