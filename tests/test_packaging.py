"""What is installed is all that there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_package_is_named() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in ROOT.glob("buildah_py/**/*.py")}
    assert sorted(settings["packages"]) == sorted(there | settings["package-dir"].keys())


def test_the_recipes_for_contributors_name_what_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)+[\w.]*)`", (ROOT / "CONTRIBUTING.md").read_text()))
    assert len(named) > 20
    missing = [path for path in named if not any((place / path).exists() for place in (ROOT, ROOT / "buildah_py"))]
    assert set(missing) - {"dist/"} == {"cli/NAME.py", "outputs/NAME.py"}
