"""The man pages that a release has: all commands, all options, and nothing that roff complains of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from buildah_py.cli import COMMANDS, build
from buildah_py.cli.arguments import make_parser

SCRIPT = Path(__file__).parent.parent / "scripts/make_man.py"


def test_man_pages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], check=True)
    assert {path.stem for path in tmp_path.iterdir()} == {"pybuild", *(f"pybuild-{name}" for name in COMMANDS)}
    if shutil.which("groff") is None:
        pytest.skip("needs groff to format them")
    pages = [str(tmp_path / f"{name}.1") for name in ("pybuild", "pybuild-build", "pybuild-manifest", "pybuild-cache")]
    formatted = subprocess.run(
        ["groff", "-k", "-man", "-Tutf8", "-ww", "-P-cbou", *pages], check=True, capture_output=True, text=True
    )
    assert formatted.stderr == ""
    parser = make_parser("build", "build")
    build.configure(parser)
    parser.declare_further()
    shown = formatted.stdout.replace("\u2010", "-").replace("\u2212", "-")
    assert [option for option in parser.options() if option not in shown] == []
