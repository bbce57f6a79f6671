from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from buildah_py.copy.select import select
from buildah_py.sources.directory import DirectoryContext
from buildah_py.sources.stat_cache import StatCache

if TYPE_CHECKING:
    from pathlib import Path


def key(context: Path, cache: Path) -> tuple[str, int]:
    known = StatCache(str(cache))
    with DirectoryContext(str(context), None, known) as tree:
        selection = select(tree, ["."])
        known.save()
        return selection.digest(), selection.files


@pytest.mark.slow
def test_twenty_thousand_files(tmp_path: Path) -> None:
    context, cache = tmp_path / "context", tmp_path / "cache"
    for folder in range(200):
        (context / f"{folder}").mkdir(parents=True)
        for number in range(100):
            with open(context / f"{folder}/{number}", "wb") as file:
                file.write(b"%d" % number)
    first, files = key(context, cache)
    assert files == 20_201
    assert key(context, cache)[0] == first
    (context / "77/77").write_text("changed")
    changed = key(context, cache)[0]
    assert changed != first
    (context / "77/77").write_text("77")
    assert key(context, cache)[0] == first
    os.rename(context / "5/5", context / "5/101")
    assert key(context, cache)[0] not in (first, changed)
