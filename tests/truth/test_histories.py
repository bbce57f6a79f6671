"""Histories of builds: each image has to be what an empty store gives. By hand: `python -m tests.truth --help`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from .hunt import Manner, hunt
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
    hunt(world, seed, histories=20)


def test_a_hit_because_of_what_was_read_is_one_too(world: World) -> None:
    before = world.observed
    hunt(world, 0, histories=20, manner=Manner(watched=True))
    assert world.observed > before or not os.access("/dev/fuse", os.R_OK | os.W_OK)
