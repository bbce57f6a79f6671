"""What is installed is all that there is."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("buildah_py/**/*.py")}
    assert sorted(settings["packages"]) == sorted(there | settings["package-dir"].keys())
