"""Histories of builds: each image has to be what an empty store gives. By hand: `python -m tests.truth --help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .hunt import hunt
from .world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.mark.parametrize("seed", range(3))
def test_a_cached_build_gives_what_an_empty_store_gives(world: World, seed: int) -> None:
    hunt(world, seed, histories=30)
