"""Paths that a build is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildah_py.api.places import places_of
from buildah_py.api.request import BuildRequest

if TYPE_CHECKING:
    from pathlib import Path


def test_what_the_caller_uses_is_among_them(tmp_path: Path) -> None:
    request = BuildRequest(context=str(tmp_path), left=("/certificates/one.crt", "/d"), environ={"HOME": "/home/me"})
    assert places_of(request) == ("/certificates/one.crt", "/d", "/home/me/.docker", str(tmp_path))
