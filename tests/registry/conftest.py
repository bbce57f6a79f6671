from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.http.retry import Policy

if TYPE_CHECKING:
    from pathlib import Path

QUICK = Policy(connect=5, silence=10, commit=10, patience=20, attempts=4, pause=0.01)
"""Waits that suit tests."""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment that leads to no file of this machine's users."""
    home = tmp_path / "home"
    home.mkdir()
    none = tmp_path / "registries.conf"
    none.write_text("")
    return {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "PATH": os.environ["PATH"],
        "CONTAINERS_REGISTRIES_CONF": str(none),
    }
