"""What failed steps left is kept for a while: one of each build, a few of all, none that somebody looks at removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.store import Store
from buildah_py.store.collect import Rules, collect
from buildah_py.store.failures import MOST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(str(tmp_path / "state")) as opened:
        yield opened


def fail(store: Store, build: str, step: int = 1) -> str:
    """Have a step of a build fail, which left a file."""
    staged = store.stage()
    with open(os.path.join(staged, "left"), "w", encoding="ascii") as file:
        file.write(build)
    return store.failures.keep(build, staged, step)


def left(store: Store, name: str) -> str | None:
    with store.failures.opened(name) as path:
        if path is None:
            return None
        with open(os.path.join(path, "left"), encoding="ascii") as file:
            return file.read()


def test_the_last_of_each_build(store: Store) -> None:
    first, other = fail(store, "a"), fail(store, "b")
    assert (store.failures.find(), store.failures.find("a"), store.failures.find("c")) == (other, first, None)
    again = fail(store, "a", 2)
    assert (store.failures.find("a"), left(store, first), left(store, again), left(store, other)) == (
        again,
        None,
        "a",
        "b",
    )
    store.failures.forget("a")
    assert (store.failures.find("a"), store.failures.find()) == (None, other)
    for number in range(MOST + 3):
        fail(store, f"build {number}", number)
    assert len(os.listdir(store.path("failed"))) == MOST
    assert os.stat(store.path("failed")).st_mode & 0o777 == 0o700


def test_one_that_somebody_looks_at_stays(store: Store) -> None:
    name = fail(store, "a")
    with store.failures.opened(name) as path:
        newer = fail(store, "a", 2)
        assert store.failures.remove_all() > 0
        assert (store.failures.find(), left(store, newer)) == (name, None)
        assert path is not None
        assert os.path.exists(path)
    assert collect(store, Rules(dry_run=True)).freed > 0, "it would go now"
    collect(store, Rules(spare_own=True, keep=1 << 40))  # as after a build
    assert left(store, name) == "a"
    newer = fail(store, "b")
    collect(store, Rules(spare_own=True, keep=1))
    assert (left(store, name), left(store, newer)) == (None, None)
    name = fail(store, "a")
    assert left(store, name) == "a"
    assert collect(store, Rules()).freed > 0
    assert left(store, name) is None
    store.failures.forget("a")
